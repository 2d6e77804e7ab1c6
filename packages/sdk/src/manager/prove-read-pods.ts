import type { ProofInput } from '@bifrost/types/core';
import { carriesNothing } from '../domain/carries.ts';
import type { StoredSidecar } from '../domain/model.ts';
import { LABELS } from '../domain/names.ts';
import { type GuardEvidence, PODS, type RunningEvidence, UNLIKE, type WorkloadEvidence } from '../domain/policy/proof-evidence.ts';
import type { Pod } from '../ports/index.ts';
import { mapBounded } from './bounded.ts';
import type { Call, Context } from './context.ts';
import { addressesOfPod } from './pod-addresses.ts';
import { read } from './prove-read-one.ts';
import { formEvidence, type ReadGuard } from './prove-read-workload.ts';
import { sameJson } from './same-json.ts';
import { turns } from './turns.ts';

const OVER: ReadonlySet<string> = new Set(['Succeeded', 'Failed']);

/** An attachment, with what was read of its workload; undefined: it could not be. */
export interface ReadSidecar {
  readonly sidecar: StoredSidecar;
  readonly workload: WorkloadEvidence | undefined;
}

/** Pods of the attachments, and whose their namespaces are now. */
export async function podsInput(
  context: Context,
  { namespaces, pods }: { readonly namespaces: readonly string[]; readonly pods: () => Promise<readonly Pod[]> },
  call: Call,
): Promise<ProofInput> {
  const { cluster, settings } = context;
  return read({ kind: 'pods', key: PODS, ...call }, async () => {
    const owners = new Map(
      await mapBounded(
        namespaces,
        settings.concurrency,
        async (namespace) => [namespace, await cluster.workloads.customerOf(namespace, call)] as const,
      ),
    );
    return (await pods())
      .filter(({ namespace }) => owners.has(namespace))
      .flatMap(({ namespace, name, labels, ...pod }) => {
        const [addresses, customerId] = [addressesOfPod(pod), owners.get(namespace)];
        if (addresses.length === 0) return [];
        return [{ ...{ namespace, name, labels, addresses }, ...(customerId === undefined ? {} : { customerId }) }];
      });
  });
}

/** Those that run. One that has run to its end sends nothing, and somebody else may have its address by now. One list for all that is read of them. */
export function runningPods({ cluster }: Context, call: Call): () => Promise<readonly Pod[]> {
  let listed: Promise<readonly Pod[]> | undefined;
  return async () => {
    listed ??= cluster.pods.list(call);
    return (await listed).filter(({ phase }) => !OVER.has(phase));
  };
}

/**
 * Whose attachment each pod is of: by its workload, and where that cannot be told, or is none of ours, by the label. Both in its own namespace: what a pod
 * elsewhere says of its owner is nobody's word.
 */
function attachmentsOf(sidecars: readonly ReadSidecar[]): (pod: Pod) => ReadSidecar | undefined {
  const within = (namespace: string, id: string): string => `${namespace} ${id}`;
  const byWorkload = new Map(sidecars.map((one) => [within(one.sidecar.spec.workload.namespace, one.sidecar.spec.workload.uid), one]));
  const byLabel = new Map(sidecars.map((one) => [within(one.sidecar.spec.workload.namespace, one.sidecar.spec.sidecarId), one]));
  return ({ workloadUid, namespace, labels }) =>
    (workloadUid === undefined ? undefined : byWorkload.get(within(namespace, workloadUid))) ??
    byLabel.get(within(namespace, labels[LABELS.sidecarId] ?? ''));
}

type Form = Omit<RunningEvidence, 'sidecar' | 'pod' | 'pods' | 'customerId'>;

/** In kernel mode its rules stand, whatever its labels are; each revision has others. */
const formOf = ({ labels, form }: Pod, readGuard: ReadGuard): Form => {
  const evidence = formEvidence({ labels, form }, readGuard);
  return evidence.guard !== undefined && evidence.guard.rules.length > 0 ? { ...evidence, labels: {} } : evidence;
};

const isSameGuard = (one: GuardEvidence | undefined, other: GuardEvidence | undefined): boolean => one?.sha256 === other?.sha256;

/** Whether the template's judgement is these pods' too. Labels that Kubernetes gives pods beside count: a policy may ask for them. */
const isLike = (form: Form, workload: WorkloadEvidence): boolean =>
  isSameGuard(form.guard, workload.guard) &&
  form.sidecarId === workload.sidecarId &&
  form.hostNetwork === workload.hostNetwork &&
  form.guardAt === workload.guardAt &&
  sameJson(form.containers, workload.containers) &&
  ((form.guard?.rules.length ?? 0) > 0 || sameJson(form.labels, workload.labels));

/** Whose a namespace is; each is asked of once. */
function ownersOf({ cluster }: Context, call: Call): (namespace: string) => Promise<string | undefined> {
  const asked = new Map<string, Promise<string | undefined>>();
  return (namespace) => {
    const asking = asked.get(namespace) ?? cluster.workloads.customerOf(namespace, call);
    asked.set(namespace, asking);
    return asking;
  };
}

/** Pods that are not as their workload's template says, each form once; of all attachments by one list from the cache. */
export async function runningInput(
  context: Context,
  {
    sidecars,
    pods,
    readGuard,
  }: { readonly sidecars: readonly ReadSidecar[]; readonly pods: () => Promise<readonly Pod[]>; readonly readGuard: ReadGuard },
  call: Call,
): Promise<ProofInput> {
  const [attachmentOf, ownerOf] = [attachmentsOf(sidecars), ownersOf(context, call)];
  return read({ kind: 'running', key: UNLIKE, ...call }, async () => {
    const found = new Map<string, RunningEvidence>();
    const sorted = [...(await pods())].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    const turn = turns(call);
    for (const pod of sorted) {
      const others = turn();
      if (others !== undefined) await others;
      const attachment = attachmentOf(pod);
      if (attachment === undefined) continue;
      const { sidecar, workload } = attachment;
      const template = { metadata: { labels: pod.labels }, spec: pod.form };
      const form = formOf(pod, readGuard);
      if ((workload !== undefined && isLike(form, workload)) || carriesNothing(template, sidecar.spec.fragment)) continue;
      const key = JSON.stringify([sidecar.key, form]);
      const known = found.get(key);
      const customerId = known?.customerId ?? workload?.customerId ?? (await ownerOf(pod.namespace));
      const whose = customerId === undefined ? {} : { customerId };
      found.set(key, { ...form, ...whose, sidecar: sidecar.key, pod: known?.pod ?? nameOf(pod), pods: (known?.pods ?? 0) + 1 });
    }
    return [...found.values()];
  });
}

const nameOf = ({ namespace, name }: Pod): string => `${namespace}/${name}`;
