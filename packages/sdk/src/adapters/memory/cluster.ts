import { BifrostError, type ErrorCode, Secret, type WorkloadReference } from '@bifrost/types/core';
import type { ClusterRanges } from '../../domain/model.ts';
import { LABELS } from '../../domain/names.ts';
import type { NetworkPolicyShape } from '../../domain/network-policy-shape.ts';
import type { PodTemplateShape } from '../../domain/pod-shape.ts';
import type { ServiceName, ServiceShape } from '../../domain/policy/network-policy-endpoints.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Cluster, Identities, NetworkPolicyReference, Pod, Pods, SecretReference, Secrets, Topology, Workloads } from '../../ports/cluster.ts';
import type { Logger } from '../../ports/logger.ts';
import type { CallOptions } from '../../ports/store.ts';
import { type MemoryWorkload, templateOf } from './cluster-make.ts';
import { MemoryIdentities, MemoryPods, shownPod } from './cluster-pods.ts';
import { MemoryNetworkPolicies } from './cluster-policies.ts';
import { MemorySecrets } from './cluster-secrets.ts';
import { ClusterState, ENFORCE_LABEL, secretKey } from './cluster-state.ts';
import { MemoryWorkloads } from './cluster-workloads.ts';
import { Faults } from './faults.ts';
import { HintHub } from './hint-hub.ts';
import { PodController } from './pod-controller.ts';
import { idlePodRuntime, type PodRuntime } from './pod-runtime.ts';
import type { PodSecurityLevel } from './pod-security.ts';
import { PodTokens } from './pod-tokens.ts';
import { type AppliedTemplate, applyFields, type OwnedTemplate, updateTemplate } from './template-fields.ts';
import { normal } from './template-tree.ts';

export type { MemoryWorkload } from './cluster-make.ts';

/** Options of {@link MemoryCluster}. */
export interface MemoryClusterOptions {
  readonly clock: Clock;
  /** Where pods run. Default: {@link idlePodRuntime}, which only says so. */
  readonly runtime?: PodRuntime;
  /** What `topology.ranges` answers. Default: undefined, as of a cluster that cannot tell. */
  readonly ranges?: ClusterRanges;
  /** How many nodes there are: a DaemonSet has a pod on each. @default 1 */
  readonly nodes?: number;
  /** Hears of pods that cannot start or stop. Default: nobody. */
  readonly logger?: Logger;
}

/**
 * A cluster in this process's memory: for embedded managers and for tests. The part that Bifrost sees is the Cluster port; the methods beside it
 * are the outside hand: namespaces, workloads, scaling, faults. It knows field managers, pod security, Secrets, pod tokens, and makes pods with
 * rolling updates, and Jobs that run to their end; what a pod does is the {@link PodRuntime}'s. Namespaces `default` and `bifrost` are there from the start.
 *
 * Nothing runs until a workload wants pods. Disposing ends all pods and watches; twice is safe.
 *
 * @example
 * await using cluster = new MemoryCluster({ clock: systemClock() });
 * await cluster.createNamespace({ name: 'acme', customerId: 'acme-corp' });
 * const book = await cluster.createWorkload({ namespace: 'acme', name: 'customer-support-book', replicas: 2 });
 * await cluster.settled({ signal: AbortSignal.timeout(5_000) });
 */
export class MemoryCluster implements Cluster {
  readonly kind = 'memory';
  readonly workloads: Workloads;
  readonly secrets: Secrets;
  readonly pods: Pods;
  readonly identities: Identities;
  readonly topology: Topology;
  readonly #clock: Clock;
  readonly #faults = new Faults();
  readonly #state = new ClusterState();
  readonly #hub = new HintHub(1024);
  readonly #workloadHub = new HintHub(1024);
  readonly networkPolicies: MemoryNetworkPolicies;
  readonly #services = new Map<string, ServiceShape>();
  readonly #tokens: PodTokens;
  readonly #controller: PodController;

