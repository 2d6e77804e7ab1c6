import type { WorkloadKind } from '@bifrost/types/core';
import type { ContainerShape, PodTemplateShape, VolumeShape } from '../../domain/pod-shape.ts';

/** A workload to be made in a {@link MemoryCluster}. */
export interface MemoryWorkload {
  /** @default 'Deployment' */
  readonly kind?: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
  /** On the workload itself. */
  readonly labels?: Readonly<Record<string, string>>;
  /** On the workload itself. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** On its pods, beside `app: NAME`, which it selects them by. */
  readonly podLabels?: Readonly<Record<string, string>>;
  readonly podAnnotations?: Readonly<Record<string, string>>;
  readonly initContainers?: readonly ContainerShape[];
  /** Default: one container `book`. */
  readonly containers?: readonly ContainerShape[];
  readonly volumes?: readonly VolumeShape[];
  readonly serviceAccountName?: string;
  /** Of a Job: how many pods are to succeed. A DaemonSet has one on each node instead. @default 1 */
  readonly replicas?: number;
  /** Of a Job: how many of its pods may fail before it does. @default 0 */
  readonly backoffLimit?: number;
}

/** The pod template that such a workload has: that of a Job or CronJob does not start again what has ended. */
export function templateOf(workload: MemoryWorkload): PodTemplateShape {
  const { kind, name, podLabels = {}, podAnnotations = {}, initContainers = [], volumes = [], serviceAccountName } = workload;
  const runsToEnd = kind === 'Job' || kind === 'CronJob';
  return {
    metadata: { labels: { app: name, ...podLabels }, ...(Object.keys(podAnnotations).length > 0 && { annotations: podAnnotations }) },
    spec: {
      containers: workload.containers ?? [{ name: 'book', image: 'book' }],
      ...(serviceAccountName !== undefined && { serviceAccountName }),
      ...(runsToEnd && { restartPolicy: 'Never' }),
      ...(initContainers.length > 0 && { initContainers }),
      ...(volumes.length > 0 && { volumes }),
    },
  };
}
