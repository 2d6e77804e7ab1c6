import type { GuardOrder, ReportGuard } from './guard.ts';
import type { PathClass } from './network.ts';

/** Why this report was sent. */
export type ReportReason = 'start' | 'change' | 'heartbeat' | 'stop';
/** All values of {@link ReportReason}. */
export const REPORT_REASONS = ['start', 'change', 'heartbeat', 'stop'] as const satisfies readonly ReportReason[];

/** One peer that the local daemon knows; the busiest come first. */
export interface ReportPeer {
  /** The control plane's stable id. */
  readonly id: string;
  readonly name: string;
  readonly online: boolean;
  readonly path: PathClass;
  /** Round trip of the last answered ping, milliseconds. */
  readonly latencyMs?: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Milliseconds since the Unix epoch; absent before the first handshake. */
  readonly lastHandshakeAtMs?: number;
  /** CIDRs that this peer routes for us. */
  readonly routes?: readonly string[];
  /** How often the way to it changed between working ways since the agent started; absent while it never did. */
  readonly pathChanges?: number;
  /** When it last did. Milliseconds since the Unix epoch. */
  readonly pathChangedAtMs?: number;
  /** Full-size packets get lost on the way while small ones pass: a path MTU below the tunnel's. */
  readonly losesLargePackets?: boolean;
  /** Login name of its owner, as the daemon knows it; absent for a tagged machine. */
  readonly user?: string;
  /** Its tags. At most 8. */
  readonly tags?: readonly string[];
}

/** How grave the daemon takes one of its warnings. */
export type WarningSeverity = 'high' | 'medium' | 'low';
/** All values of {@link WarningSeverity}. */
export const WARNING_SEVERITIES = ['high', 'medium', 'low'] as const satisfies readonly WarningSeverity[];

/** One health warning of the daemon. */
export interface ReportWarning {
  /** As in `health`. */
  readonly code: string;
  readonly severity: WarningSeverity;
  /** The daemon says that connections suffer from it. */
  readonly impactsConnectivity?: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly sinceMs?: number;
}

/**
 * What an agent itself finds wrong. An open set on the wire: a newer agent may say more.
 *
 * - `mtu`: full-size packets to a peer in use get lost
 * - `udp-offload`: the daemon's count of packets dropped by errors keeps rising; often a fault of UDP offloads
 * - `udp-gro-forwarding`: routes are advertised, and the interface is not set up to forward UDP fast
 * - `ip-forwarding`: routes are advertised, and the kernel does not forward
 * - `daemon-wedged`: the daemon runs and does not answer
 * - `wedge-limit`: it is so again, and the agent has said so often enough for this hour
 */
export type AgentSign = 'mtu' | 'udp-offload' | 'udp-gro-forwarding' | 'ip-forwarding' | 'daemon-wedged' | 'wedge-limit';
/** All values of {@link AgentSign}. */
export const AGENT_SIGNS = [
  'mtu',
  'udp-offload',
  'udp-gro-forwarding',
  'ip-forwarding',
  'daemon-wedged',
  'wedge-limit',
] as const satisfies readonly AgentSign[];

/**
 * What an agent tells the manager, version 1. On the wire it is JSON with snake_case names.
 * Counters are absolute since `startedAtMs` of this `startId`; `seq` counts from 0 within a `startId`.
 *
 * Heartbeats are brief: what changes seldom and decides nothing (the daemon's version and DERP region, routes of its own, `controlLinked` while it is
 * true, a peer's handshake, owner, and time of its last path change) is in one report of {@link FULL_REPORT_EVERY} and in all that are no heartbeats.
 */
export interface ReportV1 {
  readonly v: 1;
  readonly sidecarId: string;
  readonly podUid: string;
  readonly agentVersion: string;
  /** New at each agent start. */
  readonly startId: string;
  readonly startedAtMs: number;
  readonly seq: number;
  readonly sentAtMs: number;
  readonly reason: ReportReason;
  readonly node: ReportNode;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Routers and peers in use, at most 64. */
  readonly peers: readonly ReportPeer[];
  /** Known peers beside them; absent when there are none. */
  readonly idlePeers?: number;
  /** Only of an agent whose guard takes orders, and then in every report. */
  readonly guard?: ReportGuard;
}

/** The local daemon's own state. */
export interface ReportNode {
  /** False when the daemon's socket does not answer; the rest is then what was last known. */
  readonly reachable: boolean;
  /** The daemon's own word: "NoState", "NeedsLogin", "Starting", "Running", … Open set. */
  readonly backendState: string;
  /** Joined, control or a cached map at hand, and a way to its peers: not merely "has an address". */
  readonly usable: boolean;
  readonly deviceId?: string;
  readonly ips: readonly string[];
  /** Codes of the daemon's health warnings, e.g. `no-derp-connection`, `not-in-map-poll`. At most 32. */
  readonly health: readonly string[];
  readonly homeDerp?: string;
  /** Milliseconds since the Unix epoch; absent when the key does not expire. */
  readonly keyExpiresAtMs?: number;
  readonly daemonVersion?: string;
  /** Whether the daemon is connected to its control plane now. */
  readonly controlLinked?: boolean;
  /** The warnings behind `health`, as far as the daemon tells more than their codes. At most 32. */
  readonly warnings?: readonly ReportWarning[];
  /** What the agent itself finds wrong: {@link AgentSign}, and words of newer agents. At most 16. */
  readonly signs?: readonly string[];
  /** CIDRs that this machine offers to the tailnet. At most 64. */
  readonly advertisedRoutes?: readonly string[];
  /** Those of them that the tailnet's owner has approved. */
  readonly approvedRoutes?: readonly string[];
}

/** The manager's answer to a report. */
export interface ReportAnswerV1 {
  readonly v: 1;
  /** Milliseconds until the next heartbeat is wanted. */
  readonly nextHeartbeatMs: number;
  /** Only for an agent that says something of its guard, and only while what it says is not what the manager wants. */
  readonly guard?: GuardOrder;
}

/** Limits that both ends keep. */
export const REPORT_LIMITS = {
  maxBytes: 65_536,
  maxAnswerBytes: 131_072,
  maxPeers: 64,
  maxHealth: 32,
  maxSigns: 16,
  maxIps: 8,
  maxRoutesPerPeer: 64,
  maxTagsPerPeer: 8,
} as const;

/** A heartbeat whose `seq` is a multiple of this says everything; the others are brief. */
export const FULL_REPORT_EVERY = 6;
