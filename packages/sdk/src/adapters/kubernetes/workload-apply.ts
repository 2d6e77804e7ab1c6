import type { WorkloadReference } from '@bifrost/types/core';
import type { PodTemplateShape, SidecarFragment } from '../../domain/pod-shape.ts';
import { containersOf } from './workload-places.ts';

interface Applied {
  readonly fragment: SidecarFragment;
  /** As it is now: tells which of the book's containers are there to be given variables. */
  readonly template: PodTemplateShape | undefined;
  /** Only while this is the workload's version. */
  readonly version?: string;
}

/** The uid makes the server refuse to create what is gone, and to touch a successor of the same name. */
export const identityBody = ({ kind, namespace, name, uid }: WorkloadReference) => ({
  apiVersion: 'apps/v1',
  kind,
  metadata: { name, namespace, uid },
});

/** What we state of a workload in a server-side apply: our items and nothing else. */
export function appliedBody(workload: WorkloadReference, { fragment, template, version }: Applied): unknown {
  const { labels, annotations, initContainers, volumes } = fragment;
  const identity = identityBody(workload);
  const metadata = version === undefined ? identity.metadata : { ...identity.metadata, resourceVersion: version };
  const additions = new Map((fragment.containers ?? []).map(({ name, env }) => [name, { name, env }]));
  const places = template === undefined ? [] : containersOf(template);
  const added = (wanted: 'initContainers' | 'containers'): readonly unknown[] =>
    places.flatMap(({ list, container }) => (list === wanted ? (additions.get(container.name) ?? []) : []));
  const spec = filled({ initContainers: [...initContainers, ...added('initContainers')], containers: added('containers'), volumes });
  return { ...identity, metadata, spec: { template: { metadata: filled({ labels, annotations }), spec } } };
}

/** Without empty lists and maps: applying those would own them. */
function filled(members: Readonly<Record<string, object>>): Record<string, object> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => Object.keys(value).length > 0));
}
