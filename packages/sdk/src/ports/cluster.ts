import type { Secret, WorkloadReference } from '@bifrost/types/core';
import type { AttachForm, ClusterRanges } from '../domain/model.ts';
import type { NetworkPolicyShape } from '../domain/network-policy-shape.ts';
import type { PodForm, PodTemplateShape, SidecarFragment } from '../domain/pod-shape.ts';
import type { NetworkPolicyManifest } from '../domain/policy/network-policies.ts';
import type { ServiceShape } from '../domain/policy/network-policy-endpoints.ts';
import type { CallOptions } from './store.ts';

/** A book deployment as it is now. */
export interface Workload {
  readonly reference: WorkloadReference;
  /** The namespace's customer; undefined when the platform has not said. */
  readonly customerId: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Those of the workload itself that begin with `bifrost.dev/`. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly template: PodTemplateShape;
  /** Pods that are wanted now; of a DaemonSet, how many nodes want one; of a CronJob none, since its Jobs want them. */
  readonly replicas: number;
  /** A Job that has come to its end, either way: no pod will follow. */
  readonly finished: boolean;
  /**
   * Who else wrote the pod template since we last did, or last of all while we have not: a field manager's name. `unknown` when the cluster does not
   * tell, as of one who only took something away. Undefined when nobody else ever did. Writers of status, scale and metadata do not count.
   */
  readonly lastWriter: string | undefined;
  /** Changes with every write to the workload. */
  readonly version: string;
}

/** A workload came, changed or went. */
export interface WorkloadHint {
  readonly workload: WorkloadReference;
  /** Those that begin with `bifrost.dev/`. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Counts changes of its spec; of a Deployment's annotations too. */
  readonly generation: number;
  /** As a {@link Workload}'s: tells own writes from others'. */
  readonly version: string;
  /** A Job that has come to its end. */
  readonly finished: boolean;
  readonly gone: boolean;
}

/** What is to be in, or out of, a workload's pod template. */
export interface WorkloadChange {
  readonly workload: WorkloadReference;
  readonly form: AttachForm;
  readonly fragment: SidecarFragment;
}

/**
 * Book deployments. Every method rejects with `signal.reason` itself when aborted.
 *
 * @throws {BifrostError} `CLUSTER_DENIED` (403 by RBAC), `CLUSTER_UNAVAILABLE` (no answer, 429, 5xx; retry), `CLUSTER_REJECTED` (any other refusal) from any method.
 */
export interface Workloads {
  /**
   * Finds a workload of an attachable kind by the value of its label `bifrost.dev/book-deployment-id`, its uid, or `namespace/name`, in that order.
   * With `customerId` only workloads in that customer's namespaces count, whatever others have written onto theirs; where none is, one of another's is
   * answered, for the caller to refuse.
   * @throws {BifrostError} `WORKLOAD_NOT_FOUND`, `WORKLOAD_AMBIGUOUS`, `WORKLOAD_UNSUPPORTED` (a kind that cannot carry a sidecar; `details.kind`, and
   * `details.customerId` unless the namespace is nobody's: for the caller to tell only to who may know of it)
   */
  find(bookDeploymentId: string, options: CallOptions & { readonly customerId?: string }): Promise<Workload>;
  /** The same workload (same uid) as it is now, or undefined when it is gone. An empty uid: whichever has that kind and name. */
  get(workload: WorkloadReference, options: CallOptions): Promise<Workload | undefined>;
  /**
   * Puts the fragment in, in the place of whatever fragment of ours is there, whichever form put that in. Already in: nothing changes. `dryRun`: the
   * cluster judges and nothing is written. `repair`: what others changed or added inside items of ours, and keys of our own name space, is taken back;
   * what they own besides stays a conflict. Answers with the workload as it then is.
   * @throws {BifrostError} `FIELD_CONFLICT` with `details.manager` and `issues[].path`; `WORKLOAD_NOT_FOUND`; `CLUSTER_CONFLICT` (changed meanwhile; retry)
   */
  attach(change: WorkloadChange, options: CallOptions & { readonly dryRun?: boolean; readonly repair?: boolean }): Promise<Workload>;
  /**
   * Takes exactly the fragment out, with whatever others have changed inside items of ours. Absent fragment or absent workload is success, and so is a
   * workload that carries another attachment instead.
   * @throws {BifrostError} `CLUSTER_CONFLICT` (changed meanwhile; retry)
   */
  detach(change: WorkloadChange, options: CallOptions): Promise<void>;
  /**
   * Asks admission, by dry run, whether a pod of this template with the fragment may run. Nothing is written.
   * @throws {BifrostError} `POD_SECURITY_FORBIDDEN` — the same pod without the fragment is admitted
   */
  admit(workload: Workload, fragment: SidecarFragment, options: CallOptions): Promise<void>;
  /** The customer whose namespace this is; undefined when the platform has not said, or there is none of that name. */
  customerOf(namespace: string, options: CallOptions): Promise<string | undefined>;
  /** Hints: a workload of any kind in `WORKLOAD_KINDS` came, changed or went. All at first. Ends with `signal.reason` on abort. */
  watch(options: CallOptions): AsyncIterable<WorkloadHint>;
}

/** One Secret by its place. */
export interface SecretReference {
  readonly namespace: string;
  readonly name: string;
}

