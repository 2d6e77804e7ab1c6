import { BifrostError } from '@bifrost/types/core';
import { checkTemplate, withFragment, withoutSidecar } from './attach-plan.ts';
import type { PodTemplateShape, SidecarFragment } from './pod-shape.ts';

/** Where each kind keeps its pod template. A Pod is its own. */
const PLACES: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
};

/** A manifest of a workload, as far as Bifrost reads it. */
export interface WorkloadManifest {
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly spec: { readonly template?: PodTemplateShape; readonly jobTemplate?: { readonly spec: { readonly template: PodTemplateShape } } };
}

/** What every manifest says of itself; what lies below is looked for, whatever its type says. */
interface Manifest {
  readonly kind?: string;
}

/**
 * A copy of the manifest with the sidecar in its pod template: our init containers first, volumes, labels, annotations, and in userspace mode the proxy
 * variables. Again with the same fragment changes nothing; with a later one of the same sidecar puts that in the other's place. Pure: it asks no
 * cluster, and only a manager that knows the sidecar gives it a key. Takes Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job and CronJob.
 *
 * @throws {BifrostError} `WORKLOAD_UNSUPPORTED` — another kind, no pod template, or a pod that cannot have a sidecar; `SIDECAR_EXISTS`,
 * `FIELD_CONFLICT` — the template holds what is not ours. `issues` have paths from the manifest's root.
 * @example
 * const withSidecar = injectSidecar({ apiVersion: 'batch/v1', kind: 'Job', metadata, spec }, fragment);
 */
export function injectSidecar<M extends Manifest>(manifest: M, fragment: SidecarFragment): M {
  const place = placeOf(manifest);
  const template = templateIn(manifest, place);
  checkTemplate(template, fragment, place.map((member) => `${member}.`).join(''));
  return replaced(manifest, place, withFragment(template, fragment));
}

/**
 * A copy of the manifest without the sidecar that {@link injectSidecar} put in, whichever fragment it was; one without a sidecar comes back as it was.
 *
 * @throws {BifrostError} `WORKLOAD_UNSUPPORTED` — another kind, or no pod template
 */
export function stripSidecar<M extends Manifest>(manifest: M): M {
  const place = placeOf(manifest);
  return replaced(manifest, place, withoutSidecar(templateIn(manifest, place)));
}

function placeOf({ kind }: Manifest): readonly string[] {
  const place = kind !== undefined && Object.hasOwn(PLACES, kind) ? PLACES[kind] : undefined;
  if (place !== undefined) return place;
  throw new BifrostError({
    code: 'WORKLOAD_UNSUPPORTED',
    message: `A sidecar goes into a ${Object.keys(PLACES).join(', ')}: give the manifest of one of these.`,
    issues: [{ path: 'kind', message: 'is not one that has a pod template' }],
  });
}

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;

function templateIn(manifest: Manifest, place: readonly string[]): PodTemplateShape {
  const template = place.reduce<unknown>(memberOf, manifest);
  if (Array.isArray(memberOf(memberOf(template, 'spec'), 'containers'))) return template as PodTemplateShape;
  const path = [...place, 'spec', 'containers'].join('.');
  throw new BifrostError({
    code: 'WORKLOAD_UNSUPPORTED',
    message: 'The manifest has no containers: give it its pod template first.',
    issues: [{ path, message: 'must be a list' }],
  });
}

/** A copy of `value` with `template` at `place`. The template has all members of the one whose place it takes. */
function replaced<T>(value: T, [first, ...rest]: readonly string[], template: PodTemplateShape): T {
  if (first === undefined) return template as T;
  return { ...value, [first]: replaced(memberOf(value, first), rest, template) };
}
