import { type AgentSign, REPORT_LIMITS, type ReportNode, type ReportPeer, type ReportWarning } from '@bifrost/types/core';
import type { TrafficCounters } from './counters.ts';
import type { DaemonPeer, DaemonStatus } from './daemon.ts';
import type { PathHistory } from './paths.ts';
import { isAnswering, isInUse, type PingRecord, pathOf, SILENT_ROUNDS } from './pings.ts';
import type { Identity } from './survey.ts';

/** All that a judgement rests on. */
export interface View {
  readonly reachable: boolean;
  /** What was last known; undefined before the first answer. */
  readonly status: DaemonStatus | undefined;
  readonly warnings: readonly ReportWarning[];
  readonly pings: ReadonlyMap<string, PingRecord>;
  /** Whether the book is to use the routes of the customer's routers. */
  readonly acceptRoutes: boolean;
  /** The judgement before this one: what holds while a router that has just appeared was not asked yet. */
  readonly wasUsable: boolean;
  readonly nowMs: number;
  /** What is found out beside the status. */
  readonly extras: Extras;
}

export interface Extras {
  readonly paths: Pick<PathHistory, 'of' | 'total'>;
  readonly identityOf: (peerId: string) => Identity;
  readonly losesLarge: (peerId: string) => boolean;
  /** Undefined while the daemon has not told. */
  readonly advertisedRoutes: readonly string[] | undefined;
  readonly signs: readonly AgentSign[];
}

/** Why a node is not usable, as one word. */
export type Hindrance = 'daemon' | 'login' | 'address' | 'relay' | 'router' | 'control';

const NO_RELAY = ['no-derp-connection', 'no-derp-home'];
const NO_CONTROL = 'not-in-map-poll';

const warns = (warnings: readonly ReportWarning[], code: string): boolean => warnings.some((warning) => warning.code === code);
const routersOf = (status: DaemonStatus): readonly DaemonPeer[] => status.peers.filter(({ routes }) => routes.length > 0);
const controlLost = ({ controlLinked }: DaemonStatus, warnings: readonly ReportWarning[]): boolean => !controlLinked || warns(warnings, NO_CONTROL);
const relayLost = (warnings: readonly ReportWarning[]): boolean => NO_RELAY.some((code) => warns(warnings, code));

/** Whether the daemon itself says that a link is gone: what pings told before is to be asked again. */
export function isTroubled({ status, warnings }: View): boolean {
  return relayLost(warnings) || (status !== undefined && controlLost(status, warnings));
}

/** What keeps the node from being used; undefined when it is usable: joined, and with a way to the peers that matter. */
export function hindrance(view: View): Hindrance | undefined {
  const { status, warnings, pings, nowMs } = view;
  if (!view.reachable || !status) return 'daemon';
  if (status.backendState !== 'Running') return 'login';
  if (status.ips.length === 0) return 'address';
  const isDirect = (peer: DaemonPeer) => ['direct', 'peer-relay'].includes(pathOf(peer, pings.get(peer.id)));
  if (relayLost(warnings) && !status.peers.some(isDirect)) return 'relay';
  const routers = routersOf(status);
  const answers = (peer: DaemonPeer) => isAnswering(peer, pings.get(peer.id), nowMs);
  const isUnproven = view.wasUsable && routers.every(({ id }) => !pings.has(id));
  if (view.acceptRoutes && routers.length > 0 && !isUnproven && !routers.some(answers)) return 'router';
  // Control away is no harm while peers answer. Whom nobody asked yet has the benefit of the doubt: the next round asks.
  if (controlLost(status, warnings) && !someoneMayAnswer(status.peers, pings)) return 'control';
  return undefined;
}

function someoneMayAnswer(peers: readonly DaemonPeer[], pings: ReadonlyMap<string, PingRecord>): boolean {
  const asked = peers.flatMap(({ id }) => pings.get(id) ?? []);
  return asked.length === 0 ? peers.length > 0 : asked.some(({ failures }) => failures < SILENT_ROUNDS);
}

