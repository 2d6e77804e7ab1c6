import { type ReportV1, toWire } from '@bifrost/types/core';

interface Heartbeat {
  readonly sidecarId: string;
  readonly podUid: string;
  /** The pod's number: its device and addresses are its own. */
  readonly pod: number;
  readonly seq: number;
}

/** A typical heartbeat: one router, three other peers. As on the wire. */
export function heartbeat({ sidecarId, podUid, pod, seq }: Heartbeat): unknown {
  const peers = Array.from({ length: 4 }, (_, index) => ({
    id: `n00000${index}CNTRL`,
    name: `machine-${index}.tail1000.ts.net`,
    online: true,
    path: 'direct' as const,
    latencyMs: 4.2,
    rxBytes: 1_000 * seq,
    txBytes: 500 * seq,
    lastHandshakeAtMs: 1_790_000_000_000,
    ...(index === 0 ? { routes: ['10.0.0.0/8'] } : {}),
  }));
  const report: ReportV1 = {
    v: 1,
    sidecarId,
    podUid,
    agentVersion: '0.1.0',
    startId: 'bench-start',
    startedAtMs: 1_790_000_000_000,
    seq,
    sentAtMs: 1_790_000_000_000 + seq,
    reason: 'heartbeat',
    node: {
      reachable: true,
      backendState: 'Running',
      usable: true,
      deviceId: `n9${String(pod).padStart(5, '0')}CNTRL`,
      ips: [`100.64.9.${pod}`, `fd7a:115c:a1e0::9:${pod}`],
      health: [],
      homeDerp: 'lab',
    },
    rxBytes: 4_000 * seq,
    txBytes: 2_000 * seq,
    peers,
  };
  return toWire(report);
}
