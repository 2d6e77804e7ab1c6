import { carries } from '../../domain/carries.ts';
import { FIELD_MANAGER } from '../../domain/names.ts';
import type { PodTemplateShape, SidecarFragment } from '../../domain/pod-shape.ts';
import type { ManagedFields } from './api-types.ts';

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

/** The four places of a pod template that a fragment touches. */
const MAPS = ['labels', 'annotations'] as const;
const LISTS = ['initContainers', 'volumes'] as const;
type MapName = (typeof MAPS)[number];
type ListName = (typeof LISTS)[number];

/**
 * The JSON Patch that puts `fragment` first. Server-side apply would append our init containers after the book's own, which need the network.
 * What our field manager put there earlier is taken out in the same patch, so a changed fragment replaces the old one whole.
 */
export function planPrepend(subject: PatchSubject, fragment: SidecarFragment): PrependPlan {
  if (carries(subject.template, fragment)) return { kind: 'present' };
  const ours = ownership(subject.managedFields, FIELD_MANAGER);
  const conflicts = foreignItems(subject, fragment, ours);
  const [first] = conflicts;
  if (first !== undefined) return { kind: 'conflict', manager: first.manager, paths: conflicts.map(({ path }) => path) };
  return {
    kind: 'patch',
    operations: [
      ...testUnchanged(subject),
      ...LISTS.flatMap((list) => removeItems(subject.template, list, { isOurs: (name) => ours[list].has(name), removeEmpty: false })),
      ...LISTS.flatMap((list) => addItems(subject.template, list, fragment)),
      ...MAPS.flatMap((map) =>
        removeKeys(subject.template, map, { isOurs: (key) => ours[map].has(key) && !(key in fragment[map]), removeEmpty: false }),
      ),
      ...MAPS.flatMap((map) => addKeys(subject.template, map, fragment)),
    ],
  };
}

/** The JSON Patch that takes exactly `fragment` out, with the lists and maps that it alone filled; empty when nothing of it is there. */
export function planRemoval(subject: PatchSubject, fragment: SidecarFragment): readonly PatchOperation[] {
  const ours = ownership(subject.managedFields, FIELD_MANAGER);
  // Somebody cleared managedFields: then what looks exactly like ours is ours.
  const untold = LISTS.every((list) => ours[list].size === 0) && carries(subject.template, fragment);
  const inFragment = (list: ListName): ReadonlySet<string> => new Set(fragment[list].map(({ name }) => name));
  const operations = [
    ...LISTS.flatMap((list) => {
      const names = inFragment(list);
      return removeItems(subject.template, list, { isOurs: (name) => names.has(name) && (untold || ours[list].has(name)), removeEmpty: true });
    }),
    ...MAPS.flatMap((map) =>
      removeKeys(subject.template, map, { isOurs: (key) => key in fragment[map] && (untold || ours[map].has(key)), removeEmpty: true }),
    ),
  ];
  return operations.length === 0 ? [] : [...testUnchanged(subject), ...operations];
}

type Ownership = Readonly<Record<MapName | ListName, ReadonlySet<string>>>;

/** What `manager` owns in the pod template, by the API server's own record. */
function ownership(managedFields: readonly ManagedFields[], manager: string): Ownership {
  const owned = { labels: new Set<string>(), annotations: new Set<string>(), initContainers: new Set<string>(), volumes: new Set<string>() };
  for (const entry of managedFields) {
    if (entry.manager !== manager || entry.subresource) continue;
    const template = member(member(entry.fieldsV1, 'f:spec'), 'f:template');
    for (const map of MAPS) for (const key of fieldNames(member(member(template, 'f:metadata'), `f:${map}`))) owned[map].add(key);
    for (const list of LISTS) for (const name of itemNames(member(member(template, 'f:spec'), `f:${list}`))) owned[list].add(name);
  }
  return owned;
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** `f:NAME` */
function fieldNames(fields: unknown): string[] {
  return typeof fields === 'object' && fields !== null
    ? Object.keys(fields)
        .filter((key) => key.startsWith('f:'))
        .map((key) => key.slice(2))
    : [];
}

/** `k:{"name":"NAME"}` */
function itemNames(fields: unknown): string[] {
  if (typeof fields !== 'object' || fields === null) return [];
  return Object.keys(fields).flatMap((key) => /^k:\{"name":"([^"\\]+)"\}$/.exec(key)?.[1] ?? []);
}

/** Things of our names that are there and not ours. */
function foreignItems(subject: PatchSubject, fragment: SidecarFragment, ours: Ownership): { manager: string; path: string }[] {
  const managers = [...new Set(subject.managedFields.map(({ manager }) => manager ?? 'unknown'))].filter((name) => name !== FIELD_MANAGER);
  const ownerOf = (place: MapName | ListName, key: string): string =>
    managers.find((manager) => ownership(subject.managedFields, manager)[place].has(key)) ?? 'unknown';
  const inLists = LISTS.flatMap((list) =>
    fragment[list]
      .filter(({ name }) => !ours[list].has(name) && subject.template.spec[list]?.some((item) => item.name === name))
      .map(({ name }) => ({ manager: ownerOf(list, name), path: `spec.template.spec.${list}[name="${name}"]` })),
  );
  const inMaps = MAPS.flatMap((map) =>
    Object.entries(fragment[map])
      .filter(([key, value]) => !ours[map].has(key) && (subject.template.metadata?.[map]?.[key] ?? value) !== value)
      .map(([key]) => ({ manager: ownerOf(map, key), path: `spec.template.metadata.${map}.${key}` })),
  );
  return [...inLists, ...inMaps];
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
function removeItems(template: PodTemplateShape, list: ListName, { isOurs, removeEmpty }: Selection): PatchOperation[] {
  const items = template.spec[list] ?? [];
  const found = items.flatMap((item, index) => (isOurs(item.name) ? [{ name: item.name, index }] : []));
  const tests = found.map(({ name, index }): PatchOperation => ({ op: 'test', path: `${listPath(list)}/${index}/name`, value: name }));
  if (removeEmpty && found.length > 0 && found.length === items.length) return [...tests, { op: 'remove', path: listPath(list) }];
  return [...tests, ...found.reverse().map(({ index }): PatchOperation => ({ op: 'remove', path: `${listPath(list)}/${index}` }))];
}

function addItems(template: PodTemplateShape, list: ListName, fragment: SidecarFragment): PatchOperation[] {
  const wanted = fragment[list];
  if (wanted.length === 0) return [];
  if (template.spec[list] === undefined) return [{ op: 'add', path: listPath(list), value: wanted }];
  return wanted.map((value, index) => ({ op: 'add', path: `${listPath(list)}/${list === 'initContainers' ? index : '-'}`, value }));
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
