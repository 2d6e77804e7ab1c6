import { covers } from '../../domain/carries.ts';
import { ANNOTATION_PREFIX, CONTAINERS } from '../../domain/names.ts';
import type { ContainerShape, PodTemplateShape, SidecarFragment } from '../../domain/pod-shape.ts';
import { type FieldTree, type Holder, type Holders, itemKey, madeBy, treeAt } from './workload-fields.ts';

export const LISTS = ['initContainers', 'volumes'] as const;
export type ListName = (typeof LISTS)[number];
export const MAPS = ['labels', 'annotations'] as const;
export type MapName = (typeof MAPS)[number];
export const keyPath = (map: MapName, key: string): string => `spec.template.metadata.${map}.${key}`;
const CONTAINER_LISTS = ['initContainers', 'containers'] as const;
type ContainerListName = (typeof CONTAINER_LISTS)[number];

/** One item that a fragment has in a pod template: an init container, a volume, or a variable of one of the book's containers. */
export interface Place {
  /** As the API server writes it in a conflict, without its leading dot. */
  readonly path: string;
  /** In `fieldsV1`, below the template. */
  readonly chain: readonly string[];
  /** In the object: of a JSON pointer, unescaped. */
  readonly pointer: readonly (string | number)[];
  readonly wanted: unknown;
  /** As it is now; undefined: not there. */
  readonly live: unknown;
}

export const nameOfItem = (name: string): string => `[name="${name}"]`;

/** Where the book has its containers: `list`, and the place in it. Ours are left out. */
export const containersOf = (template: PodTemplateShape): readonly { list: ContainerListName; index: number; container: ContainerShape }[] => {
  const ours: ReadonlySet<string> = new Set(Object.values(CONTAINERS));
  return CONTAINER_LISTS.flatMap((list) =>
    (template.spec[list] ?? []).map((container, index) => ({ list, index, container })).filter(({ container }) => !ours.has(container.name)),
  );
};

export function placesOf(template: PodTemplateShape, fragment: SidecarFragment): readonly Place[] {
  const items = LISTS.flatMap((list) =>
    fragment[list].map(({ name, ...wanted }): Place => {
      const index = (template.spec[list] ?? []).findIndex((item) => item.name === name);
      return {
        path: `spec.template.spec.${list}${nameOfItem(name)}`,
        chain: ['f:spec', `f:${list}`, itemKey(name)],
        pointer: ['spec', 'template', 'spec', list, index],
        wanted: { name, ...wanted },
        live: template.spec[list]?.[index],
      };
    }),
  );
  const additions = new Map((fragment.containers ?? []).map(({ name, env }) => [name, env]));
  const variables = containersOf(template).flatMap(({ list, index, container }) =>
    (additions.get(container.name) ?? []).map((wanted): Place => {
      const at = (container.env ?? []).findIndex(({ name }) => name === wanted.name);
      return {
        path: `spec.template.spec.${list}${nameOfItem(container.name)}.env${nameOfItem(wanted.name)}`,
        chain: ['f:spec', `f:${list}`, itemKey(container.name), 'f:env', itemKey(wanted.name)],
        pointer: ['spec', 'template', 'spec', list, index, 'env', at],
        wanted,
        live: container.env?.[at],
      };
    }),
  );
  return [...items, ...variables];
}

/** Something that another manager holds inside an item that we made, and that is not as the fragment has it. */
export interface Intrusion {
  readonly manager: string;
  readonly path: string;
  readonly pointer: readonly (string | number)[];
  /** True: the fragment has no such thing. False: it has another value. */
  readonly isAddition: boolean;
}

export function intrusionsOf({ ours, others }: Holders, places: readonly Place[]): readonly Intrusion[] {
  return places
    .filter(({ chain }) => madeBy(ours, chain))
    .flatMap(({ chain, path, pointer, wanted, live }) =>
      others.flatMap(({ manager, tree }: Holder) => {
        const held = treeAt(tree, chain);
        return held === undefined ? [] : differences(held, { manager, path, pointer }, { wanted, live });
      }),
    );
}

type At = Pick<Intrusion, 'manager' | 'path' | 'pointer'>;
interface Compared {
  readonly wanted: unknown;
  readonly live: unknown;
}

function differences(held: FieldTree, at: At, { wanted, live }: Compared): Intrusion[] {
  return Object.entries(held).flatMap(([key, below]): Intrusion[] => {
    const step = stepInto(key, { wanted, live });
    if (step === undefined || step.live === undefined) return [];
    const next = { manager: at.manager, path: at.path + step.path, pointer: [...at.pointer, step.pointer] };
    if (step.wanted === undefined) return [{ ...next, isAddition: true }];
    const isLeaf = typeof below !== 'object' || below === null || Object.keys(below).length === 0;
    if (!isLeaf) return differences(below as FieldTree, next, step);
    return covers(step.live, step.wanted) ? [] : [{ ...next, isAddition: false }];
  });
}

interface Step extends Compared {
  readonly path: string;
  readonly pointer: string | number;
}

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;

/** Undefined for the thing itself, and for what tells no place. */
function stepInto(key: string, { wanted, live }: Compared): Step | undefined {
  if (key.startsWith('f:')) {
    const name = key.slice(2);
    return { path: `.${name}`, pointer: name, wanted: memberOf(wanted, name), live: memberOf(live, name) };
  }
  if (!key.startsWith('k:')) return undefined;
  const keys = Object.entries(JSON.parse(key.slice(2)) as Readonly<Record<string, unknown>>);
  const isIt = (item: unknown): boolean => keys.every(([name, value]) => memberOf(item, name) === value);
  const items: readonly unknown[] = Array.isArray(live) ? live : [];
  const index = items.findIndex(isIt);
  const path = `[${keys.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}]`;
  return { path, pointer: index, wanted: Array.isArray(wanted) ? wanted.find(isIt) : undefined, live: items[index] };
}

/** Keys that begin so are nobody else's, whoever wrote them last. */
export const isOurKey = (key: string): boolean => key.startsWith(ANNOTATION_PREFIX);

/** True when every path lies in an item that we made, or is a label or annotation of the fragment in our own name space. */
export function areOurs(
  paths: readonly string[],
  { ours }: Holders,
  { places, fragment }: { places: readonly Place[]; fragment: SidecarFragment },
): boolean {
  const made = places.filter(({ chain }) => madeBy(ours, chain)).map(({ path }) => path);
  const keys = MAPS.flatMap((map) =>
    Object.keys(fragment[map])
      .filter(isOurKey)
      .map((key) => keyPath(map, key)),
  );
  return paths.length > 0 && paths.every((path) => keys.includes(path) || made.some((place) => path === place || path.startsWith(`${place}.`)));
}
