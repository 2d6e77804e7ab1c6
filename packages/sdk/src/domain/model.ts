import type {
  AttachMode,
  Cause,
  Condition,
  NetworkConfiguration,
  NetworkMode,
  SidecarConfiguration,
  SidecarStatus,
  TailnetStatus,
  Tenancy,
  WorkloadReference,
} from '@bifrost/types/core';
import type { SidecarFragment } from './pod-shape.ts';

/** Why an object is not well: an error code and a sentence without secrets. */
export interface Reason {
  readonly code: string;
  readonly message: string;
  /** The field at fault, where there is one: `credential.secretName`. */
  readonly path?: string;
}

/** What is wanted of a tailnet. Written by calls; read by the reconcile loop. */
export interface TailnetSpec {
  readonly tailnetId: string;
  readonly customerId: string;
  readonly config: NetworkConfiguration;
  readonly tags: readonly string[];
  readonly tenancy: Tenancy;
  /** Secret in the manager's namespace with `client_id` and `client_secret`; set by the caller (customer-owned) or by us; not read for `shared`. */
  readonly credentialSecretName: string;
  /** Of a customer's own tailnet: our entries are kept in its policy. Of all others they are anyway. */
  readonly managePolicy?: boolean;
  /** Nothing is changed outside for it and its sidecars. */
  readonly paused?: boolean;
  /** When it is deleted: what cannot be taken away, of it and of its sidecars, is left. */
  readonly abandon?: boolean;
  /** What becomes of sidecars whose pods must restart for a changed configuration: `ask` waits for a call, `always` begins an upgrade. */
  readonly rollout?: RolloutRule;
  readonly upgrade?: UpgradeWish;
}

export type RolloutRule = 'ask' | 'always';
export const ROLLOUT_RULES = ['ask', 'always'] as const satisfies readonly RolloutRule[];

/** An upgrade of all sidecars of a tailnet, in waves: what is rendered now takes the place of what was rendered once. */
export interface UpgradeWish {
  readonly upgradeId: string;
  readonly requestedAtMs: number;
  /** Of the configuration that it is for. */
  readonly networkHash: string;
  /** Sidecars on trial at once. */
  readonly waveSize: number;
  /** Time for all pods of one sidecar to connect with the new fragment; later it is rolled back and the upgrade halts. Milliseconds. */
  readonly trialMs: number;
}

/** What is known of a tailnet. Written by the reconcile loop only. */
export interface TailnetState {
  readonly phase: TailnetStatus;
  /** The control plane's own id. */
  readonly controlId?: string;
  readonly dnsName?: string;
  readonly policyWritten?: boolean;
  /** SHA-256 of our sections as they were written last: while they are wanted so, whatever differs in the file is somebody else's edit. */
  readonly policyHash?: string;
  /** Why a customer's own policy is not kept, although it was asked for. */
  readonly policyReason?: Reason;
  /** Of a manager that knew its own text by this: read, and not written any more. */
  readonly policyPending?: string;
  /** What the policy, as it was written last, is for. */
  readonly enforced?: Pick<NetworkConfiguration, 'allowedNetworks' | 'blockedNetworks' | 'accessPolicy'>;
  readonly revoked?: RevokedAccess;
  readonly conditions?: readonly Condition[];
  readonly upgrade?: UpgradeState;
  readonly reason?: Reason;
}

/** When a written policy last granted less than the one before it: networks, the tailnet's own devices. Each time tells one loss from the next. */
export interface RevokedAccess {
  readonly networksAtMs?: number;
  readonly devicesAtMs?: number;
}

export interface UpgradeState {
  readonly upgradeId: string;
  readonly total: number;
  readonly done: number;
  readonly finished?: boolean;
  readonly haltedBy?: Reason & { readonly sidecarId: string };
}

/** How the fragment is put into the workload: server-side apply, or prepended by JSON Patch where the pod has init containers of its own. */
export type AttachForm = 'apply' | 'prepend';

