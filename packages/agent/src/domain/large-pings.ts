import type { PathClass } from '@bifrost/types/core';
import type { DaemonPeer } from './daemon.ts';
import type { PingRecord } from './pings.ts';

/** A disco ping of this size fills a UDP packet as much as WireGuard does with a full packet of the tunnel: 1280 bytes and 32 of its own. */
export const LARGE_PING_BYTES = 1312;
/** So many in a row get lost while small ones are answered: the way is too narrow. */
const LOST_THAT_TELL = 3;
const AGAIN_MS = 300_000;
const MAX_TARGETS = 4;

interface Probe {
  readonly lost: number;
  readonly nextAtMs: number;
}

/** Which peers lose full-size packets. Asked of direct ways only: a relay's link is TCP, which cuts packets to size by itself. */
export class LargePings {
  readonly #probes = new Map<string, Probe>();

  loses(peerId: string): boolean {
    return (this.#probes.get(peerId)?.lost ?? 0) >= LOST_THAT_TELL;
  }

  /** Whether this can be said of anyone. */
  get anyLoses(): boolean {
    return [...this.#probes.keys()].some((id) => this.loses(id));
  }

  /** Whom to ask now, of the peers in use: a lost one is asked again at the next occasion. */
  due(peers: readonly DaemonPeer[], pings: ReadonlyMap<string, PingRecord>, nowMs: number): readonly DaemonPeer[] {
    const isDirect = ({ id }: DaemonPeer): boolean => pings.get(id)?.failures === 0 && pings.get(id)?.answer?.path === 'direct';
    const direct = new Set(peers.filter(isDirect).map(({ id }) => id));
    for (const id of this.#probes.keys()) if (!direct.has(id)) this.#probes.delete(id);
    return peers.filter(({ id }) => direct.has(id) && (this.#probes.get(id)?.nextAtMs ?? 0) <= nowMs).slice(0, MAX_TARGETS);
  }

  /** `path` of the answer; undefined when none came. An answer by another way says nothing about the direct one. */
  record(peerId: string, path: PathClass | undefined, nowMs: number): void {
    const before = this.#probes.get(peerId)?.lost ?? 0;
    const lost = path === undefined ? before + 1 : path === 'direct' ? 0 : before;
    this.#probes.set(peerId, { lost, nextAtMs: lost > 0 && lost < LOST_THAT_TELL ? nowMs : nowMs + AGAIN_MS });
  }
}
