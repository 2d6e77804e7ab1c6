import { BifrostError, type Secret, type WorkloadKind, type WorkloadReference } from '@bifrost/types/core';
import { expect, type TestContext, vi } from 'vitest';
import type { NetworkPolicyShape } from '../../domain/network-policy-shape.ts';
import type { ContainerShape, PodTemplateShape, SidecarFragment, VolumeShape } from '../../domain/pod-shape.ts';
import type { ServiceName, ServiceShape } from '../../domain/policy/network-policy-endpoints.ts';
import type { Cluster, NetworkPolicyReference, Pod, SecretReference, Workload, WorkloadChange } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { exampleFragment } from './store-examples.ts';

/** A namespace that a case needs. */
export interface NamespaceRequest {
  readonly name: string;
  /** Sets the label `bifrost.dev/customer-id`. */
  readonly customerId?: string;
  /** Sets the label `pod-security.kubernetes.io/enforce`. */
  readonly enforce?: 'privileged' | 'baseline' | 'restricted';
}

/** A workload that a case needs. */
export interface WorkloadRequest {
  readonly kind: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
  /** On the workload itself. */
  readonly labels?: Readonly<Record<string, string>>;
  /** On the workload itself. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** On its pods, beside the label that it selects them by. */
  readonly podLabels?: Readonly<Record<string, string>>;
  readonly podAnnotations?: Readonly<Record<string, string>>;
  readonly initContainers?: readonly ContainerShape[];
  readonly volumes?: readonly VolumeShape[];
  /** Always 0 here, and no pod either where a workload has no such number, until `runPods`: no case needs its images to exist. */
  readonly replicas?: 0;
}

/** What another field manager applies, by force, to the pod template: these members and no others. */
export interface OutsideChange {
  readonly manager: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly initContainers?: readonly ContainerShape[];
  readonly volumes?: readonly VolumeShape[];
}

/** The outside hand: everything that Bifrost's own port cannot do, done by other means than the adapter under test. */
export interface ClusterAdmin {
  /** Resolves when pods could be created there (on a real cluster: once the namespace's default ServiceAccount is there). */
  createNamespace(namespace: NamespaceRequest): Promise<void>;
  /** With one container `book` and a selector of the admin's choice. Not by the field manager `bifrost`. */
  createWorkload(workload: WorkloadRequest): Promise<WorkloadReference>;
  /** The pod template as it is now, as JSON. */
  readWorkload(workload: WorkloadReference): Promise<PodTemplateShape>;
  /** Another field manager's server-side apply. */
  changeWorkload(workload: WorkloadReference, change: OutsideChange): Promise<void>;
  /** What `kubectl edit` does: an update, no apply, by that field manager; the template that `edit` answers replaces the present one. */
  updateWorkload(workload: WorkloadReference, manager: string, edit: (template: PodTemplateShape) => PodTemplateShape): Promise<void>;
  /** Sets these annotations of the workload itself. */
  annotateWorkload(workload: WorkloadReference, annotations: Readonly<Record<string, string>>): Promise<void>;
  /** The NetworkPolicies of a namespace that had none. */
  setNetworkPolicies(namespace: string, policies: readonly NetworkPolicyShape[]): Promise<void>;
  /** Another field manager's update of one that is there, ours too: this is its specification then. Undefined: it is deleted. */
  changeNetworkPolicy(policy: NetworkPolicyReference, shape: NetworkPolicyShape | undefined): Promise<void>;
  /** A Service of type ClusterIP, which gets an address of the cluster's. */
  createService(service: ServiceName & Pick<ServiceShape, 'selector' | 'ports'>): Promise<void>;
  /** Brings a Job to its end, either way. */
  finishJob(job: WorkloadReference): Promise<void>;
  /** Resolves when it is gone. */
  deleteWorkload(workload: WorkloadReference): Promise<void>;
  /** A Secret that is not ours: without the label managed-by. */
  createSecret(secret: SecretReference & { readonly data: Readonly<Record<string, string>> }): Promise<void>;
  /** Removes what `createNamespace` made, and all in it. Leave it out where the cluster is thrown away. */
  deleteNamespace?(name: string): Promise<void>;
  /** Gives the workload (a CronJob by a Job of it) one pod, resolves with its uid when the pod has a node or runs. Leave it out where no pods can be. */
  runPods?(workload: WorkloadReference): Promise<readonly string[]>;
  /** A projected token of that pod, as its kubelet would ask for. Leave it out where none can be had. */
  issuePodToken?(podUid: string, audience: string): Promise<Secret>;
}

