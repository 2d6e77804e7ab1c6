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
}

/**
 * What an agent tells the manager, version 1. On the wire it is JSON with snake_case names.
 * Counters are absolute since `startedAtMs` of this `startId`; `seq` counts from 0 within a `startId`.
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
  /** At most 64. */
  readonly peers: readonly ReportPeer[];
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
}

/** The manager's answer to a report. */
export interface ReportAnswerV1 {
  readonly v: 1;
  /** Milliseconds until the next heartbeat is wanted. */
  readonly nextHeartbeatMs: number;
}

/** Limits that both ends keep. */
export const REPORT_LIMITS = { maxBytes: 65_536, maxPeers: 64, maxHealth: 32, maxIps: 8, maxRoutesPerPeer: 64 } as const;