/** The daemon's own warnings, and the lost control link, which it sees at once but warns of minutes later. */
function healthOf({ status, warnings }: View): readonly string[] {
  const codes = warnings.map(({ code }) => code);
  if (!status || status.controlLinked || status.backendState !== 'Running' || codes.includes(NO_CONTROL)) return codes;
  return [...codes.slice(0, REPORT_LIMITS.maxHealth - 1), NO_CONTROL].sort();
}

/** Those of the advertised routes that the tailnet sends to us. */
export function approvedRoutes({ status, extras }: View): readonly string[] {
  return (extras.advertisedRoutes ?? []).filter((route) => status?.ownRoutes.includes(route));
}

/** The node part of a report. */
export function nodeFromStatus(view: View): ReportNode {
  const { status, warnings, extras } = view;
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
    ...(status === undefined ? {} : { controlLinked: status.controlLinked }),
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(extras.signs.length === 0 ? {} : { signs: extras.signs }),
    ...(extras.advertisedRoutes?.length ? { advertisedRoutes: extras.advertisedRoutes, approvedRoutes: approvedRoutes(view) } : {}),
  };
}

/** Routers first, then the other peers in use, the busiest first: those that a report and the metrics name. */
export function peersInUse({ status, nowMs }: View, counters: TrafficCounters): readonly DaemonPeer[] {
  const bytes = ({ id }: DaemonPeer) => counters.of(id).rxBytes + counters.of(id).txBytes;
  const rank = ({ routes }: DaemonPeer) => (routes.length > 0 ? 1 : 0);
  return (status?.peers ?? []).filter((peer) => isInUse(peer, nowMs)).sort((a, b) => rank(b) - rank(a) || bytes(b) - bytes(a));
}

/** The peers part of a report, the busiest first; routers are in it even where they are not among the busiest. */
export function peersFromStatus(view: View, counters: TrafficCounters): readonly ReportPeer[] {
  const bytes = ({ rxBytes, txBytes }: ReportPeer) => rxBytes + txBytes;
  return peersInUse(view, counters)
    .slice(0, REPORT_LIMITS.maxPeers)
    .map((peer) => peerOf(peer, view, counters))
    .sort((a, b) => bytes(b) - bytes(a));
}

function peerOf(peer: DaemonPeer, { pings, extras }: View, counters: TrafficCounters): ReportPeer {
  const ping = pings.get(peer.id);
  const latencyMs = ping && ping.failures < SILENT_ROUNDS ? ping.answer?.latencyMs : undefined;
  const { changes, changedAtMs } = extras.paths.of(peer.id);
  return {
    id: peer.id,
    name: peer.name,
    online: peer.online,
    path: pathOf(peer, ping),
    ...counters.of(peer.id),
    ...(latencyMs === undefined ? {} : { latencyMs }),
    ...(peer.lastHandshakeAtMs === undefined ? {} : { lastHandshakeAtMs: peer.lastHandshakeAtMs }),
    ...(peer.routes.length === 0 ? {} : { routes: peer.routes }),
    ...(changes === 0 ? {} : { pathChanges: changes }),
    ...(changedAtMs === undefined ? {} : { pathChangedAtMs: changedAtMs }),
    ...(extras.losesLarge(peer.id) ? { losesLargePackets: true } : {}),
    ...extras.identityOf(peer.id),
  };
}

/** Two views with the same key tell the manager the same: only another key is worth a report at once. */
export function changeKey(view: View): string {
  const {
    reachable,
    backendState,
    usable,
    ips,
    deviceId,
    homeDerp,
    health,
    signs,
    advertisedRoutes,
    approvedRoutes: approved,
  } = nodeFromStatus(view);
  const routers = view.status ? routersOf(view.status).map((peer) => `${peer.id}=${pathOf(peer, view.pings.get(peer.id))}`) : [];
  return JSON.stringify([reachable, backendState, usable, ips, deviceId, homeDerp, health, routers.sort(), signs, advertisedRoutes, approved]);
}
