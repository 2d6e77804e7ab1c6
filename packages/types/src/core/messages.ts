import type { Cause, NetworkConfiguration, NetworkMode, SidecarConfiguration, SidecarStatus, TailnetStatus, Tenancy } from './network.ts';
import type { AccessChange, CallerChange, LivePeers, NetworkPolicyPlan, OutputChange, PolicyWarning } from './policy.ts';
import type { Quarantine } from './quarantine.ts';

/** Where the credentials of a customer's own tailnet are: a Secret in the manager's own namespace, keys `client_id` and `client_secret`. */
export interface CredentialReference {
  readonly secretName: string;
}

/** A tailnet that is wanted, with every default filled in. */
export interface CreateTailnetRequest {
  readonly customerId: string;
  readonly tailnetName: string;
  readonly config: NetworkConfiguration;
  /** Words for finding it again: labels, and no Tailscale tags. */
  readonly tags: readonly string[];
  /** Ours; default: the manager's `tenancy` option. */
  readonly tenancy?: Tenancy;
  /** Ours; needed for `customer-owned`. */
  readonly credential?: CredentialReference;
  /**
   * Ours, for `customer-owned`: keep our entries in the policy of the customer's tailnet, beside the customer's own. Its client then needs the scope
   * `policy_file`. Default false: the policy is the customer's alone.
   */
  readonly managePolicy?: boolean;
}
/** The answer to it: the wish is stored, the loop does the rest. */
export interface CreateTailnetResponse {
  readonly tailnetId: string;
  readonly tailnetName: string;
  readonly status: TailnetStatus;
  readonly createdAt: Date;
}

/**
 * What a call that makes something gives in TypeScript: the specification's answer, and whether this call made it. `false`: what was asked for was there
 * already, and nothing was written. A door that answers as the specification has it leaves `created` out.
 */
export type Made<Response> = Response & { readonly created: boolean };

/** What is to change of a tailnet; what is left out stays as it is. */
export interface UpdateTailnetRequest {
  readonly tailnetName: string;
  readonly config?: Partial<NetworkConfiguration>;
  readonly tags?: readonly string[];
  /** For `customer-owned`: see {@link CreateTailnetRequest}. With false our entries are taken out of the policy. */
  readonly managePolicy?: boolean;
}

/** What is to change of a sidecar; what is left out stays as it is. Its hostname cannot change: devices are told by it. */
export interface UpdateSidecarRequest {
  readonly sidecarId: string;
  readonly config: Partial<Omit<SidecarConfiguration, 'hostname'>>;
}

/** Puts the sidecars of a tailnet on what is rendered now, in waves. */
export interface UpgradeSidecarsRequest {
  readonly tailnetName: string;
  /** Sidecars on trial at once. Default 5. */
  readonly waveSize?: number;
  /** Time for all pods of one sidecar to connect, milliseconds; then it is rolled back and the rest is left alone. Default: the attach deadline. */
  readonly trialMs?: number;
}

/** A workload whose pods are replaced by a change. */
export interface Rollout {
  readonly sidecarId: string;
  readonly bookDeploymentId: string;
  readonly workload: WorkloadReference;
  /** Containers and volumes of the sidecar that differ. */
  readonly changed: readonly string[];
}

/** What a change would do. Nothing of it has been written. */
export interface ChangePlan {
  /** Members that differ from what is there: `config.allowedNetworks`. Empty: the call would change nothing. */
  readonly changes: readonly string[];
  /** Their pods would be replaced. */
  readonly rollouts: readonly Rollout[];
  /** Sidecars whose fields belong to whoever created the workload: the change reaches them only with a new manifest. */
  readonly ownedByCreator: readonly string[];
  /** What the books can reach from then on, and what no longer. Absent where that stays. */
  readonly access?: AccessChange;
  /** Of a sidecar: who can reach its book and what it offers. Absent where that stays, and where the tailnet's policy is not ours to keep. */
  readonly callers?: CallerChange;
  /** Of a tailnet: which of the peers that its books use now would be lost. Absent where access stays, or none is known to be in use. */
  readonly livePeers?: LivePeers;
  /** Of a tailnet: what would be written to whatever enforces its configuration. Absent where nothing of it changes. */
  readonly outputs?: readonly OutputChange[];
  /** What may be meant otherwise. */
  readonly warnings?: readonly PolicyWarning[];
  /** Sidecars whose NetworkPolicies would change; only while the manager plans or writes them. */
  readonly networkPolicies?: readonly NetworkPolicyPlan[];
}