/** Secrets. `list` and `remove` touch only Secrets labelled `app.kubernetes.io/managed-by: bifrost`; `get` reads any. */
export interface Secrets {
  /** The decoded data, or undefined when there is no such Secret. */
  get(secret: SecretReference, options: CallOptions): Promise<ReadonlyMap<string, Secret> | undefined>;
  /**
   * Creates or replaces. The label managed-by is added. `seen`: what `get` answered; put only while the Secret is still as it was then.
   *
   * @throws {BifrostError} `CLUSTER_CONFLICT` — it has changed since, or has gone
   */
  put(
    secret: SecretReference & { readonly labels: Readonly<Record<string, string>>; readonly data: ReadonlyMap<string, Secret> },
    options: CallOptions & { readonly seen?: ReadonlyMap<string, Secret> | undefined },
  ): Promise<void>;
  /** Absent is success. A Secret that is not ours is left alone and is success too. */
  remove(secret: SecretReference, options: CallOptions): Promise<void>;
  /** Ours, in all namespaces, without their data. */
  list(options: CallOptions): Promise<readonly (SecretReference & { readonly labels: Readonly<Record<string, string>> })[]>;
}

/** One container of a pod, init containers included, as last seen. */
export interface ContainerState {
  readonly name: string;
  readonly running: boolean;
  readonly ready: boolean;
  readonly restarts: number;
}

/** A pod that carries our label `bifrost.dev/sidecar-id`. The label is a hint; `workloadUid` is what ownership is decided by. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Those that begin with `bifrost.dev/`. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Uid of the workload at the end of the owner walk; undefined when it cannot be told. */
  readonly workloadUid: string | undefined;
  /** The owner walk could not be finished now: whose pod this is will be told later, and nothing may be concluded from it until then. */
  readonly unsettled?: boolean;
  readonly createdAtMs: number;
  readonly phase: string;
  readonly deleting: boolean;
  readonly ip: string | undefined;
  /** All that it has, `ip` among them: with both families, one of each. Absent: `ip` alone. */
  readonly ips?: readonly string[];
  readonly containers: readonly ContainerState[];
  /** As it runs, whatever its workload's template says by now, and whatever was changed on its way in. */
  readonly form: PodForm;
}

/** Pods with a sidecar. Every method rejects with `signal.reason` itself when aborted. @throws {BifrostError} as {@link Workloads} */
export interface Pods {
  /**
   * Pods with our label, from a cache that is in sync. Of one `namespace`: whose they are is asked for where it is not known. Of all: it is not, since
   * some answer may be long in coming; pods that are not known yet are `unsettled`.
   */
  list(options: CallOptions & { readonly namespace?: string }): Promise<readonly Pod[]>;
  /** Hints: a pod with our label came, changed or went. All pods at first. Ends with `signal.reason` on abort. */
  watch(options: CallOptions): AsyncIterable<{ readonly uid: string; readonly pod: Pod | undefined }>;
}

/** Who holds a token: proven by the cluster, never by what the caller says. */
export interface PodIdentity {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string;
  readonly podUid: string;
}

/** Who a caller is. @throws {BifrostError} as {@link Workloads} */
export interface Identities {
  /** The pod that a projected token with our audience belongs to; undefined when the cluster does not vouch for it. May be cached for up to a minute. */
  reviewPodToken(token: Secret, options: CallOptions): Promise<PodIdentity | undefined>;
}

/** What the cluster tells of its own network. @throws {BifrostError} as {@link Workloads} */
export interface Topology {
  /** Ranges of pods, Services and nodes; undefined when they cannot be told. */
  ranges(options: CallOptions): Promise<ClusterRanges | undefined>;
  /** All NetworkPolicies of a namespace, as they are now. */
  networkPolicies(namespace: string, options: CallOptions): Promise<readonly NetworkPolicyShape[]>;
  /** A Service as it is now, or was some seconds ago; undefined when there is none of that name. */
  service(service: { readonly namespace: string; readonly name: string }, options: CallOptions): Promise<ServiceShape | undefined>;
}

/** One NetworkPolicy by its place. */
export interface NetworkPolicyReference {
  readonly namespace: string;
  readonly name: string;
}

/** A NetworkPolicy of ours as it was read back. */
export interface OwnNetworkPolicy extends NetworkPolicyShape, NetworkPolicyReference {
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * NetworkPolicies of ours: those labelled `app.kubernetes.io/managed-by: bifrost`. No other is listed, written or removed; who is let by all of a
 * namespace together, {@link Topology} tells.
 *
 * @throws {BifrostError} as {@link Workloads}
 */
export interface NetworkPolicies {
  /** Of one attachment in its namespace, or of all in all namespaces. */
  list(options: CallOptions & { readonly of?: { readonly namespace: string; readonly sidecarId: string } }): Promise<readonly OwnNetworkPolicy[]>;
  /**
   * Creates it, or puts right what is there in one step: there is no time without it. Of ours, what others changed in its specification is taken back.
   * @throws {BifrostError} `FIELD_CONFLICT` — one of that name is there and is not ours; `CLUSTER_CONFLICT` (changed meanwhile; retry)
   */
  put(manifest: NetworkPolicyManifest, options: CallOptions): Promise<void>;
  /** Absent is success. One that is not ours is left alone and is success too. */
  remove(policy: NetworkPolicyReference, options: CallOptions): Promise<void>;
}

/** The cluster that books run in. `start` opens watches; disposing closes them. */
export interface Cluster extends AsyncDisposable {
  /** The adapter's name, e.g. `memory`, `kubernetes`. */
  readonly kind: string;
  readonly workloads: Workloads;
  readonly secrets: Secrets;
  readonly pods: Pods;
  readonly identities: Identities;
  readonly topology: Topology;
  readonly networkPolicies: NetworkPolicies;
  /** Opens the watches; resolves when the caches are in sync. @throws {BifrostError} what hinders the first list */
  start(options: CallOptions): Promise<void>;
}