  constructor({ clock, runtime = idlePodRuntime(), ranges, nodes = 1, logger = { log: () => {} } }: MemoryClusterOptions) {
    this.#clock = clock;
    const [state, faults, hub] = [this.#state, this.#faults, this.#hub];
    const workloadHub = this.#workloadHub;
    state.nodes = nodes;
    const tokens = new PodTokens(clock);
    const controller = new PodController({ state, runtime, clock, logger, tokens, onPod: (uid) => hub.notify(uid) });
    state.onWorkload = (uid) => {
      workloadHub.notify(uid);
      controller.look(uid);
    };
    state.onSecret = (secret) => controller.secretChanged(secret);
    for (const name of ['default', 'bifrost']) state.namespaces.set(name, { name, labels: {} });
    this.#tokens = tokens;
    this.#controller = controller;
    this.workloads = new MemoryWorkloads({ state, faults, hub: workloadHub });
    this.secrets = new MemorySecrets(state, faults);
    this.pods = new MemoryPods({ controller, faults, hub });
    this.identities = new MemoryIdentities({ controller, faults, tokens });
    this.networkPolicies = new MemoryNetworkPolicies(state, faults);
    this.topology = {
      ranges: async (options) => {
        faults.enter(options);
        return structuredClone(ranges);
      },
      networkPolicies: async (namespace, options) => {
        faults.enter(options);
        return this.networkPolicies.in(namespace);
      },
      service: async ({ namespace, name }, options) => {
        faults.enter(options);
        return structuredClone(this.#services.get(`${namespace}/${name}`));
      },
    };
  }

  /** Nothing to open: a memory cluster is always in sync. */
  async start({ signal }: CallOptions): Promise<void> {
    signal.throwIfAborted();
  }

  /** Ends all pods, then the watches. What is stored stays readable. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#controller[Symbol.asyncDispose]();
    this.#hub.close();
    this.#workloadHub.close();
  }

  /** The next call of the port, whichever it is, fails with `code`; a second `failNext` waits for the call after it. Watches and the methods below are not concerned. */
  failNext(code: ErrorCode): void {
    this.#faults.failNext(code);
  }

  /** Makes a namespace, or gives the one of that name these labels instead. */
  async createNamespace(namespace: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    /** The label `bifrost.dev/customer-id`. */
    readonly customerId?: string;
    /** The label `pod-security.kubernetes.io/enforce`; it judges pods made from then on. */
    readonly enforce?: PodSecurityLevel;
  }): Promise<void> {
    const { name, labels = {}, customerId, enforce } = namespace;
    const given = { ...(customerId !== undefined && { [LABELS.customerId]: customerId }), ...(enforce && { [ENFORCE_LABEL]: enforce }) };
    this.#state.namespaces.set(name, { name, labels: { ...labels, ...given } });
  }

  /** Ends a namespace and all in it; resolves when its pods are gone. Absent is success. */
  async deleteNamespace(name: string): Promise<void> {
    const workloads = [...this.#state.workloads.values()].filter(({ reference }) => reference.namespace === name);
    await Promise.all(workloads.map(({ reference }) => this.deleteWorkload(reference)));
    for (const secret of [...this.#state.secrets.values()].filter(({ namespace }) => namespace === name)) {
      this.#state.secrets.delete(secretKey(secret));
    }
    this.#state.namespaces.delete(name);
  }

  /** Makes a workload; its pods follow. @throws {BifrostError} `CLUSTER_REJECTED` — the namespace is absent, or the name is taken for this kind */
  async createWorkload(workload: MemoryWorkload): Promise<WorkloadReference> {
    return this.#create(workload, updateTemplate(undefined, 'memory-cluster', normal(templateOf(workload))));
  }

  /** What `kubectl create job --from` does, and a CronJob at its hour: a Job of its template, owned by it. @throws {BifrostError} `WORKLOAD_NOT_FOUND` */
  async startJob(cronJob: WorkloadReference): Promise<WorkloadReference> {
    const { template, backoffLimit } = this.#state.existing(cronJob);
    const { namespace, name } = cronJob;
    const job = { kind: 'Job', namespace, name: `${name}-${this.#clock.newId().slice(0, 8)}`, backoffLimit } as const;
    return this.#create(job, updateTemplate(undefined, 'memory-cluster', structuredClone(template)), cronJob);
  }

  #create(workload: MemoryWorkload, owned: OwnedTemplate, owner?: WorkloadReference): WorkloadReference {
    const { kind = 'Deployment', namespace, name, labels = {}, annotations = {}, replicas = 1, backoffLimit = 0 } = workload;
    this.#state.namespace(namespace);
    if (this.#state.named(kind, namespace, name) !== undefined) {
      throw new BifrostError({ code: 'CLUSTER_REJECTED', message: `there is a ${kind} ${namespace}/${name} already` });
    }
    const reference = { kind, namespace, name, uid: this.#clock.newId() };
    const record = { ...owned, reference, labels: { ...labels }, annotations: { ...annotations }, replicas, backoffLimit, ...(owner && { owner }) };
    this.#state.write(record, undefined);
    return reference;
  }

  /** The pod template as it is now: a copy. @throws {BifrostError} `WORKLOAD_NOT_FOUND` */
  async readWorkload(workload: WorkloadReference): Promise<PodTemplateShape> {
    return structuredClone(this.#state.existing(workload).template);
  }

  /** What another field manager applies, by force: these members of the pod template and no others. @throws {BifrostError} `WORKLOAD_NOT_FOUND` */
  async changeWorkload(workload: WorkloadReference, change: AppliedTemplate & { readonly manager: string }): Promise<void> {
    const record = this.#state.existing(workload);
    const { manager, ...applied } = change;
    this.#state.write({ ...record, ...applyFields(record, structuredClone(applied), manager) }, record);
  }

  /** What `kubectl edit` does: the template that `edit` answers replaces the present one. @throws {BifrostError} `WORKLOAD_NOT_FOUND` */
  async updateWorkload(workload: WorkloadReference, edit: (template: PodTemplateShape) => PodTemplateShape, manager = 'kubectl-edit'): Promise<void> {
    const record = this.#state.existing(workload);
    const template = normal(edit(structuredClone(record.template)));
    this.#state.write({ ...record, ...updateTemplate(record, manager, template) }, record);
  }

  /** What `kubectl rollout undo` does: back to the template before the present one. No earlier one: nothing changes. @throws {BifrostError} `WORKLOAD_NOT_FOUND` */
  async rolloutUndo(workload: WorkloadReference): Promise<void> {
    const earlier = this.#state.existing(workload).history.at(-1);
    if (earlier !== undefined) await this.updateWorkload(workload, () => earlier, 'kubectl-rollout');
  }

  /** What `kubectl annotate` does: sets these annotations of the workload itself; undefined removes one. @throws {BifrostError} `WORKLOAD_NOT_FOUND` */
  async annotateWorkload(workload: WorkloadReference, annotations: Readonly<Record<string, string | undefined>>): Promise<void> {
    const record = this.#state.existing(workload);
    const merged = Object.entries({ ...record.annotations, ...annotations }).filter((entry): entry is [string, string] => entry[1] !== undefined);
    this.#state.write({ ...record, annotations: Object.fromEntries(merged) }, record);
  }

  /** The NetworkPolicies of a namespace that are not ours, from now on. */
  async setNetworkPolicies(namespace: string, policies: readonly NetworkPolicyShape[]): Promise<void> {
    this.networkPolicies.replaceForeign(namespace, policies);
  }

  /** What `kubectl replace` makes of one that is there, ours too; undefined: what `kubectl delete` does. */
  async changeNetworkPolicy(policy: NetworkPolicyReference, shape: NetworkPolicyShape | undefined): Promise<void> {
    this.networkPolicies.change(policy, shape);
  }

  /** A Service as it is from now on. */
  async setService({ namespace, name }: ServiceName, service: ServiceShape): Promise<void> {
    this.#services.set(`${namespace}/${name}`, structuredClone(service));
  }

  /** How many pods are wanted. @throws {BifrostError} `WORKLOAD_NOT_FOUND`; `CLUSTER_REJECTED` — nobody says that of a DaemonSet or CronJob */
  async scale(workload: WorkloadReference, replicas: number): Promise<void> {
    const record = this.#state.existing(workload);
    const { kind } = record.reference;
    if (kind === 'DaemonSet' || kind === 'CronJob') throw new BifrostError({ code: 'CLUSTER_REJECTED', message: `a ${kind} has no number of pods` });
    this.#state.write({ ...record, replicas }, record);
  }

  /** Nodes come or go; each DaemonSet follows. */
  async setNodes(count: number): Promise<void> {
    this.#state.nodes = count;
    for (const record of [...this.#state.workloads.values()]) if (record.reference.kind === 'DaemonSet') this.#state.write(record, record);
  }

  /** Ends a workload, and the Jobs of a CronJob with it; resolves when its pods are gone. Absent is success. */
  async deleteWorkload(workload: WorkloadReference): Promise<void> {
    const pods = this.#controller.podsOf(workload);
    const jobs = [...this.#state.workloads.values()].filter(({ owner }) => owner?.uid === workload.uid);
    for (const { reference } of jobs) this.#state.end(reference);
    this.#state.end(workload);
    await Promise.all(pods.map(({ gone }) => gone));
  }

  /** All pods of a workload, with our label or without, oldest first. */
  podsOf(workload: WorkloadReference): readonly Pod[] {
    return this.#controller.podsOf(workload).map(shownPod);
  }

  /** What `kubectl delete pod` does; resolves when it is gone. Its workload makes another. Absent is success. */
  async deletePod(podUid: string): Promise<void> {
    const pod = this.#controller.pods.get(podUid);
    if (pod === undefined) return;
    pod.stop.abort();
    this.#hub.notify(podUid);
    await pod.gone;
  }

  /** Ends a container as a crash would; the runtime starts it again. Absent is success. */
  killContainer(podUid: string, containerName: string): void {
    this.#controller.pods.get(podUid)?.running?.kill(containerName);
  }

  /** Ends a main container as its own program does. A Job whose pods have all ended with 0 is complete. Absent is success. */
  endContainer(podUid: string, containerName: string, exitCode = 0): void {
    this.#controller.pods.get(podUid)?.running?.end?.(containerName, exitCode);
  }

  /** Resolves when every workload has the pods it wants, all ready. Rejects with `signal.reason` itself on abort. */
  async settled({ signal }: CallOptions): Promise<void> {
    let wake = (): void => {};
    const onAbort = (): void => wake();
    using _looks = this.#controller.onLook(() => wake());
    signal.addEventListener('abort', onAbort);
    try {
      for (signal.throwIfAborted(); !this.#controller.isSettled; signal.throwIfAborted()) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** A Secret of somebody else's making: it has not our label. Replaces one of that name. */
  async createSecret(secret: SecretReference & { readonly data: Readonly<Record<string, string>> }): Promise<void> {
    const { namespace, name, data } = secret;
    this.#state.namespace(namespace);
    const values = new Map(Object.entries(data).map(([key, value]) => [key, new Secret(value)]));
    this.#state.secrets.set(secretKey(secret), { namespace, name, labels: {}, data: values });
    this.#state.onSecret({ namespace, name });
  }

  /** A projected token of that pod, as its kubelet would ask for. It is dead when the pod is gone. */
  async issuePodToken(podUid: string, audience: string): Promise<Secret> {
    return this.#tokens.issue(podUid, audience);
  }
}
