import { PATH_CLASSES } from '@bifrost/types/core';
import type { Traffic } from './counters.ts';
import { nodeFromStatus, type View } from './judge.ts';
import { pathOf, SILENT_ROUNDS } from './pings.ts';

export interface ReportCounts {
  readonly sent: number;
  readonly failed: number;
  readonly buffered: number;
  readonly superseded: number;
  readonly overflowed: number;
  readonly refused: number;
}

export interface MetricsInput {
  readonly view: View;
  readonly traffic: Traffic;
  readonly reports: ReportCounts;
  readonly agentVersion: string;
}

const MAX_LATENCIES = 16;
const label = (name: string, value: string): string => `{${name}="${value.replace(/[\\"\n]/g, (sign) => (sign === '\n' ? '\\n' : `\\${sign}`))}"}`;
type Sample = readonly [labels: string, value: number];

const family = (name: string, [type, help]: readonly [string, string], samples: readonly Sample[]): string =>
  samples.length === 0
    ? ''
    : `# HELP bifrost_agent_${name} ${help}\n# TYPE bifrost_agent_${name} ${type}\n${samples.map(([labels, value]) => `bifrost_agent_${name}${labels} ${value}\n`).join('')}`;

function latencies({ status, pings }: View): readonly Sample[] {
  return (status?.peers ?? [])
    .flatMap((peer): Sample[] => {
      const ping = pings.get(peer.id);
      return ping?.answer && ping.failures < SILENT_ROUNDS ? [[label('peer', peer.name), ping.answer.latencyMs / 1000]] : [];
    })
    .slice(0, MAX_LATENCIES);
}

/** The agent's own metrics as Prometheus text. */
export function renderMetrics({ view, traffic, reports, agentVersion }: MetricsInput): string {
  const node = nodeFromStatus(view);
  const paths = (view.status?.peers ?? []).map((peer) => pathOf(peer, view.pings.get(peer.id)));
  return [
    family('build_info', ['gauge', 'Version of the agent.'], [[label('version', agentVersion), 1]]),
    family('usable', ['gauge', 'Whether the book can use its network.'], [['', Number(node.usable)]]),
    family('daemon_reachable', ['gauge', 'Whether tailscaled answers.'], [['', Number(node.reachable)]]),
    family('health_warnings', ['gauge', 'Health warnings of tailscaled.'], [['', node.health.length]]),
    family('received_bytes_total', ['counter', 'Bytes from peers since the agent started.'], [['', traffic.rxBytes]]),
    family('sent_bytes_total', ['counter', 'Bytes to peers since the agent started.'], [['', traffic.txBytes]]),
    family(
      'peers',
      ['gauge', 'Peers by the way packets take to them.'],
      PATH_CLASSES.map((path) => [label('path', path), paths.filter((each) => each === path).length]),
    ),
    family('peer_latency_seconds', ['gauge', 'Round trip of the last answered ping.'], latencies(view)),
    family('reports_sent_total', ['counter', 'Reports that the manager took.'], [['', reports.sent]]),
    family('reports_failed_total', ['counter', 'Attempts to send that failed.'], [['', reports.failed]]),
    family('reports_buffered', ['gauge', 'Reports that wait to be sent.'], [['', reports.buffered]]),
    family(
      'reports_dropped_total',
      ['counter', 'Reports never sent: superseded by a newer one, no room, refused by the manager.'],
      (['superseded', 'overflowed', 'refused'] as const).map((cause) => [label('cause', cause), reports[cause]]),
    ),
  ].join('');
}