/** What is wanted of a sidecar. The rendered fragment is part of it. */
export interface SidecarSpec {
  readonly sidecarId: string;
  readonly tailnetName: string;
  readonly customerId: string;
  readonly bookDeploymentId: string;
  readonly workload: WorkloadReference;
  readonly config: SidecarConfiguration;
  /** Default `apply`. */
  readonly mode?: AttachMode;
  readonly form: AttachForm;
  /** Default `kernel`. */
  readonly networkMode?: NetworkMode;
  readonly fragment: SidecarFragment;
  /** What came before: where a roll-back leads. */
  readonly previous?: Pick<SidecarSpec, 'config' | 'fragment' | 'networkMode' | 'renderedFor'>;
  /** The tailnet's configuration that the fragment was rendered for, as {@link UpgradeWish} needs it: a hash. */
  readonly renderedFor?: string;
  /** Set while `fragment` has to prove itself; the loop keeps it or puts its predecessor back. */
  readonly trial?: Trial;
  /** Why the last changed fragment was taken back; gone with the next that proves itself. */
  readonly reverted?: Reason;
  /** Hash of the configuration that was taken back: the same wish is not tried again by itself. */
  readonly revertedFor?: string;
  /** The last upgrade that reached it, whatever came of it. */
  readonly upgradeId?: string;
  /** Default `call`. */
  readonly origin?: AttachOrigin;
  /** Of one that is injected: when it was last registered; the time for its workload to come counts from there. Default: its creation. */
  readonly registeredAtMs?: number;
  /** When it is detached: what the control plane, the cluster, or pods that do not end hold back is left. */
  readonly abandon?: boolean;
  /** Kept out of its tailnet, its pods left as they are, for as long as this is set. */
  readonly quarantine?: QuarantineWish;
}

/** `sinceMs` tells one quarantine from the next. */
export interface QuarantineWish {
  readonly sinceMs: number;
  readonly reason?: string;
}

/** What asked for the attachment: a call, or the annotation on the workload. */
export type AttachOrigin = 'call' | 'annotation';
export const ATTACH_ORIGINS = ['call', 'annotation'] as const satisfies readonly AttachOrigin[];

export interface Trial {
  readonly sinceMs: number;
  readonly deadlineMs: number;
  /** Whether it worked before the change: only then is a failure the change's fault. */
  readonly wasHealthy: boolean;
}

/** Drift that was put right: one per field manager, newest last. */
export interface Repair {
  readonly manager: string;
  readonly atMs: number;
}

/** One pod of an attachment, kept at the rate of state changes, never at report rate. */
export interface InstanceState {
  readonly podName: string;
  readonly podUid: string;
  readonly status: SidecarStatus;
  readonly cause?: Cause;
  readonly ipAddress?: string;
  readonly deviceId?: string;
  readonly sinceMs: number;
}

/** A key of ours at the control plane. */
export interface RecordedKey {
  readonly keyId: string;
  readonly expiresAtMs: number;
  /** What joins with it carries beside the tags of all books, or instead of them. Left out: nothing. */
  readonly tags?: readonly string[];
}

/** What is known of a sidecar, and the ledger of what was made outside for it. */
export interface SidecarState {
  readonly phase: SidecarStatus;
  readonly instances: readonly InstanceState[];
  /** Keys minted for it and not yet revoked. */
  readonly keys: readonly RecordedKey[];
  /** Devices that joined for it and are not yet deleted. */
  readonly deviceIds: readonly string[];
  /** True once the fragment is in the workload, false once it is out of it again. */
  readonly applied?: boolean;
  /** Hash of the fragment that was put in last: another one in `spec` is our own change, not drift. */
  readonly appliedFragment?: string;
  /** Since when it has been in with pods wanted and none connected ever: the attach deadline counts from there. */
  readonly waitingSinceMs?: number;
  /** True once any instance has connected: from then on trouble is a fault, not a failed attach. */
  readonly everConnected?: boolean;
  /** The failed attach has been taken back: the workload is as it was before. */
  readonly rolledBack?: boolean;
  /** The loss of access ({@link RevokedAccess}) for which its devices were deleted last. */
  readonly cutForMs?: number;
  /** The loss of networks that all its live guards have taken: those that did not in time have lost their devices. */
  readonly obeyedForMs?: number;
  /** `sinceMs` of the quarantine that has been carried out: no key and no device was left. */
  readonly quarantinedSinceMs?: number;
  readonly repairs?: readonly Repair[];
  /** NetworkPolicies that were, or are about to be, written for it: a hash of what they say, and whether all of them were. */
  readonly networkPolicies?: { readonly hash: string; readonly written: boolean };
  readonly conditions?: readonly Condition[];
  readonly reason?: Reason;
}

/** One stored object. `version` changes with every write; a write with an old one is refused. */
export interface Stored<Spec, State> {
  readonly key: string;
  readonly version: string;
  /** Counts changes of `spec`. */
  readonly generation: number;
  readonly createdAtMs: number;
  /** True after `remove`: it waits for `finalize`. */
  readonly deleting: boolean;
  readonly spec: Spec;
  readonly state: State;
}
export type StoredTailnet = Stored<TailnetSpec, TailnetState>;
export type StoredSidecar = Stored<SidecarSpec, SidecarState>;

/** Address ranges of the cluster itself, which no customer route may swallow. */
export interface ClusterRanges {
  readonly pods: readonly string[];
  readonly services: readonly string[];
  readonly nodes: readonly string[];
}
