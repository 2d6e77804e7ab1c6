import { isDeepStrictEqual } from 'node:util';
import type { ContainerShape, SidecarFragment, VolumeShape } from '../../domain/pod-shape.ts';
import { compact, itemPath, type OwnedTemplate, refuse, updateTemplate } from './template-fields.ts';

type Item = ContainerShape | VolumeShape;

/** Puts the fragment before the book's own init containers, as a JSON Patch does. Already in: the same value. @throws {BifrostError} `FIELD_CONFLICT` */
export function prependFragment(current: OwnedTemplate, manager: string, fragment: SidecarFragment): OwnedTemplate {
  const { template } = current;
  const holder = (path: string): string => {
    for (const [field, managers] of current.owners) if (field.startsWith(path)) for (const owner of managers) if (owner !== manager) return owner;
    return 'unknown';
  };
  const conflicts: { path: string; manager: string }[] = [];
  const missing = <T extends Item>(list: 'initContainers' | 'volumes', present: readonly T[], wanted: readonly T[]): readonly T[] =>
    wanted.filter((item) => {
      const found = present.find(({ name }) => name === item.name);
      const path = itemPath(list, item.name);
      if (found !== undefined && !isDeepStrictEqual(found, item)) conflicts.push({ path, manager: holder(path) });
      return found === undefined;
    });
  const initContainers = missing('initContainers', template.spec.initContainers ?? [], fragment.initContainers);
  const volumes = missing('volumes', template.spec.volumes ?? [], fragment.volumes);
  for (const place of ['labels', 'annotations'] as const) {
    for (const [name, value] of Object.entries(fragment[place])) {
      const path = `.spec.template.metadata.${place}.${name}`;
      const present = template.metadata?.[place]?.[name];
      if (present !== undefined && present !== value) conflicts.push({ path, manager: holder(path) });
    }
  }
  refuse(conflicts);
  const maps = {
    labels: { ...template.metadata?.labels, ...fragment.labels },
    annotations: { ...template.metadata?.annotations, ...fragment.annotations },
  };
  const lists = {
    initContainers: [...initContainers, ...(template.spec.initContainers ?? [])],
    volumes: [...(template.spec.volumes ?? []), ...volumes],
  };
  return updateTemplate(current, manager, compact(template, maps, lists));
}

/** Takes out what `manager` put in for the fragment; an item or label of the same name that somebody else wrote stays. */
export function withdrawFragment(current: OwnedTemplate, manager: string, fragment: SidecarFragment): OwnedTemplate {
  const { template, owners } = current;
  const isOurs = (path: string): boolean => owners.get(path)?.has(manager) === true;
  const without = <T extends Item>(list: 'initContainers' | 'volumes', items: readonly T[], ours: readonly T[]): readonly T[] =>
    items.filter(({ name }) => !(ours.some((item) => item.name === name) && isOurs(`${itemPath(list, name)}.name`)));
  const map = (place: 'labels' | 'annotations'): Record<string, string> =>
    Object.fromEntries(
      Object.entries(template.metadata?.[place] ?? {}).filter(
        ([name]) => !(name in fragment[place] && isOurs(`.spec.template.metadata.${place}.${name}`)),
      ),
    );
  const lists = {
    initContainers: without('initContainers', template.spec.initContainers ?? [], fragment.initContainers),
    volumes: without('volumes', template.spec.volumes ?? [], fragment.volumes),
  };
  return updateTemplate(current, manager, compact(template, { labels: map('labels'), annotations: map('annotations') }, lists));
}
