import type { WorkloadKind } from '@bifrost/types/core';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import type { Workload } from '../../ports/cluster.ts';
import { lastWriterOf } from './workload-fields.ts';
import type { FoundObject, WorkloadObject } from './workload-find.ts';

const ENDS: ReadonlySet<string> = new Set(['Complete', 'Failed']);

/** The port's view of a workload as the API server has it. */
export function toWorkload(
  { kind, object }: FoundObject,
  { customerId, writtenAt }: { readonly customerId: string | undefined; readonly writtenAt: string },
): Workload {
  const { metadata, spec, status } = object;
  const finished = isFinished(kind, status);
  return {
    reference: { kind, namespace: metadata.namespace ?? '', name: metadata.name, uid: metadata.uid },
    customerId,
    labels: metadata.labels ?? {},
    annotations: ownAnnotations(metadata.annotations),
    template: spec.jobTemplate?.spec.template ?? spec.template,
    replicas: finished ? 0 : wantedPods({ kind, object }),
    finished,
    lastWriter: lastWriterOf(metadata.managedFields ?? [], writtenAt),
    version: metadata.resourceVersion,
  };
}

export const isFinished = (kind: WorkloadKind, status: WorkloadObject['status']): boolean =>
  kind === 'Job' && (status?.conditions ?? []).some((condition) => ENDS.has(condition.type) && condition.status === 'True');

/** A CronJob wants none itself: its Jobs do. */
function wantedPods({ kind, object: { spec, status } }: FoundObject): number {
  if (kind === 'DaemonSet') return status?.desiredNumberScheduled ?? 0;
  if (kind === 'CronJob' || spec.suspend === true) return 0;
  return spec.replicas ?? spec.parallelism ?? 1;
}
