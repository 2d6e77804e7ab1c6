import type { LivePeers, LosingPeer, PathClass, ReportPeer, ReportV1 } from '@bifrost/types/core';
import { lossesOf } from '../domain/policy/access-change.ts';
import type { Reach } from '../domain/policy/reach.ts';
import type { Context } from './context.ts';

/** A peer as an instance last told of it. */
export interface SeenPeer {
  readonly id: string;
  readonly name: string;
  readonly routes: readonly string[];
  /** To and from it since the agent's start. */
  readonly bytes: number;
  /** When packets last went to it or came from it; undefined: never that we know. */
  readonly usedAtMs: number | undefined;
  readonly path: PathClass;
  readonly online: boolean;
  /** By our clock. Brief reports leave it out: then it is as was told before. */
  readonly handshakeAtMs: number | undefined;
  /** When a report last named it. */
  readonly toldAtMs: number;
}

/** Of each instance: the busiest come first in a report. */
const MOST_PEERS = 16;
/** Of a plan's list; the numbers beside it are of all. */
const MOST_LISTED = 256;
/** A peer that nothing has gone to or come from for longer is not in use. */
const LATELY_MS = 600_000;
/** A session is renewed within so long for as long as packets pass. */
const SESSION_MS = 180_000;

const NONE: readonly string[] = [];

/** What an instance knows of its peers after a report. Those that were in use lately stay known while reports leave them out. */
export function notedPeers(before: readonly SeenPeer[], report: Pick<ReportV1, 'peers' | 'sentAtMs'>, nowMs: number): readonly SeenPeer[] {
  const told = report.peers.slice(0, MOST_PEERS).map((peer) => {
    const known = before.find(({ id }) => id === peer.id);
    return seen(peer, { known, nowMs, sentAtMs: report.sentAtMs });
  });
  const kept = before.filter(({ id, usedAtMs }) => isLately(usedAtMs, nowMs) && !told.some((peer) => peer.id === id));
  return [...told, ...kept].slice(0, MOST_PEERS);
}

interface Look {
  readonly known: SeenPeer | undefined;
  readonly nowMs: number;
  readonly sentAtMs: number;
}

function seen(peer: ReportPeer, { known, nowMs, sentAtMs }: Look): SeenPeer {
  const { id, name, path, online, rxBytes, txBytes, lastHandshakeAtMs, routes = NONE } = peer;
  const bytes = rxBytes + txBytes;
  const sessionMs = lastHandshakeAtMs === undefined ? undefined : sentAtMs - lastHandshakeAtMs;
  // Of one that is heard of for the first time only its session tells whether its bytes are new.
  const isFresh = sessionMs !== undefined && sessionMs < SESSION_MS;
  const isUsed = known === undefined ? bytes > 0 && isFresh : bytes > known.bytes;
  return {
    ...{ id, name, path, online, bytes, toldAtMs: nowMs },
    routes: known !== undefined && isSame(known.routes, routes) ? known.routes : routes,
    usedAtMs: isUsed ? nowMs : known?.usedAtMs,
    handshakeAtMs: sessionMs === undefined ? known?.handshakeAtMs : ago(nowMs, sessionMs),
  };
}

/** By our clock, whatever the agent's says: never to come, and never before all time. */
const ago = (nowMs: number, sinceMs: number): number => Math.max(0, nowMs - Math.max(0, sinceMs));

const isSame = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((route, index) => route === b[index]);

const isLately = (usedAtMs: number | undefined, nowMs: number): usedAtMs is number => usedAtMs !== undefined && nowMs - usedAtMs < LATELY_MS;

interface InUse {
  readonly peer: SeenPeer;
  readonly usedAtMs: number;
  readonly instances: number;
}

/** The peers of a tailnet that its instances have used lately, each once, as far as this manager has heard. */
function inUse({ instances, observed, clock }: Context, tailnetName: string): readonly InUse[] {
  const nowMs = clock.nowMs();
  const found = new Map<string, InUse>();
  for (const { key } of observed.sidecarsOf(tailnetName))
    for (const { peers } of instances.of(key))
      for (const peer of peers) {
        if (!isLately(peer.usedAtMs, nowMs)) continue;
        const known = found.get(peer.id);
        const isNewer = known === undefined || peer.usedAtMs > known.usedAtMs;
        found.set(peer.id, {
          peer: isNewer ? peer : known.peer,
          usedAtMs: isNewer ? peer.usedAtMs : known.usedAtMs,
          instances: (known?.instances ?? 0) + 1,
        });
      }
  return [...found.values()];
}

/** Which of the peers that are in use now a change takes away, wholly or in part. Undefined: none is in use. */
export function livePeersOf(
  context: Context,
  tailnetName: string,
  reaches: { readonly before: Reach; readonly after: Reach },
): LivePeers | undefined {
  const live = inUse(context, tailnetName);
  if (live.length === 0) return undefined;
  const lossOf = lossesOf(reaches);
  const losing = live.flatMap(({ peer: { id, name, routes }, usedAtMs, instances }): readonly LosingPeer[] => {
    const loss = lossOf(routes);
    return loss === 'nothing' ? [] : [{ peerId: id, name, routes, loss, instances, lastUsedAt: new Date(usedAtMs) }];
  });
  const lost = losing.filter(({ loss }) => loss === 'all').length;
  const rank = ({ loss, name }: LosingPeer): string => `${loss} ${name}`;
  const listed = losing.sort((a, b) => (rank(a) < rank(b) ? -1 : 1)).slice(0, MOST_LISTED);
  return { total: live.length, lost, losing: listed };
}
