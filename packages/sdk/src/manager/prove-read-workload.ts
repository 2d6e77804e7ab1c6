import { bookContainers } from '../domain/book-containers.ts';
import { carriesNothing } from '../domain/carries.ts';
import type { StoredSidecar } from '../domain/model.ts';
import { CONTAINERS, LABELS } from '../domain/names.ts';
import type { ContainerShape, PodForm } from '../domain/pod-shape.ts';
import type { ContainerEvidence, WorkloadEvidence } from '../domain/policy/proof-evidence.ts';
import type { guardReader } from '../domain/policy/read-guard.ts';
import type { Workload } from '../ports/index.ts';

export type ReadGuard = ReturnType<typeof guardReader>;

function containerEvidence({ name, securityContext }: ContainerShape): ContainerEvidence {
  const { privileged, capabilities } = (securityContext ?? {}) as {
    readonly privileged?: boolean;
    readonly capabilities?: { readonly add?: readonly string[] | null; readonly drop?: readonly string[] | null };
  };
  return { name, privileged: privileged === true, add: capabilities?.add ?? [], drop: capabilities?.drop ?? [] };
}

/** Of a template or a pod. */
export function formEvidence(
  { labels, form }: { readonly labels: Readonly<Record<string, string>>; readonly form: PodForm },
  readGuard: ReadGuard,
): Omit<WorkloadEvidence, 'carries' | 'customerId'> {
  const initContainers = form.initContainers ?? [];
  const guard = readGuard({ initContainers });
  const sidecarId = labels[LABELS.sidecarId];
  return {
    ...(sidecarId === undefined ? {} : { sidecarId }),
    ...{ hostNetwork: form.hostNetwork === true, labels },
    ...(guard === undefined ? {} : { guard }),
    guardAt: initContainers.findIndex(({ name }) => name === CONTAINERS.guard),
    containers: bookContainers({ spec: form }).map(containerEvidence),
  };
}

export function workloadEvidence(workload: Workload | undefined, { spec: { fragment } }: StoredSidecar, readGuard: ReadGuard): WorkloadEvidence {
  if (workload === undefined) return { carries: false, hostNetwork: false, labels: {}, guardAt: -1, containers: [] };
  const { template, customerId } = workload;
  return {
    carries: !carriesNothing(template, fragment),
    ...(customerId === undefined ? {} : { customerId }),
    ...formEvidence({ labels: template.metadata?.labels ?? {}, form: template.spec }, readGuard),
  };
}
