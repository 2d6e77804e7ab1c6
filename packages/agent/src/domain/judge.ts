import { REPORT_LIMITS, type ReportNode, type ReportPeer } from '@bifrost/types/core';
import type { TrafficCounters } from './counters.ts';
import type { DaemonPeer, DaemonStatus } from './daemon.ts';
import { isAnswering, type PingRecord, pathOf, SILENT_ROUNDS } from './pings.ts';

/** All that a judgement rests on. */
export interface View {
  readonly reachable: boolean;
  /** What was last known; undefined before the first answer. */
  readonly status: DaemonStatus | undefined;
  readonly health: readonly string[];
  readonly pings: ReadonlyMap<string, PingRecord>;
  /** Whether the book is to use the routes of the customer's routers. */
  readonly acceptRoutes: boolean;
  /** The judgement before this one: what holds while a router that has just appeared was not asked yet. */
  readonly wasUsable: boolean;
  readonly nowMs: number;
}

/** Why a node is not usable, as one word. */
export type Hindrance = 'daemon' | 'login' | 'address' | 'relay' | 'router' | 'control';

const NO_RELAY = ['no-derp-connection', 'no-derp-home'];
const NO_CONTROL = 'not-in-map-poll';

const routersOf = (status: DaemonStatus): readonly DaemonPeer[] => status.peers.filter(({ routes }) => routes.length > 0);
const controlLost = (status: DaemonStatus, health: readonly string[]): boolean => !status.controlLinked || health.includes(NO_CONTROL);

const relayLost = (health: readonly string[]): boolean => NO_RELAY.some((code) => health.includes(code));

/** Whether the daemon itself says that a link is gone: what pings told before is to be asked again. */
export function isTroubled({ status, health }: View): boolean {
  return relayLost(health) || (status !== undefined && controlLost(status, health));
}

/** What keeps the node from being used; undefined when it is usable: joined, and with a way to the peers that matter. */
export function hindrance(view: View): Hindrance | undefined {
  const { status, health, pings, nowMs } = view;
  if (!view.reachable || !status) return 'daemon';
  if (status.backendState !== 'Running') return 'login';
  if (status.ips.length === 0) return 'address';
  const isDirect = (peer: DaemonPeer) => ['direct', 'peer-relay'].includes(pathOf(peer, pings.get(peer.id)));
  if (relayLost(health) && !status.peers.some(isDirect)) return 'relay';
  const routers = routersOf(status);
  const answers = (peer: DaemonPeer) => isAnswering(peer, pings.get(peer.id), nowMs);
  const isUnproven = view.wasUsable && routers.every(({ id }) => !pings.has(id));
  if (view.acceptRoutes && routers.length > 0 && !isUnproven && !routers.some(answers)) return 'router';
  // Control away is no harm while peers answer. Whom nobody asked yet has the benefit of the doubt: the next round asks.
  if (controlLost(status, health) && !someoneMayAnswer(status.peers, pings)) return 'control';
  return undefined;
}

function someoneMayAnswer(peers: readonly DaemonPeer[], pings: ReadonlyMap<string, PingRecord>): boolean {
  const asked = peers.flatMap(({ id }) => pings.get(id) ?? []);
  return asked.length === 0 ? peers.length > 0 : asked.some(({ failures }) => failures < SILENT_ROUNDS);
}

/** The daemon's own warnings, and the lost control link, which it sees at once but warns of minutes later. */
function healthOf({ status, health }: View): readonly string[] {
  if (!status || status.controlLinked || status.backendState !== 'Running' || health.includes(NO_CONTROL)) return health;
  return [...health.slice(0, REPORT_LIMITS.maxHealth - 1), NO_CONTROL].sort();
}

/** The node part of a report. */
export function nodeFromStatus(view: View): ReportNode {
  const { status } = view;
  return {
    reachable: view.reachable,
    backendState: status?.backendState ?? 'NoState',
    usable: hindrance(view) === undefined,
    ips: status?.ips ?? [],
    health: healthOf(view),
    ...(status?.deviceId === undefined ? {} : { deviceId: status.deviceId }),
    ...(status?.homeDerp === undefined ? {} : { homeDerp: status.homeDerp }),
    ...(status?.keyExpiresAtMs === undefined ? {} : { keyExpiresAtMs: status.keyExpiresAtMs }),
    ...(status?.daemonVersion === undefined ? {} : { daemonVersion: status.daemonVersion }),
  };
}

/** The peers part of a report, the busiest first; routers are in it even where they are not among the busiest. */
export function peersFromStatus({ status, pings }: View, counters: TrafficCounters): readonly ReportPeer[] {
  const bytes = ({ id }: DaemonPeer) => counters.of(id).rxBytes + counters.of(id).txBytes;
  const rank = ({ routes }: DaemonPeer) => (routes.length > 0 ? 1 : 0);
  const kept = [...(status?.peers ?? [])].sort((a, b) => rank(b) - rank(a) || bytes(b) - bytes(a)).slice(0, REPORT_LIMITS.maxPeers);
  return kept
    .sort((a, b) => bytes(b) - bytes(a))
    .map((peer) => {
      const ping = pings.get(peer.id);
      const latencyMs = ping && ping.failures < SILENT_ROUNDS ? ping.answer?.latencyMs : undefined;
      return {
        id: peer.id,
        name: peer.name,
        online: peer.online,
        path: pathOf(peer, ping),
        ...counters.of(peer.id),
        ...(latencyMs === undefined ? {} : { latencyMs }),
        ...(peer.lastHandshakeAtMs === undefined ? {} : { lastHandshakeAtMs: peer.lastHandshakeAtMs }),
        ...(peer.routes.length === 0 ? {} : { routes: peer.routes }),
      };
    });
}

/** Two views with the same key tell the manager the same: only another key is worth a report at once. */
export function changeKey(view: View): string {
  const node = nodeFromStatus(view);
  const routers = view.status ? routersOf(view.status).map((peer) => `${peer.id}=${pathOf(peer, view.pings.get(peer.id))}`) : [];
  const facts = [node.reachable, node.backendState, node.usable, node.ips, node.deviceId, node.homeDerp, node.health, routers.sort()];
  return JSON.stringify(facts);
}
