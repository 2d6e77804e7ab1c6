import { isDeepStrictEqual } from 'node:util';
import { BifrostError } from '@bifrost/types/core';
import { FIELD_MANAGER } from '../../domain/names.ts';
import type { ContainerShape, PodTemplateShape, VolumeShape } from '../../domain/pod-shape.ts';
import { edited, type Leaves, leavesOf } from './template-tree.ts';

/** The members of a pod template that a field manager applies; others it does not speak of. */
export interface AppliedTemplate {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly initContainers?: readonly ContainerShape[];
  readonly containers?: readonly ContainerShape[];
  readonly volumes?: readonly VolumeShape[];
}

/** Which managers hold a field, by its path. */
export type Owners = ReadonlyMap<string, ReadonlySet<string>>;

/** A pod template and who holds which of its fields. Values are never changed in place. */
export interface OwnedTemplate {
  readonly template: PodTemplateShape;
  readonly owners: Owners;
  /** When each manager last took or let go of a field, as a number that grows. Who only took something away leaves no trace, as on an API server. */
  readonly writes: ReadonlyMap<string, number>;
}

export interface FieldHolder {
  readonly path: string;
  readonly manager: string;
}

const fieldsOf = ({ labels, annotations, initContainers, containers, volumes }: AppliedTemplate): Leaves =>
  leavesOf({ metadata: { labels, annotations }, spec: { initContainers, containers, volumes } });

const noted = ({ writes }: OwnedTemplate, manager: string): ReadonlyMap<string, number> =>
  new Map([...writes, [manager, 1 + Math.max(0, ...writes.values())]]);

/** What of `applied` others hold with another value. */
export function applyConflicts(current: OwnedTemplate, applied: AppliedTemplate, manager: string): readonly FieldHolder[] {
  const present = leavesOf(current.template);
  return [...fieldsOf(applied)].flatMap(([path, { value }]) => {
    const differs = present.has(path) && !isDeepStrictEqual(present.get(path)?.value, value);
    const others = differs ? [...(current.owners.get(path) ?? [])].filter((owner) => owner !== manager) : [];
    return others.map((other) => ({ path, manager: other }));
  });
}

/**
 * Server-side apply, by force: `manager` states all that it wants, and takes what others hold with another value; what it held before and states no
 * longer goes, unless somebody else holds it too.
 */
export function applyFields(current: OwnedTemplate, applied: AppliedTemplate, manager: string): OwnedTemplate {
  const wanted = fieldsOf(applied);
  const present = leavesOf(current.template);
  const owners = new Map([...current.owners].map(([path, managers]) => [path, new Set(managers)]));
  for (const [path, { value }] of wanted) {
    const differs = present.has(path) && !isDeepStrictEqual(present.get(path)?.value, value);
    owners.set(path, differs ? new Set([manager]) : (owners.get(path) ?? new Set()).add(manager));
  }
  const removed = new Set<string>();
  for (const [path, managers] of owners) {
    if (wanted.has(path) || !managers.delete(manager) || managers.size > 0) continue;
    owners.delete(path);
    removed.add(path);
  }
  const template = edited(current.template, { set: wanted.values(), removed: [...removed].flatMap((path) => present.get(path) ?? []) });
  const unchanged = isDeepStrictEqual(owners, current.owners) && isDeepStrictEqual(template, current.template);
  return unchanged ? current : { template, owners, writes: noted(current, manager) };
}

/** @throws {BifrostError} `FIELD_CONFLICT`, when there is any */
export function refuse(conflicts: readonly FieldHolder[]): void {
  const [first] = conflicts;
  if (first === undefined) return;
  throw new BifrostError({
    code: 'FIELD_CONFLICT',
    message: `${first.manager} holds ${first.path} with another value: let it go there, then attach.`,
    details: { manager: first.manager },
    issues: conflicts.map(({ path, manager }) => ({ path, message: `held by ${manager}` })),
  });
}

const NOTHING: OwnedTemplate = { template: { spec: { containers: [] } }, owners: new Map(), writes: new Map() };

/** A whole new template, as an update writes it: `manager` holds what it added or changed; what it took away is nobody's. */
export function updateTemplate(current: OwnedTemplate | undefined, manager: string, template: PodTemplateShape): OwnedTemplate {
  const before = current ?? NOTHING;
  const present = leavesOf(before.template);
  const owners = new Map<string, ReadonlySet<string>>();
  let took = false;
  for (const [path, { value }] of leavesOf(template)) {
    const isKept = present.has(path) && isDeepStrictEqual(present.get(path)?.value, value);
    const holders = isKept ? before.owners.get(path) : undefined;
    took ||= !isKept;
    owners.set(path, holders ?? new Set([manager]));
  }
  return { template, owners, writes: took ? noted(before, manager) : before.writes };
}

/** The same template, of which `manager` holds nothing any more. */
export function released(current: OwnedTemplate, manager: string): OwnedTemplate {
  const owners = new Map([...current.owners].map(([path, managers]) => [path, new Set([...managers].filter((owner) => owner !== manager))] as const));
  return { ...current, owners };
}

/** As an API server's record of field managers tells it: see `Workload.lastWriter`. */
export function lastWriterOf({ owners, writes }: OwnedTemplate): string | undefined {
  const holders = new Set([...owners.values()].flatMap((managers) => [...managers]));
  const told = [...writes].filter(([manager]) => manager === FIELD_MANAGER || holders.has(manager)).sort(([, a], [, b]) => a - b);
  const newest = told.filter(([manager]) => manager !== FIELD_MANAGER).at(-1);
  if (newest === undefined) return undefined;
  return told.at(-1)?.[0] === FIELD_MANAGER ? 'unknown' : newest[0];
}
