import { isDeepStrictEqual } from 'node:util';
import { bookContainers } from '../../domain/book-containers.ts';
import { carries } from '../../domain/carries.ts';
import { ANNOTATION_PREFIX, FIELD_MANAGER } from '../../domain/names.ts';
import type { ContainerShape, EnvironmentVariable, PodTemplateShape, SidecarFragment } from '../../domain/pod-shape.ts';
import {
  type AppliedTemplate,
  applyConflicts,
  applyFields,
  type FieldHolder,
  type OwnedTemplate,
  refuse,
  released,
  updateTemplate,
} from './template-fields.ts';
import { edited, leavesOf, normal } from './template-tree.ts';

const LISTS = ['initContainers', 'volumes'] as const;
const CONTAINER_LISTS = ['initContainers', 'containers'] as const;
const MAPS = ['labels', 'annotations'] as const;

const itemPath = (list: string, name: string): string => `spec.template.spec.${list}[name="${name}"]`;
const keyPath = (map: string, key: string): string => `spec.template.metadata.${map}.${key}`;
const isOurKey = (key: string): boolean => key.startsWith(ANNOTATION_PREFIX);
const isInside = (path: string, place: string): boolean => path === place || path.startsWith(`${place}.`);

/** What of a fragment is an item: its init containers and volumes, and the variables of containers that the book has. */
function placesOf(
  template: PodTemplateShape,
  fragment: SidecarFragment,
): readonly { readonly path: string; readonly wanted: { readonly name: string } }[] {
  const items = LISTS.flatMap((list) => fragment[list].map((wanted) => ({ path: itemPath(list, wanted.name), wanted })));
  const variables = CONTAINER_LISTS.flatMap((list) =>
    booksOf(template, list).flatMap(({ name }) =>
      variablesFor(fragment, name).map((wanted) => ({ path: `${itemPath(list, name)}.env[name="${wanted.name}"]`, wanted })),
    ),
  );
  return [...items, ...variables];
}

function booksOf(template: PodTemplateShape, list: (typeof CONTAINER_LISTS)[number]): readonly ContainerShape[] {
  const theirs = new Set(bookContainers(template));
  return (template.spec[list] ?? []).filter((container) => theirs.has(container));
}

const variablesFor = ({ containers = [] }: SidecarFragment, containerName: string): readonly EnvironmentVariable[] =>
  containers.find(({ name }) => name === containerName)?.env ?? [];

/** Whoever made an item holds its name. */
const isMade = ({ owners }: OwnedTemplate, path: string, manager = FIELD_MANAGER): boolean => owners.get(`${path}.name`)?.has(manager) === true;

/** False where somebody else has stated the item so that it can stand by itself: a container with its image, anything else with any member besides its name. */
function isMadeByUsAlone({ owners }: OwnedTemplate, place: string): boolean {
  const others = [...(owners.get(`${place}.name`) ?? [])].filter((owner) => owner !== FIELD_MANAGER);
  const isContainer = /\.(?:initC|c)ontainers\[[^\]]*\]$/.test(place);
  const stands = (path: string): boolean => (isContainer ? path === `${place}.image` : path.startsWith(`${place}.`) && path !== `${place}.name`);
  return !others.some((other) => [...owners].some(([path, holders]) => stands(path) && holders.has(other)));
}

/** What others hold inside items that we made, and that is not as the fragment has it. */
function intrusionsOf(current: OwnedTemplate, fragment: SidecarFragment): readonly (FieldHolder & { readonly isAddition: boolean })[] {
  const present = leavesOf(current.template);
  const stated = leavesOf(statedTemplate(current.template, fragment));
  const places = placesOf(current.template, fragment).filter(({ path }) => isMade(current, path));
  return [...present].flatMap(([path, { value }]) => {
    if (!places.some((place) => isInside(path, place.path)) || isDeepStrictEqual(stated.get(path)?.value, value)) return [];
    const others = [...(current.owners.get(path) ?? [])].filter((owner) => owner !== FIELD_MANAGER);
    return others.map((manager) => ({ path, manager, isAddition: !stated.has(path) }));
  });
}