/** Why an object is not as it was wanted. */
export interface StatusReason {
  /** An error code. */
  readonly code: string;
  /** A sentence that says what to do. */
  readonly message: string;
  /** The field at fault, where there is one, as in the caller's own object: `credential.secretName`. */
  readonly path?: string;
}

/** A tailnet as read back. */
export interface Tailnet extends CreateTailnetResponse {
  readonly customerId: string;
  readonly config: NetworkConfiguration;
  readonly tags: readonly string[];
  readonly tenancy: Tenancy;
  /**
   * Another one when what is wanted has changed, a deletion among it, and only then: never with the status. For `ifMatch`. The same from every manager.
   */
  readonly etag: string;
  /** True: nothing is changed outside for it and its sidecars until `resumeTailnet`. */
  readonly paused: boolean;
  /** Of `customer-owned`: whether our entries are kept in its policy. Of all others they are anyway. */
  readonly managePolicy: boolean;
  readonly conditions: readonly Condition[];
  /** The last upgrade of its sidecars that was asked for. */
  readonly upgrade?: UpgradeProgress;
  /** Why it is not active. */
  readonly reason?: StatusReason;
}

/** How far an upgrade of a tailnet's sidecars has come. */
export interface UpgradeProgress {
  readonly upgradeId: string;
  readonly total: number;
  readonly done: number;
  /** Every sidecar runs what it was asked for. */
  readonly finished: boolean;
  /** Set when a sidecar was rolled back: the rest stays as it is until another upgrade is asked for. */
  readonly haltedBy?: StatusReason & { readonly sidecarId: string };
}

/** A sidecar that is wanted, with every default filled in. */
export interface AttachSidecarRequest {
  /** Value of the label `bifrost.dev/book-deployment-id`, the workload's uid, or `namespace/name`. */
  readonly bookDeploymentId: string;
  readonly tailnetName: string;
  readonly config: SidecarConfiguration;
}
/** A sidecar for a workload that is yet to be created. */
export interface InjectSidecarRequest {
  readonly tailnetName: string;
  readonly config: SidecarConfiguration;
  /** The id that callers know the book by. Default: `namespace/name`. */
  readonly bookDeploymentId?: string;
}
/** The answer to it: the wish is stored, the loop does the rest. */
export interface AttachSidecarResponse {
  readonly sidecarId: string;
  readonly status: SidecarStatus;
  readonly tailnetName: string;
  readonly createdAt: Date;
}

/** Kinds that a running workload can be attached to. */
export type AttachableKind = 'Deployment' | 'StatefulSet' | 'DaemonSet';
/** Jobs and CronJobs get their sidecar before they are created: see `injectSidecar`. */
export type WorkloadKind = AttachableKind | 'Job' | 'CronJob';
/** All values of {@link AttachableKind}. */
export const ATTACHABLE_KINDS = ['Deployment', 'StatefulSet', 'DaemonSet'] as const satisfies readonly AttachableKind[];
/** All values of {@link WorkloadKind}. */
export const WORKLOAD_KINDS = [...ATTACHABLE_KINDS, 'Job', 'CronJob'] as const satisfies readonly WorkloadKind[];
/** One workload of a cluster. The uid decides: a successor of the same name is another workload. */
export interface WorkloadReference {
  readonly kind: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
  /** Empty while an injected workload has not been created yet. */
  readonly uid: string;
}

/** Who owns the sidecar's fields in the workload: Bifrost (`apply`), or whoever created it with the sidecar in it (`inject`). */
export type AttachMode = 'apply' | 'inject';
/** All values of {@link AttachMode}. */
export const ATTACH_MODES = ['apply', 'inject'] as const satisfies readonly AttachMode[];

/** How one matter of an object stands, as Kubernetes words it. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** One word; an error code where something is wrong. */
  readonly reason: string;
  readonly message: string;
  /** The generation of the wish that it speaks of. */
  readonly observedGeneration: number;
  /** RFC 3339. */
  readonly lastTransitionTime: string;
}

