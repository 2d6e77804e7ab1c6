import { carries, covers } from '../../domain/carries.ts';
import type { PodTemplateShape, SidecarFragment } from '../../domain/pod-shape.ts';
import type { ManagedFields } from './api-types.ts';
import { type Holders, holdersOf, itemKey, keysHeld, madeBy, namesMade, namesStated } from './workload-fields.ts';
import { containersOf, intrusionsOf, isOurKey, keyPath, LISTS, type ListName, MAPS, type MapName, placesOf } from './workload-places.ts';

export interface PatchOperation {
  readonly op: 'test' | 'add' | 'remove';
  readonly path: string;
  readonly value?: unknown;
}

/** A workload as far as a patch needs it. */
export interface PatchSubject {
  readonly uid: string;
  /** Counts changes of the spec, and so of the template: status writes of a rollout under way leave it alone, resourceVersion they do not. */
  readonly generation: number;
  readonly template: PodTemplateShape;
  readonly managedFields: readonly ManagedFields[];
}

export type PrependPlan =
  | { readonly kind: 'present' }
  | { readonly kind: 'conflict'; readonly manager: string; readonly paths: readonly string[] }
  | { readonly kind: 'patch'; readonly operations: readonly PatchOperation[] };

/**
 * The JSON Patch that puts `fragment` first. Server-side apply would append our init containers after the book's own, which need the network.
 * What our field manager put there earlier, in either form, is taken out in the same patch, so a changed fragment replaces the old one whole.
 * `repair`: what others hold inside items of ours is no conflict.
 */
export function planPrepend(subject: PatchSubject, fragment: SidecarFragment, { repair = false }: { readonly repair?: boolean } = {}): PrependPlan {
  const { template } = subject;
  if (carries(template, fragment)) return { kind: 'present' };
  const holders = holdersOf(subject.managedFields);
  const conflicts = conflictsOf(template, fragment, { holders, repair });
  const [first] = conflicts;
  if (first !== undefined) return { kind: 'conflict', manager: first.manager, paths: conflicts.map(({ path }) => path) };
  const isOurs = (list: ListName): ((name: string) => boolean) => {
    const names = namesMade(holders.ours, ['f:spec', `f:${list}`]);
    return (name) => names.has(name);
  };
  return {
    kind: 'patch',
    operations: [
      ...testUnchanged(subject),
      // Before the lists grow at their front, while indices of the book's own init containers still hold.
      ...replaceVariables(template, fragment, holders),
      ...LISTS.flatMap((list) => removeItems(listPath(list), template.spec[list], { isOurs: isOurs(list), removeEmpty: false })),
      ...LISTS.flatMap((list) => addItems(template, list, fragment)),
      ...MAPS.flatMap((map) => {
        const held = keysHeld(holders.ours, ['f:metadata', `f:${map}`]);
        return removeKeys(template, map, { isOurs: (key) => held.has(key) && !(key in fragment[map]), removeEmpty: false });
      }),
      ...MAPS.flatMap((map) => addKeys(template, map, fragment)),
    ],
  };
}

/**
 * The JSON Patch that takes out what others added inside items of ours, as the fragment has it not; empty when there is nothing. An apply does the
 * rest: it can take values back, but never what it does not speak of.
 */
export function planTidy(subject: PatchSubject, fragment: SidecarFragment): readonly PatchOperation[] {
  const added = intrusionsOf(holdersOf(subject.managedFields), placesOf(subject.template, fragment)).filter(({ isAddition }) => isAddition);
  const pointers = new Map(added.map(({ pointer }) => [pointerOf(pointer), pointer]));
  const lastFirst = [...pointers.values()].sort((a, b) => -comparePointers(a, b));
  return lastFirst.length === 0
    ? []
    : [...testUnchanged(subject), ...lastFirst.map((pointer): PatchOperation => ({ op: 'remove', path: pointerOf(pointer) }))];
}

const pointerOf = (pointer: readonly (string | number)[]): string => pointer.map((step) => `/${escaped(String(step))}`).join('');

