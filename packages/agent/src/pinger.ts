import { BifrostError } from '@bifrost/types/core';
import { Bell, pause } from './bell.ts';
import type { DaemonPeer } from './domain/daemon.ts';
import { doubtPing, type PingRecord, recordPing } from './domain/pings.ts';
import type { Clock } from './ports/clock.ts';
import type { LocalApi } from './ports/local-api.ts';

export interface PingerParts {
  readonly localApi: LocalApi;
  readonly clock: Clock;
  /** Between rounds, milliseconds. */
  readonly intervalMs: () => number;
  /** Whom a round that begins now asks. */
  readonly targets: () => readonly DaemonPeer[];
  /** Whether the daemon is there: what was asked of one that died meanwhile says nothing about peers. */
  readonly isDaemonThere: () => boolean;
  readonly onAnswer: () => void;
  /** A ping failed, and not for want of an answer. */
  readonly onTrouble: () => void;
}

/** A router that missed one round is asked again soon. */
const SUSPICION_MS = 2000;
/** However often the picture changes, rounds are not closer than that. */
const GAP_MS = 1000;
const PARALLEL = 4;

/** Asks the peers that matter, round after round. */
export class Pinger {
  readonly #parts: PingerParts;
  readonly #records = new Map<string, PingRecord>();
  readonly #bell = new Bell();

  constructor(parts: PingerParts) {
    this.#parts = parts;
  }

  get records(): ReadonlyMap<string, PingRecord> {
    return this.#records;
  }

  /** Another round soon. */
  ring(): void {
    this.#bell.ring();
  }

  /** Forgets all peers but these. */
  keep(peerIds: ReadonlySet<string>): void {
    for (const id of this.#records.keys()) if (!peerIds.has(id)) this.#records.delete(id);
  }

  /** Bad news from elsewhere: old answers count less. */
  doubt(): void {
    for (const [id, record] of this.#records) this.#records.set(id, doubtPing(record));
  }

  /** Pings until the signal aborts, then rejects with its reason. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#parts;
    for (let pauseMs = 0; ; ) {
      await this.#bell.wait(pauseMs, { signal });
      const asked = await this.#round(signal);
      const intervalMs = this.#parts.intervalMs() * (0.9 + 0.2 * clock.random());
      const isSuspicious = asked.some(({ id }) => this.#records.get(id)?.failures === 1);
      pauseMs = isSuspicious ? Math.min(intervalMs, SUSPICION_MS) : intervalMs;
      if (asked.length > 0) await pause(Math.min(intervalMs, GAP_MS), { signal });
    }
  }

  /** Pings those that matter, a few at a time. Answers with whom it asked. */
  async #round(signal: AbortSignal): Promise<readonly DaemonPeer[]> {
    const targets = this.#parts.targets();
    const waiting = targets.values();
    const one = async () => {
      for (const peer of waiting) await this.#ping(peer, signal);
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, targets.length) }, one));
    return targets;
  }

  async #ping({ id, ip }: DaemonPeer, signal: AbortSignal): Promise<void> {
    if (ip === undefined) return;
    try {
      const answer = await this.#parts.localApi.ping(ip, { signal });
      if (!this.#parts.isDaemonThere()) return;
      this.#records.set(id, recordPing(this.#records.get(id), answer));
      this.#parts.onAnswer();
    } catch (error) {
      signal.throwIfAborted();
      if (!BifrostError.is(error)) throw error;
      this.#parts.onTrouble(); // not the peer's fault: look whether the daemon is there
    }
  }
}
