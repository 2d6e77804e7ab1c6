import type { Cause, ReportV1, SidecarStatus } from '@bifrost/types/core';

/** An instance's connection. `connectivity.md` beside this file numbers the invariants. */
export type ConnectionState = Extract<SidecarStatus, 'attaching' | 'connected' | 'degraded' | 'disconnected' | 'unknown'>;
/** What one report says, or that none came. */
export type Fact = 'healthy' | 'impaired' | 'broken' | 'silent';

export const NEXT = {
  attaching: { healthy: 'connected', impaired: 'degraded', broken: 'attaching', silent: 'attaching' },
  connected: { healthy: 'connected', impaired: 'degraded', broken: 'disconnected', silent: 'unknown' },
  degraded: { healthy: 'connected', impaired: 'degraded', broken: 'disconnected', silent: 'unknown' },
  disconnected: { healthy: 'connected', impaired: 'degraded', broken: 'disconnected', silent: 'unknown' },
  unknown: { healthy: 'connected', impaired: 'degraded', broken: 'disconnected', silent: 'unknown' },
} as const satisfies Record<ConnectionState, Record<Fact, ConnectionState>>;

/** Its packets pass, if not as they should. */
export const isUp = (status: SidecarStatus | undefined): boolean => status === 'connected' || status === 'degraded';

/** How an instance stands, with what hysteresis needs to remember. */
export interface Connection {
  readonly state: ConnectionState;
  readonly cause?: Cause;
  /** Consecutive heartbeats that spoke for leaving or entering `degraded`. */
  readonly leaning: number;
}

export interface Thresholds {
  /** A mean round trip to the routers above this is slow. Milliseconds. */
  readonly slowMs: number;
  /** A key that expires within this time counts as expiring. Milliseconds. */
  readonly keyExpiryMs: number;
  /** Consecutive heartbeats before connected and degraded change into each other. */
  readonly patience: number;
}
export const DEFAULT_THRESHOLDS: Thresholds = { slowMs: 500, keyExpiryMs: 24 * 3_600_000, patience: 3 };

export interface Assessment {
  readonly fact: Fact;
  readonly cause?: Cause;
}

const NO_RELAY = ['no-derp-home', 'no-derp-connection', 'derp-timed-out', 'derp-region-error'];
const NO_CONTROL = ['not-in-map-poll', 'mapresponse-timeout', 'login-state', 'tls-connection-failed'];
/**
 * Warnings that say nothing here, though the daemon says that connections suffer: every daemon warns when it starts, and whether a lost relay does harm
 * is told by the agent's pings, seconds later.
 */
const LEFT_TO_PINGS = ['warming-up', ...NO_RELAY];
const FORWARDING = 'ip-forwarding-off';
const hasAny = (codes: readonly string[], wanted: readonly string[]): boolean => codes.some((code) => wanted.includes(code));

/** The daemon does not say that it lacks a relay. */
export const hasRelay = ({ health }: Pick<ReportV1['node'], 'health'>): boolean => !hasAny(health, NO_RELAY);

function causeOfBroken({ node, peers }: ReportV1): Cause {
  if (!node.reachable) return 'pod';
  if (node.backendState === 'NeedsLogin' || node.backendState === 'NeedsMachineAuth') return 'key';
  if (node.backendState === 'Starting') return 'control-plane';
  if (node.backendState !== 'Running') return 'pod';
  if (!hasRelay(node)) return 'relay';
  const routers = peers.filter(({ routes }) => (routes?.length ?? 0) > 0);
  // Control says that a router is there, yet nothing answers: neither a direct nor a relayed path works.
  if (routers.some(({ online }) => online)) return 'relay';
  return hasAny(node.health, NO_CONTROL) ? 'control-plane' : 'route';
}

/** Judges one report. `nowMs` is the receiver's clock. */
export function assess(report: ReportV1, nowMs: number, thresholds: Thresholds): Assessment {
  const { node, peers } = report;
  if (!node.reachable || !node.usable) return { fact: 'broken', cause: causeOfBroken(report) };
  if (node.keyExpiresAtMs !== undefined && node.keyExpiresAtMs - nowMs < thresholds.keyExpiryMs) return { fact: 'impaired', cause: 'key' };
  if (node.controlLinked === false || hasAny(node.health, NO_CONTROL)) return { fact: 'impaired', cause: 'control-plane' };
  const warning = node.warnings?.find(({ code, impactsConnectivity }) => impactsConnectivity === true && !LEFT_TO_PINGS.includes(code));
  if (warning) return { fact: 'impaired', cause: warning.code === FORWARDING ? 'route' : 'pod' };
  const routers = peers.filter(({ routes, online }) => online && (routes?.length ?? 0) > 0);
  if (routers.some(({ path }) => path === 'derp')) return { fact: 'impaired', cause: 'relay' };
  if (routers.some(({ losesLargePackets }) => losesLargePackets === true)) return { fact: 'impaired', cause: 'route' };
  const latencies = routers.map(({ latencyMs }) => latencyMs).filter((latency) => latency !== undefined);
  if (latencies.length > 0 && Math.min(...latencies) > thresholds.slowMs) return { fact: 'impaired', cause: 'relay' };
  return { fact: 'healthy' };
}

const settle = (state: ConnectionState, cause: Cause | undefined): Connection => ({
  state,
  leaning: 0,
  ...(state === 'connected' || cause === undefined ? {} : { cause }),
});

/** The next connection. Losing and regaining it shows at once; only connected <-> degraded waits for `patience` heartbeats in a row. */
export function advance(current: Connection, { fact, cause }: Assessment, thresholds: Thresholds): Connection {
  const next = NEXT[current.state][fact];
  if (next === current.state) return settle(next, cause);
  const hesitates = (current.state === 'connected' && next === 'degraded') || (current.state === 'degraded' && next === 'connected');
  if (hesitates && current.leaning + 1 < thresholds.patience) return { ...current, leaning: current.leaning + 1 };
  // A first word from an instance that is merely relayed counts as connected until it has stayed so.
  if (next === 'degraded' && !hesitates && cause === 'relay') return { state: 'connected', leaning: 1 };
  return settle(next, cause);
}

/** A sidecar's status is its best instance's: one that works is enough for the book to be reached. */
export function statusOfInstances(states: readonly SidecarStatus[]): SidecarStatus {
  const order: readonly SidecarStatus[] = ['connected', 'degraded', 'disconnected', 'unknown', 'attaching'];
  return order.find((status) => states.includes(status)) ?? 'attaching';
}
