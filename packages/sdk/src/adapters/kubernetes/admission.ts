import { BifrostError } from '@bifrost/types/core';
import { withFragment } from '../../domain/attach-plan.ts';
import { FIELD_MANAGER } from '../../domain/names.ts';
import type { PodTemplateShape, SidecarFragment } from '../../domain/pod-shape.ts';
import type { Workload } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { type Answer, segment } from './answers.ts';
import { type ApiObject, METADATA_ONLY } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError } from './errors.ts';
import { readNamespace } from './namespaces.ts';

const ENFORCE_LABEL = 'pod-security.kubernetes.io/enforce';

interface Candidate {
  readonly workload: Workload;
  readonly fragment: SidecarFragment;
}

/**
 * Admission judges pods, not workloads: so a pod of the template with the fragment is created in a dry run. When that is forbidden, the same
 * pod without the fragment tells whether the sidecar is the reason.
 *
 * @throws {BifrostError} `POD_SECURITY_FORBIDDEN`, `CLUSTER_DENIED`, `CLUSTER_REJECTED`, `CLUSTER_UNAVAILABLE`
 */
export async function admitPod(connection: KubernetesConnection, { workload, fragment }: Candidate, options: CallOptions): Promise<void> {
  const { namespace } = workload.reference;
  const judge = (template: PodTemplateShape): Promise<Answer<ApiObject>> =>
    connection.send<ApiObject>({
      operation: 'pods.admit',
      kind: 'Pod',
      isStored: false,
      method: 'POST',
      path: `/api/v1/namespaces/${segment(namespace)}/pods`,
      query: { dryRun: 'All', fieldManager: FIELD_MANAGER },
      body: podOf(template),
      accept: METADATA_ONLY.object,
      signal: options.signal,
    });
  const subject = `a pod of ${workload.reference.kind} ${namespace}/${workload.reference.name}`;
  const merged = await judge(withFragment(workload.template, fragment));
  if (merged.ok) return;
  const denied = clusterError(merged.problem, `${subject} with its sidecar`);
  if (denied.code !== 'CLUSTER_DENIED') throw denied;
  const bare = await judge(workload.template);
  if (!bare.ok) throw clusterError(bare.problem, `${subject}, even without a sidecar`);
  const level = await enforcedLevel(connection, namespace, options);
  // The level "privileged" forbids nothing; a full quota is told like any rule.
  const isByLevel = level !== undefined && level !== 'privileged';
  const ruler = isByLevel ? `enforces pod security level ${JSON.stringify(level)}, which` : 'has a policy, a webhook or a ResourceQuota that';
  throw new BifrostError({
    code: 'POD_SECURITY_FORBIDDEN',
    message: `namespace ${namespace} ${ruler} forbids the sidecar; use a namespace labelled ${ENFORCE_LABEL}=privileged, or networkMode userspace, which needs no privilege (${merged.problem.message})`,
    issues: [{ path: 'bookDeploymentId', message: 'lies in a namespace that forbids the sidecar' }],
    details: level === undefined ? { namespace } : { namespace, enforce: level },
    cause: denied,
  });
}

function podOf({ metadata, spec }: PodTemplateShape): unknown {
  const volumes = spec.volumes ?? [];
  // A StatefulSet's claims become volumes of its pods; here empty folders stand for them.
  const claims = mountNames(spec).filter((name) => !volumes.some((volume) => volume.name === name));
  const standIns = [...new Set(claims)].map((name) => ({ name, emptyDir: {} }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'bifrost-admission-', labels: metadata?.labels, annotations: metadata?.annotations },
    spec: { ...spec, volumes: [...volumes, ...standIns] },
  };
}

function mountNames({ initContainers = [], containers }: PodTemplateShape['spec']): string[] {
  return [...initContainers, ...containers].flatMap(({ volumeMounts }) => {
    const mounts: readonly unknown[] = Array.isArray(volumeMounts) ? volumeMounts : [];
    return mounts.flatMap((mount) => (typeof mount === 'object' && mount !== null && 'name' in mount ? [String(mount.name)] : []));
  });
}

async function enforcedLevel(connection: KubernetesConnection, namespace: string, { signal }: CallOptions): Promise<string | undefined> {
  const answer = await readNamespace(connection, namespace, signal);
  return answer.ok ? answer.body.metadata.labels?.[ENFORCE_LABEL] : undefined;
}
