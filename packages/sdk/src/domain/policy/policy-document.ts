import { BifrostError } from '@bifrost/types/core';
import { getNodeValue, type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';
import type { PolicySections } from './compile-policy.ts';
import { applyEdits, containerEdits, type Edit } from './hujson-edits.ts';

/** Which tags only we give to devices. */
export type IsOurs = (tag: string) => boolean;

/** Whose an entry is, by the tags in it. */
export interface Ownership {
  readonly isOurs: IsOurs;
  /**
   * In a policy whose owner speaks of our tags too: those that nobody writes but we. An entry is ours only when one of them is in it, and of other tags
   * no owner and no approval is touched: what lacks is put in.
   */
  readonly isMark?: IsOurs;
}

/**
 * The member that says whose an entry is: it is ours when all that it names is. No memory is needed, so nothing is lost or taken over whatever happens
 * between two writes. An entry of others that names our devices in another member is theirs, and stays.
 */
const DECIDING = { grants: 'src', ssh: 'src', nodeAttrs: 'target', tests: 'src' } as const;
const LISTS = Object.keys(DECIDING) as readonly (keyof typeof DECIDING)[];

function unreadable(why: string, details: Readonly<Record<string, string>> = {}): BifrostError {
  const message = `The tailnet's policy cannot be read: ${why}. Mend it in the admin console; until then it is left as it is.`;
  return new BifrostError({ code: 'POLICY_UNREADABLE', message, details });
}

/**
 * Reads HuJSON: JSON with comments and trailing commas.
 *
 * @throws {BifrostError} `POLICY_UNREADABLE` — it is not that, or no object, or says one member twice; `details.offset`
 */
export function parsePolicyText(text: string): Node {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  const [first] = errors;
  if (first !== undefined) throw unreadable(`${printParseErrorCode(first.error)} at character ${first.offset}`, { offset: String(first.offset) });
  if (root?.type !== 'object') throw unreadable('it is not an object');
  requireEachOnce(root);
  return root;
}

/** Readers differ in which of two they take, and in whether `Grants` is `grants`: what is read here must be what is enforced. */
function requireEachOnce(root: Node): void {
  const names = new Set<string>();
  for (const { offset, children: [name] = [] } of root.children ?? []) {
    const text = String(name?.value);
    if (names.has(text.toLowerCase())) throw unreadable(`it says a member twice, at character ${offset}`, { offset: String(offset) });
    names.add(text.toLowerCase());
  }
}

const memberOf = (container: Node | undefined, name: string): Node | undefined =>
  container?.children?.find(({ children: [key] = [] }) => key?.value === name)?.children?.[1];

function requireKind(node: Node, kind: 'array' | 'object', name: string): void {
  if (node.type !== kind) throw unreadable(`${name} is no ${kind === 'array' ? 'list' : 'object'}`, { offset: String(node.offset) });
}

/** Equal values are equal texts, whatever the order of members; lists of tags are sets. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (Array.isArray(member) && member.every((item) => typeof item === 'string')) return [...member].sort();
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

const textsOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : value === undefined ? [] : [value]);

/** Whether an entry that names these tags, and nobody besides, is ours. */
export const isByOurs = (tags: readonly string[], { isOurs, isMark = isOurs }: Ownership): boolean => tags.every(isOurs) && tags.some(isMark);

function isOfOurs(entry: unknown, member: string, whose: Ownership): boolean {
  const named = typeof entry === 'object' && entry !== null ? textsOf((entry as Readonly<Record<string, unknown>>)[member]) : [];
  const tags = named.filter((item): item is string => typeof item === 'string');
  return tags.length === named.length && isByOurs(tags, whose);
}

const shown = (value: unknown): string => JSON.stringify(value, undefined, 2);
const property = (name: string, value: string): string => `${JSON.stringify(name)}: ${value}`;

/** What a section needs: edits inside what is there, or members that its parent lacks. */
interface Change {
  readonly edits: readonly Edit[];
  readonly missing: readonly string[];
}
interface Merging {
  readonly text: string;
  readonly root: Node;
  readonly whose: Ownership;
}
const NOTHING: Change = { edits: [], missing: [] };

function listChange({ text, root, whose }: Merging, name: keyof typeof DECIDING, wanted: readonly object[]): Change {
  const list = memberOf(root, name);
  // Present even when empty: without grants a policy allows everything.
  if (list === undefined) return wanted.length === 0 && name !== 'grants' ? NOTHING : { edits: [], missing: [property(name, shown(wanted))] };
  requireKind(list, 'array', name);
  const left = new Map(wanted.map((entry) => [canonical(entry), entry]));
  const take = new Set<Node>();
  for (const child of list.children ?? []) {
    const entry: unknown = getNodeValue(child);
    if (left.delete(canonical(entry))) continue;
    if (isOfOurs(entry, DECIDING[name], whose)) take.add(child);
  }
  return { edits: containerEdits(text, list, { take, put: [...left.values()].map(shown) }), missing: [] };
}

/** Owners of our tags are ours to say; others' tags are not touched. */
function ownersChange({ text, root, whose: { isOurs, isMark } }: Merging, wanted: PolicySections['tagOwners']): Change {
  const owners = memberOf(root, 'tagOwners');
  if (owners === undefined) return Object.keys(wanted).length === 0 ? NOTHING : { edits: [], missing: [property('tagOwners', shown(wanted))] };
  requireKind(owners, 'object', 'tagOwners');
  const left = new Map(Object.entries(wanted));
  const take = new Set<Node>();
  for (const child of owners.children ?? []) {
    const [name, value] = child.children ?? [];
    const tag = String(name?.value);
    if (isMark === undefined ? !isOurs(tag) && !left.has(tag) : !isMark(tag)) {
      left.delete(tag);
      continue;
    }
    const isRight = left.has(tag) && value !== undefined && canonical(getNodeValue(value)) === canonical(left.get(tag));
    if (isRight) left.delete(tag);
    else take.add(child);
  }
  return { edits: containerEdits(text, owners, { take, put: [...left].map(([tag, of]) => property(tag, JSON.stringify(of))) }), missing: [] };
}

/** Of each route, those approvers that are ours; a route that nobody else approves goes with the last of them. */
function routesEdits(
  { text, whose: { isOurs, isMark = isOurs } }: Merging,
  routes: Node,
  wanted: Readonly<Record<string, readonly string[]>>,
): readonly Edit[] {
  const left = new Map(Object.entries(wanted));
  const take = new Set<Node>();
  const edits: Edit[] = [];
  for (const child of routes.children ?? []) {
    const [name, list] = child.children ?? [];
    const route = String(name?.value);
    if (list === undefined) continue;
    requireKind(list, 'array', `autoApprovers.routes of ${route}`);
    const lacking = new Set(left.get(route));
    left.delete(route);
    const unwanted = (list.children ?? []).filter(({ value }) => !lacking.delete(value) && isMark(String(value)));
    if (unwanted.length > 0 && unwanted.length === list.children?.length && lacking.size === 0) take.add(child);
    else edits.push(...containerEdits(text, list, { take: new Set(unwanted), put: [...lacking].map((tag) => JSON.stringify(tag)) }));
  }
  const put = [...left].map(([route, who]) => property(route, JSON.stringify(who)));
  return [...edits, ...containerEdits(text, routes, { take, put })];
}

function approversChange(merging: Merging, wanted: Readonly<Record<string, readonly string[]>>): Change {
  const { text, root } = merging;
  const approvers = memberOf(root, 'autoApprovers');
  if (approvers === undefined)
    return Object.keys(wanted).length === 0 ? NOTHING : { edits: [], missing: [property('autoApprovers', shown({ routes: wanted }))] };
  requireKind(approvers, 'object', 'autoApprovers');
  const routes = memberOf(approvers, 'routes');
  if (routes === undefined)
    return {
      edits: Object.keys(wanted).length === 0 ? [] : containerEdits(text, approvers, { put: [property('routes', shown(wanted))] }),
      missing: [],
    };
  requireKind(routes, 'object', 'autoApprovers.routes');
  return { edits: routesEdits(merging, routes, wanted), missing: [] };
}

const changesOf = (merging: Merging, wanted: PolicySections, lists: typeof LISTS): readonly Change[] => [
  ownersChange(merging, wanted.tagOwners),
  approversChange(merging, wanted.autoApprovers.routes),
  ...lists.map((name) => listChange(merging, name, wanted[name])),
];

/**
 * Whether a policy allows what our sections say, and nothing else of ours. Its tests are no matter: they allow nothing, and what they ask depends on who
 * else is there.
 *
 * @throws {BifrostError} `POLICY_UNREADABLE`
 */
export function holdsSections(text: string, wanted: PolicySections, whose: Ownership): boolean {
  const lists = LISTS.filter((name) => name !== 'tests');
  const changes = changesOf({ text, root: parsePolicyText(text), whose }, wanted, lists);
  return changes.every(({ edits, missing }) => edits.length === 0 && missing.length === 0);
}

/**
 * Puts our sections into a policy, and leaves everything else of it as it is, to the last comment: others' sections, others' entries in the same
 * sections, their order. Entries of ours that are not wanted any more go. When nothing is to change, the text comes back as it was.
 *
 * @throws {BifrostError} `POLICY_UNREADABLE`
 * @example
 * const text = mergePolicy(policyText, sections, (tag) => tag.startsWith('tag:bifrost-'));
 */
export function mergePolicy(text: string, wanted: PolicySections, whose: IsOurs | Ownership): string {
  const root = parsePolicyText(text);
  const merging = { text, root, whose: typeof whose === 'function' ? { isOurs: whose } : whose };
  const changes = changesOf(merging, wanted, LISTS);
  const missing = changes.flatMap((change) => change.missing);
  return applyEdits(text, [...changes.flatMap(({ edits }) => edits), ...containerEdits(text, root, { put: missing })]);
}
