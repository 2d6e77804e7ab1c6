import type { ContainerShape, EnvironmentVariable, PodTemplateShape, SidecarFragment } from './pod-shape.ts';

const MAPS = ['labels', 'annotations'] as const;

/** True when the template has the whole fragment: our init containers first, everything as we wrote it, whatever defaults came to it. */
export function carries(template: PodTemplateShape, fragment: SidecarFragment): boolean {
  const init = template.spec.initContainers ?? [];
  const volumes = template.spec.volumes ?? [];
  const { containers } = template.spec;
  return (
    fragment.initContainers.every((wanted, index) => covers(init[index], wanted)) &&
    fragment.volumes.every((wanted) =>
      covers(
        volumes.find(({ name }) => name === wanted.name),
        wanted,
      ),
    ) &&
    (fragment.containers ?? []).every((wanted) =>
      carriesVariables(
        containers.find(({ name }) => name === wanted.name),
        wanted.env,
      ),
    ) &&
    MAPS.every((map) => Object.entries(fragment[map]).every(([key, value]) => template.metadata?.[map]?.[key] === value))
  );
}

/** True when `actual` has all of `wanted`; members that the API server added count for nothing. */
function covers(actual: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return Array.isArray(actual) && actual.length === wanted.length && wanted.every((item, index) => covers(actual[index], item));
  }
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted;
  if (typeof actual !== 'object' || actual === null) return false;
  return Object.entries(wanted).every(([key, value]) => value === undefined || covers((actual as Record<string, unknown>)[key], value));
}

const carriesVariables = (container: ContainerShape | undefined, wanted: readonly EnvironmentVariable[]): boolean =>
  wanted.every((variable) =>
    covers(
      container?.env?.find(({ name }) => name === variable.name),
      variable,
    ),
  );
