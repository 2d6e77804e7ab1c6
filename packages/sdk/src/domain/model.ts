import type {
  Cause,
  NetworkConfiguration,
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
  /** Secret in the manager's namespace with `client_id` and `client_secret`; set by the caller (customer-owned) or by us (organization). */
  readonly credentialSecretName: string;
}

/** What is known of a tailnet. Written by the reconcile loop only. */
export interface TailnetState {
  readonly phase: TailnetStatus;
  /** The control plane's own id. */
  readonly controlId?: string;
  readonly dnsName?: string;
  readonly policyWritten?: boolean;
  readonly reason?: Reason;
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
  readonly form: AttachForm;
  readonly fragment: SidecarFragment;
  readonly previousFragment?: SidecarFragment;
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

/** What is known of a sidecar, and the ledger of what was made outside for it. */
export interface SidecarState {
  readonly phase: SidecarStatus;
  readonly instances: readonly InstanceState[];
  /** Keys minted for it and not yet revoked. */
  readonly keys: readonly { readonly keyId: string; readonly expiresAtMs: number }[];
  /** Devices that joined for it and are not yet deleted. */
  readonly deviceIds: readonly string[];
  /** True once the fragment is in the workload. */
  readonly applied?: boolean;
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