function comparePointers(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  for (const [index, step] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    if (typeof step === 'number' && typeof other === 'number' && step !== other) return step - other;
    if (String(step) !== String(other)) return String(step) < String(other) ? -1 : 1;
  }
  return 0;
}

/**
 * The JSON Patch that takes exactly `fragment` out, with the lists and maps that it alone filled; empty when nothing of it is there. An item that somebody
 * else has stated as well is not ours alone, and stays.
 */
export function planRemoval(subject: PatchSubject, fragment: SidecarFragment): readonly PatchOperation[] {
  const { template } = subject;
  const { ours, others } = holdersOf(subject.managedFields);
  const madeByUsAlone = (chain: readonly string[]): ReadonlySet<string> => {
    const shared = namesStated(others, chain);
    return new Set([...namesMade(ours, chain)].filter((name) => !shared.has(name)));
  };
  // Somebody cleared managedFields: then what looks exactly like ours is ours.
  const untold = LISTS.every((list) => namesMade(ours, ['f:spec', `f:${list}`]).size === 0) && carries(template, fragment);
  const additions = new Map((fragment.containers ?? []).map(({ name, env }) => [name, new Set(env.map((variable) => variable.name))]));
  const operations = [
    ...containersOf(template).flatMap(({ list, index, container }) => {
      const made = madeByUsAlone(['f:spec', `f:${list}`, itemKey(container.name), 'f:env']);
      const isOurs = (name: string): boolean => additions.get(container.name)?.has(name) === true && (untold || made.has(name));
      return removeItems(`/spec/template/spec/${list}/${index}/env`, container.env, { isOurs, removeEmpty: true });
    }),
    ...LISTS.flatMap((list) => {
      const names = new Set(fragment[list].map(({ name }) => name));
      const made = madeByUsAlone(['f:spec', `f:${list}`]);
      return removeItems(listPath(list), template.spec[list], { isOurs: (name) => names.has(name) && (untold || made.has(name)), removeEmpty: true });
    }),
    ...MAPS.flatMap((map) => {
      const held = keysHeld(ours, ['f:metadata', `f:${map}`]);
      // Of our own name space only while anything of ours is there: a template that was never ours keeps even such keys.
      const isOurs = (key: string): boolean => key in fragment[map] && (untold || held.has(key) || (ours.length > 0 && isOurKey(key)));
      return removeKeys(template, map, { isOurs, removeEmpty: true });
    }),
  ];
  return operations.length === 0 ? [] : [...testUnchanged(subject), ...operations];
}

/** Things of our names that are there and not ours, and what others hold inside things of ours. */
function conflictsOf(
  template: PodTemplateShape,
  fragment: SidecarFragment,
  { holders, repair }: { readonly holders: Holders; readonly repair: boolean },
): { manager: string; path: string }[] {
  const places = placesOf(template, fragment);
  const foreign = places
    .filter(({ live, chain }) => live !== undefined && !madeBy(holders.ours, chain))
    .map(({ path, chain }) => ({ path, manager: holders.others.find((holder) => madeBy([holder], chain))?.manager ?? 'unknown' }));
  const inMaps = MAPS.flatMap((map) => {
    const chain = ['f:metadata', `f:${map}`];
    const held = keysHeld(holders.ours, chain);
    return Object.entries(fragment[map])
      .filter(([key, value]) => !held.has(key) && (template.metadata?.[map]?.[key] ?? value) !== value && !(repair && isOurKey(key)))
      .map(([key]) => ({
        path: keyPath(map, key),
        manager: holders.others.find((holder) => keysHeld([holder], chain).has(key))?.manager ?? 'unknown',
      }));
  });
  return [...foreign, ...inMaps, ...(repair ? [] : intrusionsOf(holders, places))];
}