/** What `open` gives: a cluster that is not started yet (the suite starts and disposes it), and the outside hand. */
export interface ClusterUnderTest {
  readonly cluster: Cluster;
  readonly admin: ClusterAdmin;
}
/** Gives a cluster for one case; what earlier cases made may still be in it. */
export type OpenCluster = () => Promise<ClusterUnderTest>;

export interface ClusterBench extends ClusterUnderTest {
  /** A new namespace of the customer `acme-corp`, or as asked. */
  namespace(request?: Omit<NamespaceRequest, 'name'>): Promise<string>;
  /** A new Deployment in a new namespace, or as asked. */
  workload(request?: Partial<WorkloadRequest>): Promise<WorkloadReference>;
}

export const call = (): CallOptions => ({ signal: AbortSignal.timeout(20_000) });
/** A refusal that names the caller's field. */
export const refusedBook = (expected: string): object => ({ code: expected, issues: [{ path: 'bookDeploymentId' }] });
export const fresh = (prefix: string): string => `${prefix}-${crypto.randomUUID().slice(0, 13)}`;

/** An init container of the book's own. */
export function ownInitContainer(name: string): ContainerShape {
  return { name, image: `registry.example/own@sha256:${'1'.repeat(64)}`, command: ['/bin/true'] };
}

export function change(workload: WorkloadReference, parts: Partial<Omit<WorkloadChange, 'workload'>> = {}): WorkloadChange {
  return { workload, form: parts.form ?? 'apply', fragment: parts.fragment ?? exampleFragment(crypto.randomUUID()) };
}

export async function bench(open: OpenCluster, run: (bench: ClusterBench) => Promise<void>): Promise<void> {
  const { cluster, admin } = await open();
  await using opened = cluster;
  const names: string[] = [];
  await using _ended = {
    [Symbol.asyncDispose]: async (): Promise<void> => {
      for (const name of names) await admin.deleteNamespace?.(name);
    },
  };
  await opened.start(call());
  const namespace = async (request: Omit<NamespaceRequest, 'name'> = { customerId: 'acme-corp' }): Promise<string> => {
    const name = fresh('suite');
    await admin.createNamespace({ ...request, name });
    names.push(name);
    return name;
  };
  const workload = async (request: Partial<WorkloadRequest> = {}): Promise<WorkloadReference> =>
    admin.createWorkload({
      kind: 'Deployment',
      name: fresh('book'),
      replicas: 0,
      ...request,
      namespace: request.namespace ?? (await namespace()),
    });
  await run({ cluster: opened, admin, namespace, workload });
}

/** The workload as the port reads it. Waits for it: an adapter may read from a cache that follows. */
export function found(cluster: Cluster, bookDeploymentId: string): Promise<Workload> {
  return vi.waitFor(() => cluster.workloads.find(bookDeploymentId, call()), { timeout: 10_000, interval: 20 });
}

export async function present(cluster: Cluster, workload: WorkloadReference): Promise<Workload> {
  const read = await cluster.workloads.get(workload, call());
  if (read === undefined) throw new BifrostError({ code: 'WORKLOAD_NOT_FOUND', message: `the suite expected ${workload.name} to be there` });
  return read;
}

export const namesOf = (items: readonly { readonly name: string }[] | undefined): string[] => (items ?? []).map(({ name }) => name);

/** What a template that carries the fragment matches. */
export function carrying(fragment: SidecarFragment): object {
  return { metadata: { labels: fragment.labels, annotations: fragment.annotations } };
}

/** For what a real cluster does in its own time. */
export const patient = { timeout: 20_000, interval: 20 };

export function needed<T>(ability: T | undefined, context: TestContext): T {
  return ability ?? context.skip('this environment cannot');
}

/** The pod of that uid, as a list of its namespace shows it. */
export function listedPod(cluster: Cluster, uid: string): Promise<Pod> {
  return vi.waitFor(async () => {
    const namespace = (await cluster.pods.list(call())).find((listed) => listed.uid === uid)?.namespace ?? '';
    const pod = (await cluster.pods.list({ ...call(), namespace })).find((listed) => listed.uid === uid);
    if (pod === undefined) throw new Error(`no pod ${uid} is listed`);
    return pod;
  }, patient);
}

/** The next hint that matches. */
export async function nextOf<Hint>(hints: AsyncIterator<Hint>, matches: (hint: Hint) => boolean): Promise<Hint> {
  for (;;) {
    const next = await hints.next();
    expect(next.done, 'the watch ended before the hint came').not.toBe(true);
    if (next.done !== true && matches(next.value)) return next.value;
  }
}
