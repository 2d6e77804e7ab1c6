import { BifrostError } from '@bifrost/types/core';
import { Bell, pause } from './bell.ts';
import { backoffMs } from './domain/backoff.ts';
import { TrafficCounters } from './domain/counters.ts';
import { busMask, type DaemonPeer, type DaemonStatus } from './domain/daemon.ts';
import { changeKey, hindrance, isTroubled, type View } from './domain/judge.ts';
import { doubtPing, type PingRecord, pingTargets, recordPing } from './domain/pings.ts';
import type { Clock } from './ports/clock.ts';
import type { LocalApi } from './ports/local-api.ts';
import type { Logger } from './ports/logger.ts';
import { together } from './together.ts';

export interface WatcherParts {
  readonly localApi: LocalApi;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly acceptRoutes: boolean;
  /** How often the daemon is asked when it says nothing by itself, and pinged through. Milliseconds. */
  readonly intervalMs: () => number;
  /** The picture differs from the last one in something that the manager acts on. */
  readonly onChange: () => void;
}
interface Waiting {
  readonly signal: AbortSignal;
}

const STATUS_TIMEOUT_MS = 3000;
/** The first look is short: the first report must not wait for a daemon that hangs. */
const FIRST_TIMEOUT_MS = 500;
/** One failed answer of a living daemon is no news; a socket where nobody listens, and silence, are. */
const MAX_READS = 2;
const CERTAIN = ['gone', 'timeout'];
/** How often a daemon that is away is looked for. */
const AWAY_POLL_MS = 500;
/** Hints come in bursts; reads do not. */
const HINT_GAP_MS = 200;
/** A router that missed one round is asked again soon. */
const SUSPICION_MS = 2000;
/** However often the picture changes, rounds are not closer than that. */
const PING_GAP_MS = 1000;
const PARALLEL_PINGS = 4;
const STREAM_BACKOFF = { baseMs: 200, maxMs: 15_000 } as const;
/** A stream that lasted so long was a good one. */
const STABLE_STREAM_MS = 5000;

/**
 * Knows what the daemon sees. A message on the daemon's bus is only a hint; the status is read again, one read at a time, and also at each
 * interval, so a lost hint costs nothing but time.
 */
export class Watcher {
  readonly counters = new TrafficCounters();
  readonly #parts: WatcherParts;
  readonly #pings = new Map<string, PingRecord>();
  readonly #readBell = new Bell();
  readonly #pingBell = new Bell();
  readonly #streamBell = new Bell();
  #reachable = false;
  #status: DaemonStatus | undefined;
  #health: readonly string[] = [];
  #key = '';
  #looked = false;
  #troubled = false;
  #wasUsable = false;

  constructor(parts: WatcherParts) {
    this.#parts = parts;
  }

  view(): View {
    return {
      reachable: this.#reachable,
      status: this.#status,
      health: this.#health,
      pings: this.#pings,
      acceptRoutes: this.#parts.acceptRoutes,
      wasUsable: this.#wasUsable,
      nowMs: this.#parts.clock.nowMs(),
    };
  }

  /** The first look. Rejects with `signal.reason` itself on abort; a daemon that is away is no error. */
  async look({ signal }: Waiting): Promise<void> {
    await this.#read(FIRST_TIMEOUT_MS, { signal });
    const view = this.view();
    this.#key = changeKey(view);
    this.#wasUsable = hindrance(view) === undefined;
  }

  /** Watches until the signal aborts, then rejects with its reason. */
  async run({ signal }: Waiting): Promise<void> {
    await together([(each) => this.#readLoop(each), (each) => this.#streamLoop(each), (each) => this.#pingLoop(each)], signal);
    signal.throwIfAborted();
  }

  async #readLoop(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#readBell.wait(this.#reachable ? this.#parts.intervalMs() : Math.min(AWAY_POLL_MS, this.#parts.intervalMs()), { signal });
      await this.#read(STATUS_TIMEOUT_MS, { signal });
      this.#judge();
      await pause(HINT_GAP_MS, { signal });
    }
  }

