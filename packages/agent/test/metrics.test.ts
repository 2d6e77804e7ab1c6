import { describe, expect, it } from 'vitest';
import { TrafficCounters } from '../src/domain/counters.ts';
import { type MetricsInput, renderMetrics } from '../src/domain/metrics.ts';
import { PathHistory } from '../src/domain/paths.ts';
import { extras, peer, status, view } from './support/views.ts';

const NOW = 1_800_000_000_000;
const reports = { sent: 1, failed: 2, buffered: 3, superseded: 4, overflowed: 5, refused: 6 };
const daemon = { busMask: 307_842, busStreams: 2, wedgeEpisodes: 1, dropped: { inbound: 7, outbound: 8 } };

function text(part: Partial<MetricsInput> = {}): string {
  return renderMetrics({ view: view(), counters: new TrafficCounters(), reports, daemon, agentVersion: '1.2.3', ...part });
}
const busy = Array.from({ length: 20 }, (_, index) =>
  peer({
    id: `n${index}`,
    name: index === 0 ? 'a"b\\c' : `peer-${index}`,
    active: true,
    rxBytes: 100 - index,
    lastHandshakeAtMs: NOW - 30_000,
    ...(index === 0 ? { routes: ['10.0.0.0/8'] } : {}),
  }),
);
const pings = new Map(busy.map(({ id }) => [id, { failures: 0, answer: { latencyMs: 5, path: 'direct' as const } }]));

describe('renderMetrics', () => {
  const paths = new PathHistory();
  for (const path of ['direct', 'derp', 'direct'] as const) paths.observe('n1', path, NOW);
  const counters = new TrafficCounters();
  counters.observe(busy);
  const everything = text({
    counters,
    view: view({
      status: status({ peers: [...busy, peer({ id: 'idle', name: 'idle' })], keyExpiresAtMs: 1_900_000_000_500, ownRoutes: ['10.1.0.0/24'] }),
      pings,
      warnings: [{ code: 'no-udp4-bind', severity: 'high', impactsConnectivity: true }],
      extras: extras({
        paths,
        identityOf: (id) => (id === 'n0' ? { tags: ['tag:a', 'tag:b'] } : id === 'n1' ? { user: 'anna@acme.example' } : {}),
        advertisedRoutes: ['10.1.0.0/24', '10.2.0.0/24'],
        signs: ['mtu'],
      }),
    }),
  });
  it.each([
    'build_info{version="1.2.3"} 1',
    'usable 1',
    'control_linked 1',
    'key_expiry_timestamp_seconds 1900000000.5',
    'home_derp{region="sim"} 1',
    'health_warnings 1',
    'health_warning{code="no-udp4-bind",severity="high",impacts_connectivity="true"} 1',
    'sign{sign="mtu"} 1',
    'sign{sign="daemon-wedged"} 0',
    'advertised_routes 2',
    'approved_routes 1',
    'peers{path="direct"} 20',
    'peers_in_use 20',
    'peers_idle 1',
    'path_changes_total 2',
    'peer_latency_seconds{peer="a\\"b\\\\c"} 0.005',
    'peer_handshake_age_seconds{peer="peer-1"} 30',
    'peer_path_changes_total{peer="peer-1"} 2',
    'peer_path_changes_total{peer="peer-2"} 0',
    'peer_info{peer="a\\"b\\\\c",user="",tags="tag:a,tag:b"} 1',
    'peer_info{peer="peer-1",user="anna@acme.example",tags=""} 1',
    'received_bytes_total 1810',
    'daemon_error_drops_total{direction="outbound"} 8',
    'daemon_wedged_episodes_total 1',
    'bus_streams_total 2',
    'bus_mask 307842',
    'reports_dropped_total{cause="overflowed"} 5',
  ])('has %s', (line) => expect(everything.split('\n')).toContain(`bifrost_agent_${line}`));

  it('is Prometheus text: each family once, each sample of its own', () => {
    const lines = everything.trimEnd().split('\n');
    for (const line of lines)
      expect(line).toMatch(/^# (HELP|TYPE) bifrost_agent_[a-z_]+ |^bifrost_agent_[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? [0-9.]+$/);
    expect(new Set(lines).size).toBe(lines.length);
  });
  it('names sixteen peers at most, routers first, and never two by one name', () => {
    expect(everything.match(/peer_latency_seconds\{/g)).toHaveLength(16);
    const twins = status({ peers: [peer({ id: 'a', active: true }), peer({ id: 'b', active: true })] });
    expect(text({ view: view({ status: twins }) }).match(/peer_info\{/g)).toHaveLength(1);
  });
  it('leaves out what is not known', () => {
    const unknown = text({
      view: view({ reachable: false, status: undefined }),
      daemon: { busMask: undefined, busStreams: 0, wedgeEpisodes: 0, dropped: undefined },
    });
    for (const name of ['control_linked', 'key_expiry', 'home_derp', 'advertised_routes', 'approved_routes', 'peer_info', 'error_drops', 'bus_mask'])
      expect(unknown).not.toContain(name);
    expect(unknown).toContain('bifrost_agent_daemon_reachable 0\n');
    expect(text({ view: view({ reachable: false }) })).not.toContain('control_linked'); // what was last known is no news
  });
});
