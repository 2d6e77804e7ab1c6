import { BifrostError } from '@bifrost/types/core';
import { Bell, pause } from './bell.ts';
import { backoffMs } from './domain/backoff.ts';
import { type BusHint, busMasks, tellsHealth } from './domain/bus.ts';
import type { Clock } from './ports/clock.ts';
import type { LocalApi } from './ports/local-api.ts';

export interface BusFollowerParts {
  readonly localApi: LocalApi;
  readonly clock: Clock;
  /** Of the daemon that answers now. */
  readonly daemon: () => { readonly reachable: boolean; readonly version: string | undefined };
  readonly onHint: (hint: BusHint) => void;
  /** A stream has ended, or could not be opened: what was heard before may be old. */
  readonly onEnd: () => void;
}

const BACKOFF = { baseMs: 200, maxMs: 15_000 } as const;
/** A stream that lasted so long was a good one. */
const STABLE_MS = 5000;
/** The daemon was built without a bus: it will not grow one. */
const NO_BUS = 'status-404';
const REFUSED_MASK = 'status-400';

/** Listens on the daemon's bus whenever the daemon is there. Each stream begins with the whole state, so that one which was lost costs time only. */
export class BusFollower {
  readonly #parts: BusFollowerParts;
  readonly #bell = new Bell();
  /** How many masks of that version the daemon has refused. */
  #refused = { version: undefined as string | undefined, count: 0 };
  #mask: number | undefined;
  #streams = 0;

  constructor(parts: BusFollowerParts) {
    this.#parts = parts;
  }

  /** Of the stream that is open now. */
  get mask(): number | undefined {
    return this.#mask;
  }

  /** Streams opened so far. */
  get streams(): number {
    return this.#streams;
  }

  /** The daemon has come back. */
  ring(): void {
    this.#bell.ring();
  }

  /** Follows until the signal aborts, then rejects with its reason. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, daemon, onEnd } = this.#parts;
    for (let attempt = 1; ; attempt += 1) {
      while (!daemon().reachable) await this.#bell.wait(Number.POSITIVE_INFINITY, { signal });
      const sinceMs = clock.monotonicMs();
      const failure = await this.#follow(signal);
      onEnd(); // the usual reason for an ended stream is a daemon that died
      if (failure === NO_BUS) await this.#bell.wait(Number.POSITIVE_INFINITY, { signal });
      if (failure === REFUSED_MASK && this.#smallerMask()) {
        attempt -= 1; // the daemon is well, it only is of another version
        continue;
      }
      if (clock.monotonicMs() - sinceMs > STABLE_MS) attempt = 1;
      await pause(backoffMs({ attempt, random: clock.random(), ...BACKOFF }), { signal });
    }
  }

  /** False when there is none: the daemon refuses even the smallest. */
  #smallerMask(): boolean {
    this.#refused.count += 1;
    const isLeft = this.#refused.count < busMasks(this.#refused.version).length;
    if (!isLeft) this.#refused.count = 0;
    return isLeft;
  }

  /** Answers with why the stream ended, where that is known. */
  async #follow(signal: AbortSignal): Promise<string | undefined> {
    const { localApi, daemon, onHint } = this.#parts;
    const { version } = daemon();
    if (version !== this.#refused.version) this.#refused = { version, count: 0 };
    const mask = busMasks(version)[this.#refused.count] ?? 0;
    try {
      for await (const hint of localApi.watch(mask, { signal })) {
        if (this.#mask === undefined) this.#opened(mask);
        onHint(hint);
      }
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      if (!BifrostError.is(error)) throw error;
      return error.details['reason'];
    } finally {
      this.#mask = undefined;
    }
  }

  #opened(mask: number): void {
    this.#mask = mask;
    this.#streams += 1;
    if (!tellsHealth(mask)) this.#parts.onHint({ warnings: [] });
  }
}