  async #read(timeoutMs: number, { signal }: Waiting): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#take(await this.#parts.localApi.status({ signal, timeoutMs }));
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (!BifrostError.is(error)) throw error;
        if (attempt < MAX_READS && !CERTAIN.includes(error.details['reason'] ?? '')) continue;
        this.#lose(error);
        return;
      }
    }
  }

  #take(status: DaemonStatus): void {
    if (this.#looked) this.counters.observe(status.peers);
    else this.counters.start(status.peers);
    this.#looked = true;
    this.#status = status;
    const known = new Set(status.peers.map(({ id }) => id));
    for (const id of this.#pings.keys()) if (!known.has(id)) this.#pings.delete(id);
    if (this.#reachable) return;
    this.#reachable = true;
    this.#parts.logger.log('info', 'daemon answers', { backendState: status.backendState, daemonVersion: status.daemonVersion });
    this.#streamBell.ring();
  }

  #lose(error: BifrostError): void {
    this.#looked = true; // a daemon that starts after us counts from zero
    if (error.details['reason'] === 'gone') this.counters.daemonEnded();
    this.#pings.clear();
    this.#health = [];
    if (this.#reachable) this.#parts.logger.log('warn', 'daemon does not answer', { code: error.code, reason: error.details['reason'] });
    this.#reachable = false;
  }

  /** Reports a change. What did not come from pings themselves is worth a round of pings at once. */
  #judge({ byPing = false }: { readonly byPing?: boolean } = {}): void {
    const view = this.view();
    const isTroubledNow = isTroubled(view);
    if (isTroubledNow && !this.#troubled) for (const [id, record] of this.#pings) this.#pings.set(id, doubtPing(record));
    this.#troubled = isTroubledNow;
    this.#wasUsable = hindrance(view) === undefined;
    const key = changeKey(view);
    if (key === this.#key) return;
    this.#key = key;
    this.#parts.onChange();
    if (!byPing) this.#pingBell.ring();
  }

  async #streamLoop(signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      while (!this.#reachable) await this.#streamBell.wait(Number.POSITIVE_INFINITY, { signal });
      const since = this.#parts.clock.monotonicMs();
      await this.#follow(signal);
      this.#readBell.ring(); // the usual reason for an ended stream is a daemon that died
      if (this.#parts.clock.monotonicMs() - since > STABLE_STREAM_MS) attempt = 1;
      await pause(backoffMs({ attempt, random: this.#parts.clock.random(), ...STREAM_BACKOFF }), { signal });
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      for await (const { health } of this.#parts.localApi.watch(busMask(this.#status?.daemonVersion), { signal })) {
        if (health) this.#health = health;
        this.#readBell.ring();
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!BifrostError.is(error)) throw error;
    }
  }

  async #pingLoop(signal: AbortSignal): Promise<void> {
    for (let pauseMs = 0; ; ) {
      await this.#pingBell.wait(pauseMs, { signal });
      const asked = await this.#round(signal);
      const intervalMs = this.#parts.intervalMs() * (0.9 + 0.2 * this.#parts.clock.random());
      const isSuspicious = asked.some(({ id }) => this.#pings.get(id)?.failures === 1);
      pauseMs = isSuspicious ? Math.min(intervalMs, SUSPICION_MS) : intervalMs;
      if (asked.length > 0) await pause(Math.min(intervalMs, PING_GAP_MS), { signal });
    }
  }

  /** Pings those that matter, a few at a time. Answers with whom it asked. */
  async #round(signal: AbortSignal): Promise<readonly DaemonPeer[]> {
    if (!this.#reachable || this.#status?.backendState !== 'Running') return [];
    const targets = pingTargets(this.#status.peers, this.#status.controlLinked);
    const waiting = targets.values();
    const one = async () => {
      for (const peer of waiting) await this.#ping(peer, signal);
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL_PINGS, targets.length) }, one));
    return targets;
  }

  async #ping(peer: DaemonPeer, signal: AbortSignal): Promise<void> {
    if (peer.ip === undefined) return;
    try {
      const answer = await this.#parts.localApi.ping(peer.ip, { signal });
      if (!this.#reachable) return; // asked of a daemon that has died meanwhile
      this.#pings.set(peer.id, recordPing(this.#pings.get(peer.id), answer));
      this.#judge({ byPing: true });
    } catch (error) {
      signal.throwIfAborted();
      if (!BifrostError.is(error)) throw error;
      this.#readBell.ring(); // not the peer's fault: look whether the daemon is there
    }
  }
}
