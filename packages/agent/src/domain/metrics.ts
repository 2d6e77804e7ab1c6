import { AGENT_SIGNS, PATH_CLASSES } from '@bifrost/types/core';
import type { TrafficCounters } from './counters.ts';
import type { DaemonPeer } from './daemon.ts';
import { approvedRoutes, nodeFromStatus, peersInUse, type View } from './judge.ts';
import { pathOf, SILENT_ROUNDS } from './pings.ts';
import { family, type Sample, single } from './prometheus.ts';
import type { DroppedPackets } from './survey.ts';

export interface ReportCounts {
  readonly sent: number;
  readonly failed: number;
  readonly buffered: number;
  readonly superseded: number;
  readonly overflowed: number;
  readonly refused: number;
}

/** What the agent knows of the daemon beside what it reports. */
export interface DaemonCounts {
  /** Of the present stream; undefined while there is none. */
  readonly busMask: number | undefined;
  /** Streams opened since the agent started. */
  readonly busStreams: number;
  readonly wedgeEpisodes: number;
  readonly dropped: DroppedPackets | undefined;
}

export interface MetricsInput {
  readonly view: View;
  readonly counters: TrafficCounters;
  readonly reports: ReportCounts;
  readonly daemon: DaemonCounts;
  readonly agentVersion: string;
}

/** Peers that get samples of their own: routers first, then the busiest in use. */
const MAX_PEERS = 16;

function namedPeers(view: View, counters: TrafficCounters): readonly DaemonPeer[] {
  const byName = new Map(peersInUse(view, counters).map((peer) => [peer.name, peer])); // two samples with the same labels would spoil the whole scrape
  return [...byName.values()].slice(0, MAX_PEERS);
}

const samplesOf = (peers: readonly DaemonPeer[], figureOf: (peer: DaemonPeer) => number | undefined): readonly Sample[] =>
  peers.flatMap((peer): Sample[] => {
    const value = figureOf(peer);
    return value === undefined ? [] : [[{ peer: peer.name }, value]];
  });

function latencyOf({ pings }: View, { id }: DaemonPeer): number | undefined {
  const ping = pings.get(id);
  return ping?.answer && ping.failures < SILENT_ROUNDS ? ping.answer.latencyMs / 1000 : undefined;
}

function nodeFamilies(view: View): readonly string[] {
  const node = nodeFromStatus(view);
  const expiresAtMs = node.keyExpiresAtMs;
  const { advertisedRoutes } = view.extras;
  return [
    single('usable', ['gauge', 'Whether the book can use its network.'], node.usable),
    single('daemon_reachable', ['gauge', 'Whether tailscaled answers.'], node.reachable),
    single('control_linked', ['gauge', 'Whether tailscaled is connected to its control plane.'], view.reachable ? node.controlLinked : undefined),
    single('key_expiry_timestamp_seconds', ['gauge', 'When the node key expires; absent when it does not.'], expiresAtMs && expiresAtMs / 1000),
    family('home_derp', ['gauge', 'The DERP region that the node is reached by.'], node.homeDerp ? [[{ region: node.homeDerp }, 1]] : []),
    single('health_warnings', ['gauge', 'Health warnings of tailscaled.'], node.health.length),
    family(
      'health_warning',
      ['gauge', 'Health warnings of tailscaled, by code.'],
      view.warnings.map(({ code, severity, impactsConnectivity = false }) => [
        { code, severity, impacts_connectivity: String(impactsConnectivity) },
        1,
      ]),
    ),
    family(
      'sign',
      ['gauge', 'What the agent itself finds wrong.'],
      AGENT_SIGNS.map((sign) => [{ sign }, Number(view.extras.signs.includes(sign))]),
    ),
    single('advertised_routes', ['gauge', 'Routes that the node offers.'], advertisedRoutes?.length),
    single('approved_routes', ['gauge', 'Those of them that the tailnet approved.'], advertisedRoutes && approvedRoutes(view).length),
  ];
}

function peerFamilies(view: View, counters: TrafficCounters): readonly string[] {
  const { status, pings, nowMs, extras } = view;
  const all = status?.peers ?? [];
  const paths = all.map((peer) => pathOf(peer, pings.get(peer.id)));
  const inUse = peersInUse(view, counters).length;
  const named = namedPeers(view, counters);
  const age = ({ lastHandshakeAtMs }: DaemonPeer) => lastHandshakeAtMs && Math.max(0, nowMs - lastHandshakeAtMs) / 1000;
  return [
    family(
      'peers',
      ['gauge', 'Peers by the way packets take to them.'],
      PATH_CLASSES.map((path) => [{ path }, paths.filter((each) => each === path).length]),
    ),
    single('peers_in_use', ['gauge', 'Routers, and peers that packets went to or came from lately.'], inUse),
    single('peers_idle', ['gauge', 'The other peers.'], all.length - inUse),
    single('path_changes_total', ['counter', 'Times that packets to a peer took another way.'], extras.paths.total),
    family(
      'peer_latency_seconds',
      ['gauge', 'Round trip of the last answered ping.'],
      samplesOf(named, (peer) => latencyOf(view, peer)),
    ),
    family('peer_handshake_age_seconds', ['gauge', 'Time since the last WireGuard handshake.'], samplesOf(named, age)),
    family(
      'peer_path_changes_total',
      ['counter', 'Times that packets to this peer took another way.'],
      samplesOf(named, ({ id }) => extras.paths.of(id).changes),
    ),
    family(
      'peer_info',
      ['gauge', 'Whose machine a peer in use is.'],
      named.map((peer) => {
        const { user = '', tags = [] } = extras.identityOf(peer.id);
        return [{ peer: peer.name, user, tags: tags.join(',') }, 1];
      }),
    ),
  ];
}

/** The agent's own metrics as Prometheus text. docs/agent.md lists them. */
export function renderMetrics({ view, counters, reports, daemon, agentVersion }: MetricsInput): string {
  const { rxBytes, txBytes } = counters.total;
  const { dropped } = daemon;
  return [
    family('build_info', ['gauge', 'Version of the agent.'], [[{ version: agentVersion }, 1]]),
    ...nodeFamilies(view),
    single('received_bytes_total', ['counter', 'Bytes from peers since the agent started.'], rxBytes),
    single('sent_bytes_total', ['counter', 'Bytes to peers since the agent started.'], txBytes),
    ...peerFamilies(view, counters),
    family(
      'daemon_error_drops_total',
      ['counter', 'Packets that tailscaled dropped because of errors, since it started.'],
      dropped === undefined ? [] : (['inbound', 'outbound'] as const).map((direction) => [{ direction }, dropped[direction]]),
    ),
    single('daemon_wedged_episodes_total', ['counter', 'Times that tailscaled ran and did not answer for too long.'], daemon.wedgeEpisodes),
    single('bus_streams_total', ['counter', 'Streams opened on the bus of tailscaled.'], daemon.busStreams),
    single('bus_mask', ['gauge', 'Mask of the present stream; absent while there is none.'], daemon.busMask),
    single('reports_sent_total', ['counter', 'Reports that the manager took.'], reports.sent),
    single('reports_failed_total', ['counter', 'Attempts to send that failed.'], reports.failed),
    single('reports_buffered', ['gauge', 'Reports that wait to be sent.'], reports.buffered),
    family(
      'reports_dropped_total',
      ['counter', 'Reports never sent: superseded by a newer one, no room, refused by the manager.'],
      (['superseded', 'overflowed', 'refused'] as const).map((cause) => [{ cause }, reports[cause]]),
    ),
  ].join('');
}
