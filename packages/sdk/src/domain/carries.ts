import { bookContainers } from './book-containers.ts';
import { CONTAINERS, LABELS } from './names.ts';
import type { ContainerShape, EnvironmentVariable, PodTemplateShape, SidecarFragment } from './pod-shape.ts';

const MAPS = ['labels', 'annotations'] as const;
/** Members that change what runs and that no API server adds by itself: not ours where we did not write them. Other members may be defaults of any version. */
const NEVER_DEFAULTED: ReadonlySet<string> = new Set([
  ...['command', 'args', 'env', 'envFrom', 'lifecycle', 'ports', 'volumeMounts', 'volumeDevices', 'workingDir'],
  ...['privileged', 'add'], // of a securityContext
]);

/** True when the template has the whole fragment: our init containers first, everything as we wrote it, whatever defaults came to it. */
export function carries(template: PodTemplateShape, fragment: SidecarFragment): boolean {
  const init = template.spec.initContainers ?? [];
  const volumes = template.spec.volumes ?? [];
  return (
    fragment.initContainers.every((wanted, index) => covers(init[index], wanted)) &&
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

/** True when nothing that starts or marks the fragment is in the template. */
export function carriesNothing(template: PodTemplateShape, fragment: SidecarFragment): boolean {
  const init = template.spec.initContainers ?? [];
  const isMarked = template.metadata?.labels?.[LABELS.sidecarId] === fragment.labels[LABELS.sidecarId];
  return !isMarked && !init.some(({ name }) => fragment.initContainers.some((ours) => ours.name === name));
}

/** True when the template says twice, by its label and by its agent, that it carries another attachment than this fragment's: nothing in it is the fragment's. */
export function carriesAnother(template: PodTemplateShape, fragment: SidecarFragment): boolean {
  const label = template.metadata?.labels?.[LABELS.sidecarId];
  const agent = template.spec.initContainers?.find(({ name }) => name === CONTAINERS.agent);
  const toldToAgent = agent?.env?.find(({ name }) => name === 'BIFROST_SIDECAR_ID')?.value;
  const own = fragment.labels[LABELS.sidecarId];
  return label !== undefined && label !== own && toldToAgent !== undefined && toldToAgent !== own;
}

/** True when `actual` has all of `wanted`; members that the API server added count for nothing. It leaves an empty text out of its JSON. */
export function covers(actual: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return Array.isArray(actual) && actual.length === wanted.length && wanted.every((item, index) => covers(actual[index], item));
  }
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted || (wanted === '' && actual === undefined);
  if (typeof actual !== 'object' || actual === null) return false;
  return (
    Object.entries(wanted).every(([key, value]) => value === undefined || covers((actual as Record<string, unknown>)[key], value)) &&
    Object.keys(actual).every((key) => key in wanted || !NEVER_DEFAULTED.has(key))
  );
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
