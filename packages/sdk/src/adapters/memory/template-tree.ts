import type { PodTemplateShape } from '../../domain/pod-shape.ts';

/** One step into a template: a member, or the item of a list that has these keys. */
type Step = string | Readonly<Record<string, unknown>>;

/** A value that is one field to a field manager: all that is no map and no list of named items. */
export interface Leaf {
  readonly steps: readonly Step[];
  readonly value: unknown;
}
/** By their path, as the API server writes it: `spec.template.spec.containers[name="book"].image`. */
export type Leaves = Map<string, Leaf>;

/** Lists whose items are told by their keys; any other list is one field. */
const LIST_KEYS: Readonly<Record<string, readonly string[]>> = {
  initContainers: ['name'],
  containers: ['name'],
  volumes: ['name'],
  env: ['name'],
  ports: ['containerPort', 'protocol'],
  volumeMounts: ['mountPath'],
};
const KEY_DEFAULTS: Readonly<Record<string, unknown>> = { protocol: 'TCP' };
const ROOT = 'spec.template';

type Members = Record<string, unknown>;
const isMap = (value: unknown): value is Members => typeof value === 'object' && value !== null && !Array.isArray(value);

const pathOf = (steps: readonly Step[]): string => ROOT + steps.map((step) => (typeof step === 'string' ? `.${step}` : keysText(step))).join('');

function keysText(keys: Readonly<Record<string, unknown>>): string {
  const texts = Object.entries(keys).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `[${texts.join(',')}]`;
}

/** The fields of a template, or of as much of one as somebody speaks of. Members that are undefined are not there. */
export function leavesOf(template: object): Leaves {
  const leaves: Leaves = new Map();
  const walk = (value: unknown, steps: readonly Step[]): void => {
    const keys = typeof steps.at(-1) === 'string' ? LIST_KEYS[String(steps.at(-1))] : undefined;
    if (Array.isArray(value) && keys !== undefined) for (const item of value) walk(item, [...steps, keysOf(item, keys)]);
    else if (isMap(value) && Object.keys(value).length > 0) {
      for (const [name, member] of Object.entries(value)) if (member !== undefined) walk(member, [...steps, name]);
    } else if (!(Array.isArray(value) && value.length === 0)) leaves.set(pathOf(steps), { steps, value });
  };
  walk(template, []);
  return leaves;
}

const keysOf = (item: unknown, keys: readonly string[]): Readonly<Record<string, unknown>> =>
  Object.fromEntries(keys.map((key) => [key, (isMap(item) ? item[key] : undefined) ?? KEY_DEFAULTS[key]]));

const isItem = (item: unknown, wanted: Readonly<Record<string, unknown>>): boolean =>
  Object.entries(keysOf(item, Object.keys(wanted))).every(([key, value]) => wanted[key] === value);

/** A copy as an API server keeps it: members that are undefined, an empty list or an empty map of labels are not there, and no two places share a value. */
export function normal<T>(value: T): T {
  if (Array.isArray(value)) return value.map((item: unknown) => normal(item)) as T;
  if (!isMap(value)) return value;
  const members = Object.entries(value).filter(([name, member]) => member !== undefined && !isLeftOut(name, member));
  return Object.fromEntries(members.map(([name, member]) => [name, normal(member)])) as T;
}

/** Other empty maps say something: `emptyDir: {}`. */
function isLeftOut(name: string, member: unknown): boolean {
  if (Array.isArray(member)) return member.length === 0;
  return (name === 'labels' || name === 'annotations') && isMap(member) && Object.keys(member).length === 0;
}

/** Sets and removes fields; items and maps that are left with nothing go, and so do lists. The template itself stays as it is. */
export function edited(template: PodTemplateShape, change: { readonly set: Iterable<Leaf>; readonly removed: Iterable<Leaf> }): PodTemplateShape {
  const root = normal(template) as unknown as Members;
  for (const { steps } of [...change.removed].sort((a, b) => turnOf(a) - turnOf(b))) remove(root, steps);
  for (const { steps, value } of change.set) set(root, steps, normal(value));
  if (!isMap(root['spec'])) root['spec'] = {};
  return root as unknown as PodTemplateShape;
}

/** Keys after everything else, and of nested items the inner ones first: an item goes with its last key. */
const turnOf = ({ steps }: Leaf): number => {
  const [item, member] = [steps.at(-2), steps.at(-1)];
  const isKey = typeof item === 'object' && typeof member === 'string' && member in item;
  return isKey ? 1_000 - steps.length : 0;
};

function set(root: Members, steps: readonly Step[], value: unknown): void {
  let at: Members = root;
  for (const [index, step] of steps.entries()) {
    if (typeof step !== 'string') continue; // looked up with the list that it is in
    const next = steps[index + 1];
    if (next === undefined) at[step] = value;
    else if (typeof next === 'string') {
      if (!isMap(at[step])) at[step] = {};
      at = at[step] as Members;
    } else at = itemOf(at, step, next);
  }
}

function itemOf(holder: Members, list: string, keys: Readonly<Record<string, unknown>>): Members {
  const items: unknown[] = Array.isArray(holder[list]) ? holder[list] : [];
  holder[list] = items;
  const found = items.find((item) => isItem(item, keys));
  if (isMap(found)) return found;
  const made: Members = { ...keys };
  items.push(made);
  return made;
}

/** True when nothing is left where the steps lead to. A key stays as long as its item has other members. */
function remove(at: unknown, [step, ...rest]: readonly Step[]): boolean {
  if (step === undefined) return true;
  if (typeof step !== 'string') {
    const items = at as unknown[];
    const index = items.findIndex((item) => isItem(item, step));
    const item = items[index];
    if (!isMap(item)) return items.length === 0;
    const isKey = rest.length === 1 && typeof rest[0] === 'string' && rest[0] in step;
    if (isKey ? Object.keys(item).every((name) => name in step) : remove(item, rest)) items.splice(index, 1);
    return items.length === 0;
  }
  const members = at as Members;
  if (!(step in members)) return false;
  if (rest.length === 0 || remove(members[step], rest)) delete members[step];
  return Object.keys(members).length === 0;
}
