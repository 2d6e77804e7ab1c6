/**
 * What keeps customers apart. `identity`: whose a namespace, an attachment, a credential and a device is. `tailnet-policy`: the policy at the control plane.
 * `guard`: the rules in the pods. `network-policy`: what Kubernetes lets through between pods.
 */
export type ProofLayer = 'identity' | 'tailnet-policy' | 'guard' | 'network-policy';
/** All values of {@link ProofLayer}. */
export const PROOF_LAYERS = ['identity', 'tailnet-policy', 'guard', 'network-policy'] as const satisfies readonly ProofLayer[];

/**
 * How far a layer is to be relied on. `enforced`: by somebody whom a book cannot overrule. `cooperative`: a book of some pod could get around it.
 * `unproven`: some of it could not be read, or nobody enforces it. `absent`: there is nothing that it would hold.
 */
export type ProofAssurance = 'enforced' | 'cooperative' | 'unproven' | 'absent';

/** What one finding is of. */
export type ProofFindingKind =
  // identity
  | 'foreign-namespace'
  | 'foreign-tailnet'
  | 'foreign-sidecar'
  | 'foreign-tag'
  | 'shared-credential'
  | 'shared-tailnet'
  // tailnet-policy
  | 'reaches-other-customer'
  | 'beyond-intent'
  | 'foreign-owner'
  | 'foreign-approver'
  | 'foreign-shell'
  // guard
  | 'guard-missing'
  | 'guard-altered'
  | 'blocked-open'
  | 'fails-open'
  | 'beyond-allowed'
  | 'cluster-into-tailnet'
  | 'userspace-unguarded'
  // network-policy
  | 'reaches-other-pod';

/** One thing that lets a customer's book reach what is not its own, or that would tell two customers for one. */
export interface ProofFinding {
  readonly layer: ProofLayer;
  readonly kind: ProofFindingKind;
  /** Empty where it is no tailnet's. */
  readonly tailnetName: string;
  /** Whose book reaches more than its own. */
  readonly customerId: string;
  /** Whom it reaches, where it is a customer's. */
  readonly otherCustomerId?: string;
  /** The entry at fault: `grants.3`, `5110 to 10.0.0.0/8 lookup 52`, `namespace acme`, `secret bifrost-customer-acme`. */
  readonly by: string;
  /** Where that is: `policy acme-production`, `workload acme/deployment-shop`, `pod acme/shop-1` where pods run otherwise. */
  readonly where: string;
}

/** Why a part is not `enforced`. */
export type ProofReason =
  | 'not-read'
  | 'book-may-bypass'
  | 'guard-outdated'
  | 'guard-unheard'
  | 'ranges-unknown'
  | 'node-network'
  | 'no-workload'
  | 'network-policies-unread'
  | 'network-policies-not-enforced';

/** A part of what was to be proven for which the layer is not `enforced`. */
export interface ProofReservation {
  readonly layer: ProofLayer;
  readonly assurance: 'cooperative' | 'unproven';
  readonly reason: ProofReason;
  /** `policy acme-production`, `workload acme/deployment-shop`, `pod acme/shop-1`, `installation`. */
  readonly subject: string;
  /** Of `not-read`: the error's code. */
  readonly code?: string;
}

/** How a layer stands: the weakest of its parts. */
export interface ProofLayerState {
  readonly layer: ProofLayer;
  readonly assurance: ProofAssurance;
  /** How many parts were judged: policies, pods' templates, tailnets. */
  readonly judged: number;
  readonly findings: number;
}

/** Who told what a proof is made of. */
export type ProofSource = 'manager' | 'store' | 'cluster' | 'control-plane' | 'agents';

/** One thing that was read back. */
export interface ProofInput {
  /** `policy acme-production`: unique in a proof. */
  readonly name: string;
  readonly from: ProofSource;
  /** As it was read; of objects, what a judgement needs of them, as JSON. Never a secret, nor a book's own variables. Empty where it was not read. */
  readonly text: string;
  /** Why it was not read: the error's code. */
  readonly unread?: string;
}

/** What a proof says of an input. */
export interface ProofInputHash extends Omit<ProofInput, 'text'> {
  /** SHA-256 of its text, hexadecimal. */
  readonly sha256: string;
}

/** What was proven, of which inputs, and what came of it: for whoever was not there. */
export interface IsolationProof {
  readonly v: 1;
  /** When reading began, ISO 8601. */
  readonly readAt: string;
  /** Whose: as the manager's options name it. */
  readonly installation: string;
  /** `open`: there are findings. `apart`: none; how much that says, `layers` and `reservations` tell. */
  readonly verdict: 'apart' | 'open';
  readonly customers: number;
  /** Of customers, in both directions. */
  readonly pairs: number;
  readonly tailnets: number;
  readonly sidecars: number;
  readonly layers: readonly ProofLayerState[];
  /** At most 1,000 of them. */
  readonly findings: readonly ProofFinding[];
  /** At most 1,000 of them: of the layers they are all counted. */
  readonly reservations: readonly ProofReservation[];
  readonly inputs: readonly ProofInputHash[];
  /** Of all that is above, in this order, as JSON without white space. */
  readonly sha256: string;
}

/** A proof, and what it is of: together they can be verified anywhere. */
export interface ProvenIsolation {
  readonly proof: IsolationProof;
  readonly inputs: readonly ProofInput[];
}

/**
 * What does not hold of a proof. `altered`: it is not as it was written. `input-missing`, `input-added`, `input-altered`: the inputs are not those that it
 * speaks of (`name` says which). `other-verdict`: judging the inputs again says something else.
 */
export interface ProofFault {
  readonly kind: 'altered' | 'input-missing' | 'input-added' | 'input-altered' | 'other-verdict';
  readonly name?: string;
}