/** All that a server-side apply of ours speaks of. */
function statement(template: PodTemplateShape, fragment: SidecarFragment): AppliedTemplate {
  const added = (list: (typeof CONTAINER_LISTS)[number]): readonly ContainerShape[] =>
    booksOf(template, list).flatMap(({ name }) => (variablesFor(fragment, name).length > 0 ? [{ name, env: variablesFor(fragment, name) }] : []));
  const { labels, annotations, initContainers, volumes } = fragment;
  const members = { labels, annotations, initContainers: [...initContainers, ...added('initContainers')], containers: added('containers'), volumes };
  return Object.fromEntries(Object.entries(members).filter(([, value]) => Object.keys(value).length > 0));
}

function statedTemplate(template: PodTemplateShape, fragment: SidecarFragment): object {
  const { labels, annotations, ...spec } = statement(template, fragment);
  return { metadata: { labels, annotations }, spec };
}

interface AttachOptions {
  readonly repair?: boolean;
}

/** Puts the fragment in by server-side apply. @throws {BifrostError} `FIELD_CONFLICT` */
export function applyFragment(current: OwnedTemplate, fragment: SidecarFragment, { repair = false }: AttachOptions): OwnedTemplate {
  const tidy = repair ? tidied(current, fragment) : current;
  const stated = statement(tidy.template, fragment);
  const conflicts = applyConflicts(tidy, stated, FIELD_MANAGER);
  if (!repair || !conflicts.every(({ path }) => isOurs(tidy, fragment, path))) refuse(conflicts);
  return applyFields(tidy, stated, FIELD_MANAGER);
}

/** Without what others added inside items of ours: an apply never takes away what it does not speak of. */
function tidied(current: OwnedTemplate, fragment: SidecarFragment): OwnedTemplate {
  const present = leavesOf(current.template);
  const added = intrusionsOf(current, fragment).filter(({ isAddition }) => isAddition);
  const template = edited(current.template, { set: [], removed: added.flatMap(({ path }) => present.get(path) ?? []) });
  return updateTemplate(current, FIELD_MANAGER, template);
}

/** In an item that we made, or a label or annotation of the fragment in our own name space. */
function isOurs(current: OwnedTemplate, fragment: SidecarFragment, path: string): boolean {
  const isKey = MAPS.some((map) => Object.keys(fragment[map]).some((key) => isOurKey(key) && path === keyPath(map, key)));
  return isKey || placesOf(current.template, fragment).some((place) => isMade(current, place.path) && isInside(path, place.path));
}

/** Puts the fragment before the book's own init containers, as a JSON Patch does, in the place of any earlier one. Already in: the same value. @throws {BifrostError} `FIELD_CONFLICT` */
export function prependFragment(current: OwnedTemplate, fragment: SidecarFragment, { repair = false }: AttachOptions): OwnedTemplate {
  const { template } = current;
  if (carries(template, fragment)) return current;
  refuse([...foreignThings(current, fragment, repair), ...(repair ? [] : intrusionsOf(current, fragment))]);
  const bare = withoutOurs(current, { concerns: () => true, isKeyOurs: () => false, isSharedOurs: true });
  const { metadata, spec } = bare;
  const volumes = [...(spec.volumes ?? []), ...fragment.volumes];
  const added = (container: ContainerShape): ContainerShape => {
    const wanted = variablesFor(fragment, container.name);
    return wanted.length === 0 ? container : { ...container, env: [...(container.env ?? []), ...wanted] };
  };
  const next: PodTemplateShape = {
    ...bare,
    metadata: {
      ...metadata,
      labels: { ...metadata?.labels, ...fragment.labels },
      annotations: { ...metadata?.annotations, ...fragment.annotations },
    },
    spec: {
      ...spec,
      initContainers: [...fragment.initContainers, ...(spec.initContainers ?? []).map(added)],
      containers: spec.containers.map(added),
      ...(volumes.length > 0 && { volumes }),
    },
  };
  return updateTemplate(current, FIELD_MANAGER, normal(next));
}

