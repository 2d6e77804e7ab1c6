import { FIELD_MANAGER } from '../../domain/names.ts';
import type { ManagedFields } from './api-types.ts';

/** A tree of `fieldsV1`: `f:NAME` is a member, `k:{…}` an item of a list by its keys, `.` the thing itself. */
export type FieldTree = Readonly<Record<string, unknown>>;

export interface Holder {
  readonly manager: string;
  /** What it holds of the pod template. */
  readonly tree: FieldTree;
  /** RFC 3339 in whole seconds. */
  readonly time: string;
}

/** Who holds which fields of a pod template, by the API server's own record. */
export interface Holders {
  /** Ours, whether applied or patched. */
  readonly ours: readonly Holder[];
  readonly others: readonly Holder[];
}

/** Writers of a subresource (status, scale) and of anything but the template count for nothing: no pod changes by them. */
export function holdersOf(managedFields: readonly ManagedFields[]): Holders {
  const all = managedFields.flatMap(({ manager, subresource, fieldsV1, time = '' }): Holder[] => {
    const tree = subresource ? undefined : templateTree(fieldsV1);
    return tree === undefined ? [] : [{ manager: manager || 'unknown', tree, time }];
  });
  return { ours: all.filter(({ manager }) => manager === FIELD_MANAGER), others: all.filter(({ manager }) => manager !== FIELD_MANAGER) };
}

/** A CronJob keeps its template one level deeper. */
function templateTree(fieldsV1: unknown): FieldTree | undefined {
  return treeAt(fieldsV1, ['f:spec', 'f:template']) ?? treeAt(fieldsV1, ['f:spec', 'f:jobTemplate', 'f:spec', 'f:template']);
}

export function treeAt(tree: unknown, chain: readonly string[]): FieldTree | undefined {
  const found = chain.reduce<unknown>((at, key) => (isTree(at) ? at[key] : undefined), tree);
  return isTree(found) ? found : undefined;
}

const isTree = (value: unknown): value is FieldTree => typeof value === 'object' && value !== null;

export const itemKey = (name: string): string => `k:${JSON.stringify({ name })}`;

/** Whoever made an item holds its name; who only changed something in it does not. */
const isMade = (item: FieldTree | undefined): boolean => item !== undefined && ('.' in item || 'f:name' in item);

/** True when one of the holders made the item that the chain leads to. */
export const madeBy = (holders: readonly Holder[], chain: readonly string[]): boolean => holders.some(({ tree }) => isMade(treeAt(tree, chain)));

/** Names of the items that the holders made in the list that the chain leads to. */
export function namesMade(holders: readonly Holder[], chain: readonly string[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { tree } of holders) {
    const list = treeAt(tree, chain);
    for (const key of Object.keys(list ?? {})) {
      const name = /^k:\{"name":"([^"\\]+)"\}$/.exec(key)?.[1];
      if (name !== undefined && isMade(treeAt(list, [key]))) names.add(name);
    }
  }
  return names;
}

/**
 * Names of items that some holder has stated so that they can stand by themselves: a container with its image, anything else with any member besides its
 * name. One that holds no more than the name of what we made would be left with half an item.
 */
export function namesStated(holders: readonly Holder[], chain: readonly string[]): ReadonlySet<string> {
  const isContainers = /^f:(?:initC|c)ontainers$/.test(chain.at(-1) ?? '');
  const stands = (item: FieldTree | undefined): boolean =>
    isContainers ? item !== undefined && 'f:image' in item : Object.keys(item ?? {}).some((key) => key !== '.' && key !== 'f:name');
  const names = [...namesMade(holders, chain)];
  return new Set(
    names.filter((name) =>
      holders.some(({ tree }) => isMade(treeAt(tree, [...chain, itemKey(name)])) && stands(treeAt(tree, [...chain, itemKey(name)]))),
    ),
  );
}

/** Keys of the map that the chain leads to which the holders hold. */
export function keysHeld(holders: readonly Holder[], chain: readonly string[]): ReadonlySet<string> {
  const keys = holders.flatMap(({ tree }) => Object.keys(treeAt(tree, chain) ?? {}));
  return new Set(keys.filter((key) => key.startsWith('f:')).map((key) => key.slice(2)));
}

/** When we last wrote the template, as the record has it; empty when it has nothing of ours. */
export const ownWriteIn = (managedFields: readonly ManagedFields[]): string =>
  holdersOf(managedFields)
    .ours.map(({ time }) => time)
    .sort()
    .at(-1) ?? '';

/**
 * Who else wrote the template after we did; before we did, who wrote it last. By the server's clock of whole seconds: in the same second the other
 * counts. Who only took something away leaves no trace in the record: then nobody's is newer than ours, and it says `unknown`. `writtenAt`: when we
 * last wrote, where the record has lost it with the last of our fields.
 */
export function lastWriterOf(managedFields: readonly ManagedFields[], writtenAt = ''): string | undefined {
  const { others } = holdersOf(managedFields);
  const newest = others.reduce<Holder | undefined>((best, holder) => (holder.time >= (best?.time ?? '') ? holder : best), undefined);
  if (newest === undefined) return undefined;
  return [ownWriteIn(managedFields), writtenAt].some((time) => time > newest.time) ? 'unknown' : newest.manager;
}
