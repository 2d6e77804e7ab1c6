import { isDeepStrictEqual } from 'node:util';
import { BifrostError } from '@bifrost/types/core';
import type { ContainerShape, PodTemplateShape, VolumeShape } from '../../domain/pod-shape.ts';

/** The members of a pod template that a field manager applies; others it does not speak of. */
export interface AppliedTemplate {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly initContainers?: readonly ContainerShape[];
  readonly volumes?: readonly VolumeShape[];
}

/** Which managers hold a field. Fields are the members of containers and volumes, each label and each annotation: finer than that, a real API server tells more. */
export type Owners = ReadonlyMap<string, ReadonlySet<string>>;

/** A pod template and who holds which of its fields. Values are never changed in place. */
export interface OwnedTemplate {
  readonly template: PodTemplateShape;
  readonly owners: Owners;
}

type Lists = 'initContainers' | 'containers' | 'volumes';
const LISTS: readonly Lists[] = ['initContainers', 'containers', 'volumes'];
const MAPS = ['labels', 'annotations'] as const;
/** An item's members by their path; members that are undefined are not there. */
type Fields = Map<
  string,
  { readonly place: Lists | 'labels' | 'annotations'; readonly item: string; readonly member: string; readonly value: unknown }
>;

export const itemPath = (list: Lists, name: string): string => `.spec.template.spec.${list}[name="${name}"]`;

function fieldsOf(applied: AppliedTemplate & { readonly containers?: readonly ContainerShape[] }): Fields {
  const fields: Fields = new Map();
  for (const place of MAPS) {
    for (const [member, value] of Object.entries(applied[place] ?? {})) {
      fields.set(`.spec.template.metadata.${place}.${member}`, { place, item: '', member, value });
    }
  }
  for (const place of LISTS) {
    for (const item of applied[place] ?? []) {
      for (const [member, value] of Object.entries(item)) {
        if (value !== undefined) fields.set(`${itemPath(place, item.name)}.${member}`, { place, item: item.name, member, value });
      }
    }
  }
  return fields;
}

function templateFields({ metadata, spec }: PodTemplateShape): Fields {
  return fieldsOf({ ...metadata, ...pick(spec) });
}

function pick({ initContainers, containers, volumes }: PodTemplateShape['spec']) {
  return { ...(initContainers && { initContainers }), containers, ...(volumes && { volumes }) };
}

/**
 * Server-side apply: `manager` states all that it wants; what it held before and states no longer goes, unless somebody else holds it too.
 * `force`: it takes what others hold.
 *
 * @throws {BifrostError} `FIELD_CONFLICT`
 */
export function applyFields(
  current: OwnedTemplate,
  applied: AppliedTemplate,
  by: { readonly manager: string; readonly force?: boolean },
): OwnedTemplate {
  const { manager, force = false } = by;
  const wanted = fieldsOf(applied);
  const present = templateFields(current.template);
  const owners = new Map([...current.owners].map(([path, managers]) => [path, new Set(managers)]));
  const conflicts: { path: string; manager: string }[] = [];
  for (const [path, { value }] of wanted) {
    const differs = present.has(path) && !isDeepStrictEqual(present.get(path)?.value, value);
    const others = differs ? [...(owners.get(path) ?? [])].filter((owner) => owner !== manager) : [];
    for (const other of others) conflicts.push({ path, manager: other });
    owners.set(path, differs ? new Set([manager]) : (owners.get(path) ?? new Set()).add(manager));
  }
  if (!force) refuse(conflicts);
  const removed = new Set<string>();
  for (const [path, managers] of owners) {
    if (!wanted.has(path) && managers.delete(manager) && managers.size === 0) {
      owners.delete(path);
      removed.add(path);
    }
  }
  return { template: write(current.template, wanted, removed), owners };
}

/** @throws {BifrostError} `FIELD_CONFLICT`, when there is any */
export function refuse(conflicts: readonly { readonly path: string; readonly manager: string }[]): void {
  const [first] = conflicts;
  if (first === undefined) return;
  throw new BifrostError({
    code: 'FIELD_CONFLICT',
    message: `${first.manager} holds ${first.path} with another value: let it go there, then attach.`,
    details: { manager: first.manager },
    issues: conflicts.map(({ path, manager }) => ({ path, message: `held by ${manager}` })),
  });
}

/** A whole new template, as an update writes it: `manager` holds what it added or changed; what it took away is nobody's. */
export function updateTemplate(current: OwnedTemplate | undefined, manager: string, template: PodTemplateShape): OwnedTemplate {
  const before = current && templateFields(current.template);
  const owners = new Map<string, ReadonlySet<string>>();
  for (const [path, { value }] of templateFields(template)) {
    const kept = before?.has(path) === true && isDeepStrictEqual(before.get(path)?.value, value);
    owners.set(path, (kept && current?.owners.get(path)) || new Set([manager]));
  }
  return { template, owners };
}

function write(template: PodTemplateShape, wanted: Fields, removed: ReadonlySet<string>): PodTemplateShape {
  const map = (place: (typeof MAPS)[number]): Record<string, string> => {
    const present = Object.entries(template.metadata?.[place] ?? {});
    const entries = new Map(present.filter(([name]) => !removed.has(`.spec.template.metadata.${place}.${name}`)));
    for (const field of wanted.values()) if (field.place === place) entries.set(field.member, String(field.value));
    return Object.fromEntries(entries);
  };
  const list = (place: Lists): readonly ContainerShape[] => {
    const items = new Map<string, Map<string, unknown>>();
    for (const item of template.spec[place] ?? []) {
      const members = Object.entries(item).filter(([member]) => !removed.has(`${itemPath(place, item.name)}.${member}`));
      if (members.length > 0) items.set(item.name, new Map(members));
    }
    for (const field of wanted.values()) {
      if (field.place !== place) continue;
      const item = items.get(field.item) ?? new Map<string, unknown>([['name', field.item]]);
      items.set(field.item, item.set(field.member, field.value));
    }
    return [...items].map(([name, members]) => ({ ...Object.fromEntries(members), name }));
  };
  return compact(
    template,
    { labels: map('labels'), annotations: map('annotations') },
    { initContainers: list('initContainers'), volumes: list('volumes') },
  );
}

/** Writes maps and lists into a template; empty ones are left out, as the API server does. */
export function compact(
  template: PodTemplateShape,
  maps: { readonly labels: Readonly<Record<string, string>>; readonly annotations: Readonly<Record<string, string>> },
  lists: { readonly initContainers: readonly ContainerShape[]; readonly volumes: readonly VolumeShape[] },
): PodTemplateShape {
  const { initContainers: _init, volumes: _volumes, ...spec } = template.spec;
  const { labels: _labels, annotations: _annotations, ...metadata } = template.metadata ?? {};
  const filled = (value: object): boolean => Object.keys(value).length > 0;
  return {
    metadata: { ...metadata, ...Object.fromEntries(Object.entries(maps).filter(([, value]) => filled(value))) },
    spec: { ...spec, containers: template.spec.containers, ...Object.fromEntries(Object.entries(lists).filter(([, value]) => filled(value))) },
  };
}