/** One pod's sidecar, as last seen. */
export interface SidecarInstance {
  readonly podName: string;
  readonly podUid: string;
  readonly status: SidecarStatus;
  /** What its connection suffers from. */
  readonly cause?: Cause;
  readonly ipAddress?: string;
  /** The control plane's id of the device that this pod joined as. */
  readonly deviceId?: string;
  readonly lastReportAt?: Date;
  /** What its agent finds wrong beside the connection, e.g. `mtu`, `wedge-limit`: `AgentSign`, and words of newer agents. Absent when nothing. */
  readonly signs?: readonly string[];
  /** Whether its guard holds the tailnet's configuration of now; absent where the guard takes no orders, or nobody has heard of it. */
  readonly guard?: 'current' | 'outdated';
}

/** A sidecar as read back. */
export interface Sidecar extends AttachSidecarResponse {
  readonly customerId: string;
  readonly bookDeploymentId: string;
  readonly workload: WorkloadReference;
  readonly config: SidecarConfiguration;
  /** As that of {@link Tailnet}. A roll-back changes it too: it puts another configuration back. */
  readonly etag: string;
  /** Its oldest connected instance's address. */
  readonly ipAddress?: string;
  readonly instances: readonly SidecarInstance[];
  readonly mode: AttachMode;
  readonly networkMode: NetworkMode;
  /** Set while it is in quarantine; the condition `Quarantined` says whether that has been carried out. */
  readonly quarantine?: Quarantine;
  readonly conditions: readonly Condition[];
  readonly reason?: StatusReason;
}

/** The specification's status answer; bytes are as the books see them, since the manager first saw each agent. */
export interface NetworkStatus {
  readonly tailnetName: string;
  readonly status: TailnetStatus;
  /** Our connected instances. */
  readonly connectedDevices: number;
  readonly lastActivity?: Date;
  readonly metrics: { readonly bytesSent: number; readonly bytesReceived: number; readonly averageLatencyMs: number };
  readonly connectedSidecars: readonly {
    readonly sidecarId: string;
    readonly bookDeployment: string;
    readonly status: SidecarStatus;
    readonly ipAddress: string;
  }[];
}

/** One per tailnet. */
export interface ConnectionMetric {
  readonly tailnetName: string;
  readonly bytesSent: bigint;
  readonly bytesReceived: bigint;
  readonly latencyMs: number;
  readonly isConnected: boolean;
  readonly lastActivity?: Date;
}

/** The specification's three words; what lies behind them is in `details.state` and `details.cause`. */
export type ConnectivityEventType = 'connected' | 'disconnected' | 'error';
/** All values of {@link ConnectivityEventType}. */
export const CONNECTIVITY_EVENT_TYPES = ['connected', 'disconnected', 'error'] as const satisfies readonly ConnectivityEventType[];
/** One change of a connection, as `monitorConnectivity` streams it. Which details there are: docs/events.md. */
export interface ConnectivityEvent {
  readonly tailnetName: string;
  readonly eventType: ConnectivityEventType;
  readonly timestamp: Date;
  readonly details: Readonly<Record<string, string>>;
  /** Ours: where a stream goes on that is opened with it. Opaque; of the manager that gave it. */
  readonly resumeToken?: string;
}

/** Nothing has happened that passes the filters; a stream that is opened with this token goes on here. Only for readers that ask for `heartbeatMs`. */
export interface ConnectivityHeartbeat {
  readonly heartbeat: true;
  readonly timestamp: Date;
  readonly resumeToken: string;
}

/** Which connectivity events a reader wants, and from where on. What is left out lets everything through. */
export interface MonitorConnectivityRequest {
  readonly tailnetName?: string;
  /** Of these customers only; of nobody when it is empty. */
  readonly customerIds?: readonly string[];
  readonly sidecarId?: string;
  readonly eventTypes?: readonly ConnectivityEventType[];
  /** The `resumeToken` of the last item of an earlier stream: what came after it comes first. */
  readonly resumeToken?: string;
  /**
   * A {@link ConnectivityHeartbeat} each time that so long nothing has passed the filters, milliseconds, and at once when there is nothing to give yet:
   * so that even a reader of quiet events can resume.
   */
  readonly heartbeatMs?: number;
}

/** Something made outside that no object of ours owns any more. */
export interface Leftover {
  readonly kind: 'device' | 'key' | 'network-policy' | 'secret' | 'tailnet';
  readonly id: string;
  /** The tailnet or namespace it lies in. */
  readonly place: string;
}
