import { BifrostError } from '@bifrost/types/core';
import { Bell, pause } from './bell.ts';
import { BusFollower } from './bus-follower.ts';
import type { BusHint } from './domain/bus.ts';
import { TrafficCounters } from './domain/counters.ts';
import type { DaemonStatus } from './domain/daemon.ts';
import { changeKey, hindrance, isTroubled, type View } from './domain/judge.ts';
import type { DaemonCounts } from './domain/metrics.ts';
import { Pace } from './domain/pace.ts';
import { PathHistory } from './domain/paths.ts';
import { isInUse, pathOf, pingTargets } from './domain/pings.ts';
import type { Look, WedgeLimits } from './domain/wedge.ts';
import { Pinger } from './pinger.ts';
import type { Clock } from './ports/clock.ts';
import type { LocalApi } from './ports/local-api.ts';
import type { Logger } from './ports/logger.ts';
import type { Surroundings } from './ports/surroundings.ts';
import { Surveyor } from './surveyor.ts';
import { together } from './together.ts';
import { WedgeGuard } from './wedge-guard.ts';

export interface WatcherParts {
  readonly localApi: LocalApi;
  readonly surroundings: Surroundings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly acceptRoutes: boolean;
  readonly wedgeLimits: WedgeLimits;
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
/** Hints come in bursts; reads do not: so many at once, then one in each gap. */
const READS = { burst: 5, gapMs: 200 } as const;

/**
 * Knows what the daemon sees. A message on the daemon's bus is only a hint; the status is read again, one read at a time, and also at each
 * interval, so a lost hint costs nothing but time.
 */
export class Watcher {
  readonly counters = new TrafficCounters();
  readonly #parts: WatcherParts;
  readonly #bus: BusFollower;
  readonly #pinger: Pinger;
  readonly #surveyor: Surveyor;
  readonly #wedge: WedgeGuard;
  readonly #paths = new PathHistory();
  readonly #readBell = new Bell();
  readonly #pace = new Pace(READS.burst, READS.gapMs);
  #reachable = false;
  #status: DaemonStatus | undefined;
  #warnings: View['warnings'] = [];
  /** Heard on the bus; they count from the next status on, so that a report does not mix two moments. */
  #heard: View['warnings'] = [];
  #key = '';
  #looked = false;
  #troubled = false;
  #wasUsable = false;

  constructor(parts: WatcherParts) {
    this.#parts = parts;
    const { localApi, surroundings, clock, intervalMs } = parts;
    this.#bus = new BusFollower({
      ...{ localApi, clock },
      daemon: () => ({ reachable: this.#reachable, version: this.#status?.daemonVersion }),
      onHint: (hint) => this.#hear(hint),
      onEnd: () => this.#readBell.ring(),
    });
    this.#pinger = new Pinger({
      ...{ localApi, clock, intervalMs },
      targets: () => this.#pingTargets(),
      isDaemonThere: () => this.#reachable,
      onAnswer: () => this.#judge({ isNews: false }),
      onTrouble: () => this.#readBell.ring(),
    });
    this.#surveyor = new Surveyor({
      ...{ localApi, surroundings, clock, intervalMs },
      peersInUse: () => (this.#reachable ? this.#status?.peers.filter((peer) => isInUse(peer, clock.nowMs())) : undefined),
      pings: () => this.#pinger.records,
      onChange: () => this.#judge({ isNews: false }),
    });
    const onChange = () => this.#judge({ isNews: false });
    this.#wedge = new WedgeGuard({ ...{ localApi, surroundings, clock, onChange }, logger: parts.logger, limits: parts.wedgeLimits });
  }

  get isWedged(): boolean {
    return this.#wedge.isWedged;
  }

  get counts(): DaemonCounts {
    const { mask: busMask, streams: busStreams } = this.#bus;
    return { busMask, busStreams, wedgeEpisodes: this.#wedge.episodes, dropped: this.#surveyor.dropped };
  }

  view(): View {
    const { identities, largePings, advertisedRoutes } = this.#surveyor;
    return {
      reachable: this.#reachable,
      status: this.#status,
      warnings: this.#warnings,
      pings: this.#pinger.records,
      acceptRoutes: this.#parts.acceptRoutes,
      wasUsable: this.#wasUsable,
      nowMs: this.#parts.clock.nowMs(),
      extras: {
        paths: this.#paths,
        identityOf: (id) => identities.of(id),
        losesLarge: (id) => largePings.loses(id),
        advertisedRoutes,
        signs: [...this.#surveyor.signs, ...this.#wedge.signs],
      },
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
    const parts = [this.#bus, this.#pinger, this.#surveyor, this.#wedge];
    await together([(each) => this.#readLoop(each), ...parts.map((part) => (each: AbortSignal) => part.run({ signal: each }))], signal);
    signal.throwIfAborted();
  }

  async #readLoop(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs } = this.#parts;
    for (;;) {
      await this.#readBell.wait(this.#reachable ? intervalMs() : Math.min(AWAY_POLL_MS, intervalMs()), { signal });
      const waitMs = this.#pace.waitMs(clock.monotonicMs());
      if (waitMs > 0) await pause(waitMs, { signal });
      this.#readBell.hush(); // what rang until now is answered by this read
      this.#pace.take(clock.monotonicMs());
      await this.#read(STATUS_TIMEOUT_MS, { signal });
      this.#judge({ isNews: true });
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
    this.#warnings = this.#heard;
    const known = new Set(status.peers.map(({ id }) => id));
    this.#pinger.keep(known);
    this.#paths.keep(known);
    this.#wedge.note(status.backendState === 'NoState' ? 'no-state' : 'answer');
    this.#surveyor.notice();
    if (this.#reachable) return;
    this.#reachable = true;
    this.#parts.logger.log('info', 'daemon answers', { backendState: status.backendState, daemonVersion: status.daemonVersion });
    this.#bus.ring();
    this.#surveyor.ring();
  }

  #lose(error: BifrostError): void {
    this.#looked = true; // a daemon that starts after us counts from zero
    const reason = error.details['reason'];
    if (reason === 'gone') this.counters.daemonEnded();
    this.#wedge.note(reason === 'gone' ? 'gone' : reason === 'timeout' ? 'silence' : ('other' satisfies Look));
    this.#pinger.keep(new Set());
    this.#heard = [];
    this.#warnings = [];
    if (this.#reachable) this.#parts.logger.log('warn', 'daemon does not answer', { code: error.code, reason });
    this.#reachable = false;
  }

  #hear({ warnings, prefs }: BusHint): void {
    if (warnings) this.#heard = warnings;
    if (prefs) this.#surveyor.ring();
    this.#readBell.ring();
  }

  #pingTargets() {
    const status = this.#status;
    return this.#reachable && status?.backendState === 'Running' ? pingTargets(status.peers, status.controlLinked) : [];
  }

  /** Reports a change. News from the daemon, other than what its pings tell, is worth a round of pings at once. */
  #judge({ isNews }: { readonly isNews: boolean }): void {
    const view = this.view();
    for (const peer of view.status?.peers ?? [])
      if (isInUse(peer, view.nowMs)) this.#paths.observe(peer.id, pathOf(peer, view.pings.get(peer.id)), view.nowMs);
    const isTroubledNow = isTroubled(view);
    if (isTroubledNow && !this.#troubled) this.#pinger.doubt();
    this.#troubled = isTroubledNow;
    this.#wasUsable = hindrance(view) === undefined;
    const key = changeKey(view);
    if (key === this.#key) return;
    this.#key = key;
    this.#parts.onChange();
    if (isNews) this.#pinger.ring();
  }
}
