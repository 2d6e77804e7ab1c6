import { bookContainers } from './book-containers.ts';
import type { ContainerShape, EnvironmentVariable, PodTemplateShape, SidecarFragment } from './pod-shape.ts';

const MAPS = ['labels', 'annotations'] as const;
/** Members that the API server itself gives a container that has none. */
const DEFAULTED: ReadonlySet<string> = new Set(['imagePullPolicy', 'resources', 'terminationMessagePath', 'terminationMessagePolicy']);

/** True when the template has the whole fragment: our init containers first, everything as we wrote it, whatever defaults came to it. */
export function carries(template: PodTemplateShape, fragment: SidecarFragment): boolean {
  const init = template.spec.initContainers ?? [];
  const volumes = template.spec.volumes ?? [];
  return (
    fragment.initContainers.every((wanted, index) => isContainer(init[index], wanted)) &&
    fragment.volumes.every((wanted) =>
      covers(
        volumes.find(({ name }) => name === wanted.name),
        wanted,
      ),
    ) &&
    carriesVariables(template, fragment) &&
    MAPS.every((map) => Object.entries(fragment[map]).every(([key, value]) => template.metadata?.[map]?.[key] === value))
  );
}

/** As wanted, and nothing that somebody else gave it, e.g. a command. */
const isContainer = (actual: ContainerShape | undefined, wanted: ContainerShape): boolean =>
  actual !== undefined && covers(actual, wanted) && Object.keys(actual).every((member) => member in wanted || DEFAULTED.has(member));

/** True when `actual` has all of `wanted`; members that the API server added count for nothing. It leaves an empty text out of its JSON. */
function covers(actual: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return Array.isArray(actual) && actual.length === wanted.length && wanted.every((item, index) => covers(actual[index], item));
  }
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted || (wanted === '' && actual === undefined);
  if (typeof actual !== 'object' || actual === null) return false;
  return Object.entries(wanted).every(([key, value]) => value === undefined || covers((actual as Record<string, unknown>)[key], value));
}

/** A container that is gone needs no variables. */
function carriesVariables(template: PodTemplateShape, { containers = [] }: SidecarFragment): boolean {
  const theirs = bookContainers(template);
  return containers.every(({ name, env }) => {
    const container = theirs.find((candidate) => candidate.name === name);
    return container === undefined || env.every((variable) => hasVariable(container, variable));
  });
}

const hasVariable = ({ env = [] }: ContainerShape, wanted: EnvironmentVariable): boolean =>
  covers(
    env.find(({ name }) => name === wanted.name),
    wanted,
  );