const testUnchanged = ({ uid, generation }: PatchSubject): readonly PatchOperation[] => [
  { op: 'test', path: '/metadata/uid', value: uid },
  { op: 'test', path: '/metadata/generation', value: generation },
];
const listPath = (list: ListName): string => `/spec/template/spec/${list}`;
const mapPath = (map: MapName): string => `/spec/template/metadata/${map}`;
/** RFC 6901. */
const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

interface Selection {
  readonly isOurs: (name: string) => boolean;
  /** Take the list or map itself away when nothing would be left in it. */
  readonly removeEmpty: boolean;
}

/** From the last to the first, so that each index still holds when its turn comes. */
function removeItems(path: string, items: readonly { readonly name: string }[] = [], { isOurs, removeEmpty }: Selection): PatchOperation[] {
  const found = items.flatMap((item, index) => (isOurs(item.name) ? [{ name: item.name, index }] : []));
  const tests = found.map(({ name, index }): PatchOperation => ({ op: 'test', path: `${path}/${index}/name`, value: name }));
  if (removeEmpty && found.length > 0 && found.length === items.length) return [...tests, { op: 'remove', path }];
  return [...tests, ...found.reverse().map(({ index }): PatchOperation => ({ op: 'remove', path: `${path}/${index}` }))];
}

function addItems(template: PodTemplateShape, list: ListName, fragment: SidecarFragment): PatchOperation[] {
  const wanted = fragment[list];
  if (wanted.length === 0) return [];
  if (template.spec[list] === undefined) return [{ op: 'add', path: listPath(list), value: wanted }];
  return wanted.map((value, index) => ({ op: 'add', path: `${listPath(list)}/${list === 'initContainers' ? index : '-'}`, value }));
}

/** Variables of ours in a container of the book go, and what is wanted comes after the book's own; where all is as wanted nothing happens. */
function replaceVariables(template: PodTemplateShape, fragment: SidecarFragment, { ours }: Holders): PatchOperation[] {
  const additions = new Map((fragment.containers ?? []).map(({ name, env }) => [name, env]));
  return containersOf(template).flatMap(({ list, index, container }): PatchOperation[] => {
    const path = `/spec/template/spec/${list}/${index}/env`;
    const made = namesMade(ours, ['f:spec', `f:${list}`, itemKey(container.name), 'f:env']);
    const live = new Map((container.env ?? []).map((variable) => [variable.name, variable]));
    const wanted = additions.get(container.name) ?? [];
    if (made.size === wanted.length && wanted.every((variable) => made.has(variable.name) && covers(live.get(variable.name), variable))) return [];
    if (container.env === undefined) return wanted.length === 0 ? [] : [{ op: 'add', path, value: wanted }];
    const removals = removeItems(path, container.env, { isOurs: (name) => made.has(name), removeEmpty: wanted.length === 0 });
    return [...removals, ...wanted.map((value): PatchOperation => ({ op: 'add', path: `${path}/-`, value }))];
  });
}

function removeKeys(template: PodTemplateShape, map: MapName, { isOurs, removeEmpty }: Selection): PatchOperation[] {
  const entries = Object.entries(template.metadata?.[map] ?? {});
  const found = entries.filter(([key]) => isOurs(key));
  const tests = found.map(([key, value]): PatchOperation => ({ op: 'test', path: `${mapPath(map)}/${escaped(key)}`, value }));
  if (removeEmpty && found.length > 0 && found.length === entries.length) return [...tests, { op: 'remove', path: mapPath(map) }];
  return [...tests, ...found.map(([key]): PatchOperation => ({ op: 'remove', path: `${mapPath(map)}/${escaped(key)}` }))];
}

function addKeys(template: PodTemplateShape, map: MapName, fragment: SidecarFragment): PatchOperation[] {
  const entries = Object.entries(fragment[map]);
  if (entries.length === 0) return [];
  if (template.metadata?.[map] === undefined) return [{ op: 'add', path: mapPath(map), value: fragment[map] }];
  return entries.map(([key, value]) => ({ op: 'add', path: `${mapPath(map)}/${escaped(key)}`, value }));
}