/** Things of our names that are there and not ours. */
function foreignThings(current: OwnedTemplate, fragment: SidecarFragment, repair: boolean): readonly FieldHolder[] {
  const present = leavesOf(current.template);
  const holder = (path: string): string => [...(current.owners.get(path) ?? [])].find((owner) => owner !== FIELD_MANAGER) ?? 'unknown';
  const items = placesOf(current.template, fragment)
    .filter(({ path }) => present.has(`${path}.name`) && !isMade(current, path))
    .map(({ path }) => ({ path, manager: holder(`${path}.name`) }));
  const keys = MAPS.flatMap((map) =>
    Object.entries(fragment[map])
      .map(([key, value]) => ({ key, value, path: keyPath(map, key) }))
      .filter(({ path, value }) => present.has(path) && present.get(path)?.value !== value && current.owners.get(path)?.has(FIELD_MANAGER) !== true)
      .filter(({ key }) => !(repair && isOurKey(key)))
      .map(({ path }) => ({ path, manager: holder(path) })),
  );
  return [...items, ...keys];
}

/**
 * Takes out what we put in for the fragment, with what others changed in it. An item of the same name that somebody else has stated, alone or as well,
 * stays with what they hold of it.
 */
export function withdrawFragment(current: OwnedTemplate, fragment: SidecarFragment): OwnedTemplate {
  const places = placesOf(current.template, fragment).map(({ path }) => path);
  const keys = MAPS.flatMap((map) => Object.keys(fragment[map]).map((key) => keyPath(map, key)));
  const concerns = (path: string): boolean => keys.includes(path) || places.some((place) => isInside(path, place));
  // Of our own name space only while anything of ours is there: a template that was never ours keeps even such keys.
  const holdsAny = [...current.owners.values()].some((managers) => managers.has(FIELD_MANAGER));
  const isKeyOurs = (key: string): boolean => holdsAny && isOurKey(key);
  return released(updateTemplate(current, FIELD_MANAGER, withoutOurs(current, { concerns, isKeyOurs, isSharedOurs: false })), FIELD_MANAGER);
}

interface Taken {
  readonly concerns: (path: string) => boolean;
  /** Whether a label or annotation that we do not hold is ours all the same. */
  readonly isKeyOurs: (key: string) => boolean;
  /** Whether an item that somebody else has stated as well goes whole too. */
  readonly isSharedOurs: boolean;
}

/** The template without items that we made, and labels and annotations that we hold. */
function withoutOurs(current: OwnedTemplate, { concerns, isKeyOurs, isSharedOurs }: Taken): PodTemplateShape {
  const present = leavesOf(current.template);
  const books = CONTAINER_LISTS.flatMap((list) => booksOf(current.template, list).map(({ name }) => itemPath(list, name)));
  const made = [...present.keys()]
    .filter((path) => path.endsWith('.name'))
    .map((path) => path.slice(0, -'.name'.length))
    // An apply that gives a container of the book a variable holds that container's name too.
    .filter((place) => isMade(current, place) && !books.includes(place));
  const isOurs = (path: string): boolean => {
    const key = /^spec\.template\.metadata\.(?:labels|annotations)\.(.+)$/.exec(path)?.[1];
    const holders = current.owners.get(path) ?? new Set();
    if (key !== undefined) return holders.has(FIELD_MANAGER) || isKeyOurs(key);
    const place = made.find((candidate) => isInside(path, candidate));
    if (place === undefined) return false;
    return isSharedOurs || isMadeByUsAlone(current, place) || (holders.has(FIELD_MANAGER) && holders.size === 1);
  };
  const removed = [...present].flatMap(([path, leaf]) => (concerns(path) && isOurs(path) ? [leaf] : []));
  return edited(current.template, { set: [], removed });
}
