import type { PathClass } from '@bifrost/types/core';
import type { DaemonPeer } from './daemon.ts';

export interface PingAnswer {
  readonly latencyMs: number;
  readonly path: PathClass;
}

/** What the last ping rounds said about one peer. */
export interface PingRecord {
  /** Rounds without an answer, in a row. */
  readonly failures: number;
  /** The last answer, if there ever was one. */
  readonly answer: PingAnswer | undefined;
}

/** A peer that misses so many rounds in a row does not answer any more. */
export const SILENT_ROUNDS = 2;
/** A WireGuard session ends after that time without a new handshake. */
const SESSION_MS = 180_000;

export function recordPing(previous: PingRecord | undefined, answer: PingAnswer | undefined): PingRecord {
  if (answer) return { failures: 0, answer };
  return { failures: (previous?.failures ?? 0) + 1, answer: previous?.answer };
}

/** After other bad news an old answer counts less: one more silent round ends it. */
export const doubtPing = (record: PingRecord): PingRecord => ({ ...record, failures: Math.max(record.failures, SILENT_ROUNDS - 1) });

/** Whether packets reach the peer, by its pings, or by its session where pings have not told yet. */
export function isAnswering(peer: DaemonPeer, ping: PingRecord | undefined, nowMs: number): boolean {
  if (ping && ping.failures >= SILENT_ROUNDS) return false;
  if (ping?.answer) return true;
  return peer.lastHandshakeAtMs !== undefined && nowMs - peer.lastHandshakeAtMs < SESSION_MS;
}

/** How packets to the peer travel: what the daemon has proven, else what the last ping saw, else the relay when it is in use. */
export function pathOf(peer: DaemonPeer, ping: PingRecord | undefined): PathClass {
  if (peer.proven) return peer.proven;
  if (ping && ping.failures > 0) return ping.failures >= SILENT_ROUNDS ? 'none' : (ping.answer?.path ?? 'none');
  if (ping?.answer) return ping.answer.path;
  return peer.relayed && (peer.active || peer.lastHandshakeAtMs !== undefined) ? 'derp' : 'none';
}

/** Whether the manager hears of this peer by itself: a router, or one that packets went to or came from lately. The others are idle. */
export function isInUse({ routes, active, lastHandshakeAtMs }: DaemonPeer, nowMs: number): boolean {
  return routes.length > 0 || active || (lastHandshakeAtMs !== undefined && nowMs - lastHandshakeAtMs < SESSION_MS);
}

const MAX_TARGETS = 16;
/** With no link to control and nobody to ask, so many quiet peers are asked whether we still reach anything. */
const MAX_WITNESSES = 3;

const bytes = (peer: DaemonPeer): number => peer.rxBytes + peer.txBytes;

/** Whom the next round asks: routers first, then active peers, the busiest first. */
export function pingTargets(peers: readonly DaemonPeer[], controlLinked: boolean): readonly DaemonPeer[] {
  const reachable = peers.filter(({ ip }) => ip !== undefined).sort((a, b) => bytes(b) - bytes(a));
  const wanted = [
    ...reachable.filter(({ routes }) => routes.length > 0),
    ...reachable.filter(({ routes, active }) => routes.length === 0 && active),
  ].slice(0, MAX_TARGETS);
  if (wanted.length > 0 || controlLinked) return wanted;
  return reachable.filter(({ online }) => online).slice(0, MAX_WITNESSES);
}
