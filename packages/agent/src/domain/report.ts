import { FULL_REPORT_EVERY, REPORT_LIMITS, type ReportGuard, type ReportPeer, type ReportReason, type ReportV1, toWire } from '@bifrost/types/core';
import type { TrafficCounters } from './counters.ts';
import { nodeFromStatus, peersFromStatus, type View } from './judge.ts';

/** Who reports; the same for all reports of one start. */
export interface Reporting {
  readonly sidecarId: string;
  readonly podUid: string;
  readonly agentVersion: string;
  readonly startId: string;
  readonly startedAtMs: number;
}

/** One report about what is seen now; brief where it is a heartbeat and another one has said everything. */
export function buildReport(
  reporting: Reporting,
  { seq, reason }: { readonly seq: number; readonly reason: ReportReason },
  seen: { readonly view: View; readonly counters: TrafficCounters; readonly guard?: ReportGuard },
): ReportV1 {
  const peers = peersFromStatus(seen.view, seen.counters);
  const idlePeers = (seen.view.status?.peers.length ?? 0) - peers.length;
  const report: ReportV1 = {
    v: 1,
    ...reporting,
    seq,
    sentAtMs: seen.view.nowMs,
    reason,
    node: nodeFromStatus(seen.view),
    ...seen.counters.total,
    peers,
    ...(idlePeers > 0 ? { idlePeers } : {}),
    ...(seen.guard === undefined ? {} : { guard: seen.guard }),
  };
  return reason === 'heartbeat' && seq % FULL_REPORT_EVERY !== 0 ? brief(report) : report;
}

/** Without what changes seldom and decides nothing: a heartbeat is sent every few seconds by every pod. */
function brief({ node, peers, ...rest }: ReportV1): ReportV1 {
  const { homeDerp, daemonVersion, advertisedRoutes, approvedRoutes, controlLinked, ...told } = node;
  return { ...rest, node: { ...told, ...(controlLinked === false ? { controlLinked } : {}) }, peers: peers.map(briefPeer) };
}

function briefPeer({ lastHandshakeAtMs, pathChangedAtMs, user, tags, ...told }: ReportPeer): ReportPeer {
  return told;
}

/** The report's JSON. Where peers with many routes would make it too large for the manager, the least busy ones are left out. */
export function encodeReport(report: ReportV1): string {
  const known = report.peers.length + (report.idlePeers ?? 0);
  for (let peers = report.peers; ; peers = peers.slice(0, Math.floor(peers.length / 2))) {
    const left = known - peers.length;
    const body = JSON.stringify(toWire({ ...report, peers, ...(left > 0 ? { idlePeers: left } : {}) }));
    if (peers.length === 0 || byteLength(body) <= REPORT_LIMITS.maxBytes) return body;
  }
}

/** An upper bound in UTF-8, exact for ASCII. */
function byteLength(text: string): number {
  let length = text.length;
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) > 127) length += 2;
  return length;
}
