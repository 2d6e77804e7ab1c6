import type { PathClass } from './network.ts';

/** Of a packet. `icmp`: both families. */
export type PacketProtocol = 'tcp' | 'udp' | 'icmp';
/** All values of {@link PacketProtocol}. */
export const PACKET_PROTOCOLS = ['tcp', 'udp', 'icmp'] as const satisfies readonly PacketProtocol[];

/** Which packet is asked about: one of a sidecar's book. */
export interface ExplainRequest {
  readonly sidecarId: string;
  /** Where it goes: an address. */
  readonly to: string;
  /** From 1 to 65535; default: 443. `icmp` has none. */
  readonly port?: number;
  readonly protocol: PacketProtocol;
}

/** Where a packet's fate is decided, in the order in which it comes there. `preference`: a setting of the sidecar. */
export type ExplainLayer = 'guard' | 'network-policy' | 'preference' | 'route' | 'tailnet-policy';

/** What one layer does with a packet. `leaves`: it goes by the pod's own network. `unknown`: nobody can tell from here. */
export type ExplainOutcome = 'passes' | 'stops' | 'leaves' | 'unknown';

/** What one layer does with a packet, and why. */
export interface ExplainStep {
  readonly layer: ExplainLayer;
  readonly outcome: ExplainOutcome;
  /** The rule, route or entry that decides: `5100 to 10.9.0.0/16 prohibit`, `10.0.0.0/8 by gateway`, `grants.2`. */
  readonly by?: string;
  readonly message: string;
}

/** What comes of a packet. `outside`: it does not go through the tunnel at all. */
export type PacketVerdict = 'allowed' | 'denied' | 'outside' | 'unknown';

/** Whether a packet arrives, and what decides that. */
export interface PacketExplanation {
  readonly verdict: PacketVerdict;
  /** The layer that decides: the one that stops it, or the last. */
  readonly layer: ExplainLayer;
  readonly by?: string;
  readonly steps: readonly ExplainStep[];
  /** What the agents said last: verdicts are of rules, this is of the connection. */
  readonly evidence: ExplainEvidence;
}

/** What the agents of a sidecar's pods said last. */
export interface ExplainEvidence {
  readonly instances: number;
  /** Of those: connected or degraded. */
  readonly connectedInstances: number;
  readonly lastReportAt?: Date;
  /** Of the device that the packet's route goes by. Absent where it goes by none, and where no agent has told of it. */
  readonly carrier?: CarrierEvidence;
}

/**
 * What an agent said last of a router or device that packets go by: of several pods, and of several that offer the
 * same network, the one that was used last.
 */
export interface CarrierEvidence {
  /** The control plane's stable id. */
  readonly deviceId: string;
  readonly name: string;
  /** How packets to it travel: `derp` and `peer-relay` by a relay; `none`: no way is in use, or none answers. */
  readonly path: PathClass;
  readonly online: boolean;
  /** When it was told. */
  readonly toldAt: Date;
  readonly podName: string;
  /** When bytes last moved to it or from it; absent while the manager has seen none. */
  readonly lastUsedAt?: Date;
  /** Absent before the first. */
  readonly lastHandshakeAt?: Date;
}

/** What the pods of a book lose by a NetworkPolicy. `cut` is for people: `everything but port 53 of pods k8s-app=kube-dns …`. */
export interface NetworkPolicyCut {
  /** `egress`: they could send there. `ingress`: those could send to them. */
  readonly direction: 'egress' | 'ingress';
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly cut: string;
}

/** NetworkPolicies for one book with a sidecar, as they would be. Nothing of it has been written. */
export interface NetworkPolicyPlan {
  readonly sidecarId: string;
  /** In Kubernetes' own words. */
  readonly manifests: readonly object[];
  /** Beside the policies that are there. Empty: nothing is lost. */
  readonly cuts: readonly NetworkPolicyCut[];
}

/** What a change does to what books can reach: of a tailnet's intent all of its books, of a sidecar its own. */
export interface AccessChange {
  /** Ranges that can be reached from then on, and could not before. */
  readonly gained: readonly string[];
  /** Ranges that could be reached before, and cannot from then on. */
  readonly lost: readonly string[];
  /** The tailnet's own devices. */
  readonly devices: 'same' | 'gained' | 'lost';
  /** With which this is gained and lost, as a grant has them: `*` is every port and protocol, `tcp:443` one. Sorted. */
  readonly ports: readonly string[];
  /**
   * Ids of the book deployments that gain and lose this: those that have a sidecar in the tailnet now, which takes routes
   * where only these are concerned. Sorted.
   */
  readonly books: readonly string[];
}

/** Who of the tailnet comes to a book from then on, and who no longer does, by entries of ours in the tailnet's policy. */
export interface CallerChange {
  readonly gained: readonly CallerWay[];
  readonly lost: readonly CallerWay[];
}

/** A way to a book, or to what its sidecar offers. */
export interface CallerWay {
  /** Tag of those who have it: of the customer's routers. */
  readonly from: string;
  /** The book's own tag: its sidecar's shell; or a range that the sidecar offers. */
  readonly to: string;
  /** As a grant has them: `tcp:22`; `*` is every port and protocol. */
  readonly ports: readonly string[];
}

/** What a change writes elsewhere, in one of the places that enforce an intent. */
export interface OutputChange {
  readonly output: 'tailnet-policy' | 'guard';
  /** In the place's own words: `grants {"src":…}`, `5100 to 10.9.0.0/16 prohibit`. Sorted. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** What may be meant otherwise. Nothing is refused for it. */
export type PolicyWarningCode =
  | 'ALLOWED_WHOLLY_BLOCKED'
  | 'BLOCKED_NOT_ALLOWED'
  | 'BLOCKED_AMONG_DEVICES'
  | 'ALLOWED_AMONG_DEVICES'
  | 'ALLOWED_UNROUTABLE'
  | 'OVERLAPS_CLUSTER'
  | 'CLUSTER_AMONG_DEVICES'
  | 'ROUTES_OVERLAP'
  | 'OPEN_GRANT';

/** One thing that an intent says and its author may not have meant. */
export interface PolicyWarning {
  readonly code: PolicyWarningCode;
  /** Of the request: `config.allowedNetworks.3`; of what is elsewhere: `cluster.pods.0`, `policy.grants.2`. */
  readonly path: string;
  readonly message: string;
}

/** The peers of a tailnet that its books have used within the last ten minutes, by the agents' reports since the manager's start. */
export interface LivePeers {
  readonly total: number;
  /** Of those: nothing that lies behind them could be reached any more. */
  readonly lost: number;
  /** At most 256; those that would be lost wholly come first. */
  readonly losing: readonly LosingPeer[];
}

/** A peer in use, a router mostly, that a change takes away. */
export interface LosingPeer {
  /** The control plane's stable id. */
  readonly peerId: string;
  readonly name: string;
  /** CIDRs that it carries. */
  readonly routes: readonly string[];
  readonly loss: PeerLoss;
  /** Instances that have used it. */
  readonly instances: number;
  readonly lastUsedAt: Date;
}

/** How much of what lies behind a peer is lost. */
export type PeerLoss = 'all' | 'some';
