import { REPORT_LIMITS, type ReportReason, type ReportV1, toWire } from '@bifrost/types/core';
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

/** One report about what is seen now. */
export function buildReport(
  reporting: Reporting,
  { seq, reason }: { readonly seq: number; readonly reason: ReportReason },
  seen: { readonly view: View; readonly counters: TrafficCounters },
): ReportV1 {
  return {
    v: 1,
    ...reporting,
    seq,
    sentAtMs: seen.view.nowMs,
    reason,
    node: nodeFromStatus(seen.view),
    ...seen.counters.total,
    peers: peersFromStatus(seen.view, seen.counters),
  };
}

/** The report's JSON. Where peers with many routes would make it too large for the manager, the least busy ones are left out. */
export function encodeReport(report: ReportV1): string {
  for (let peers = report.peers; ; peers = peers.slice(0, Math.floor(peers.length / 2))) {
    const body = JSON.stringify(toWire({ ...report, peers }));
    if (peers.length === 0 || byteLength(body) <= REPORT_LIMITS.maxBytes) return body;
  }
}

/** An upper bound in UTF-8, exact for ASCII. */
function byteLength(text: string): number {
  let length = text.length;
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) > 127) length += 2;
  return length;
}
