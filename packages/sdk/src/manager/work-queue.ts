import { BifrostError } from '@bifrost/types/core';
import { backoffMs } from '../domain/backoff.ts';
import type { Clock, Logger } from '../ports/index.ts';
import { describeError } from './unexpected.ts';

/** How one round of work on a key ended. Only the queue knows delays. */
export type Outcome =
  | { readonly kind: 'settled' }
  /** Nothing is wrong, but something outside needs time. */
  | { readonly kind: 'waiting'; readonly recheckMs: number }
  | { readonly kind: 'retry'; readonly error: BifrostError }
  /** A person must act; a hint or the resync looks again. */
  | { readonly kind: 'stopped'; readonly error: BifrostError };

export const SETTLED: Outcome = { kind: 'settled' };

interface Entry {
  running: boolean;
  /** A hint came that the present or last round may not have seen. */
  again: boolean;
  failures: number;
  timer: AbortController | undefined;
}

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly concurrency: number;
  readonly baseMs: number;
  readonly maxMs: number;
  readonly work: (key: string, options: { readonly signal: AbortSignal }) => Promise<Outcome>;
}

/**
 * Level-triggered work by key: a key runs at most once at a time, hints for a waiting key melt together, a hint for a running key makes it run
 * once more. A failing key waits with backoff; a success resets it. A stopped key waits as long before hints count again, or its own writes, which come
 * back as hints, would make it a hot loop.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #ready = new Set<string>();
  readonly #stopping = new AbortController();
  readonly #idle = Promise.withResolvers<void>();
  #running = 0;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Asks for a round of work on `key`, now. */
  add(key: string): void {
    if (this.#stopping.signal.aborted) return;
    const entry = this.#entries.get(key) ?? { running: false, again: false, failures: 0, timer: undefined };
    this.#entries.set(key, entry);
    // A failing key keeps its delay: hints must not turn backoff into a hot loop.
    if (entry.running || (entry.timer !== undefined && entry.failures > 0)) {
      entry.again = true;
      return;
    }
    this.#ready.add(key);
    this.#pump();
  }

  /** Aborts running work, forgets waiting work, resolves when nothing runs any more. Safe to call twice. */
  async stop(reason: unknown): Promise<void> {
    this.#stopping.abort(reason);
    for (const { timer } of this.#entries.values()) timer?.abort(reason);
    this.#entries.clear();
    this.#ready.clear();
    if (this.#running > 0) await this.#idle.promise;
  }

  #pump(): void {
    for (const key of this.#ready) {
      if (this.#running >= this.#options.concurrency) return;
      this.#ready.delete(key);
      const entry = this.#entries.get(key);
      if (entry) void this.#run(key, entry);
    }
  }

  async #run(key: string, entry: Entry): Promise<void> {
    entry.running = true;
    entry.again = false;
    entry.timer?.abort();
    entry.timer = undefined;
    this.#running += 1;
    const outcome = await this.#attempt(key);
    this.#running -= 1;
    entry.running = false;
    if (this.#stopping.signal.aborted) {
      if (this.#running === 0) this.#idle.resolve();
      return;
    }
    this.#schedule(key, entry, outcome);
    this.#pump();
  }

  async #attempt(key: string): Promise<Outcome> {
    try {
      return await this.#options.work(key, { signal: this.#stopping.signal });
    } catch (error) {
      if (this.#stopping.signal.aborted) return SETTLED;
      if (BifrostError.is(error)) return { kind: error.retry === 'backoff' ? 'retry' : 'stopped', error };
      // A bug of ours or of an adapter: seen in the log, tried again slowly, never fatal to the host process.
      this.#options.logger.log('error', 'work failed unexpectedly', { key, error: describeError(error) });
      return { kind: 'retry', error: new BifrostError({ code: 'INTERNAL', message: 'Unexpected failure.', cause: error }) };
    }
  }

  #schedule(key: string, entry: Entry, outcome: Outcome): void {
    if (outcome.kind === 'retry' || outcome.kind === 'stopped') {
      entry.failures += 1;
      if (outcome.kind === 'retry') entry.again = true;
      this.#later(key, entry, this.#pauseMs(key, entry, outcome));
      return;
    }
    entry.failures = 0;
    if (entry.again) this.#ready.add(key);
    else if (outcome.kind === 'waiting') {
      entry.again = true;
      this.#later(key, entry, outcome.recheckMs);
    } else this.#entries.delete(key);
  }

  #pauseMs(key: string, { failures }: Entry, { kind, error }: Extract<Outcome, { readonly error: BifrostError }>): number {
    const { clock, logger, baseMs, maxMs } = this.#options;
    const delayMs = backoffMs({ attempt: failures, random: clock.random(), retryAfterMs: error.retryAfterMs, baseMs, maxMs });
    const message = kind === 'retry' ? 'will try again' : 'a person must act';
    logger.log('warn', message, { key, code: error.code, delayMs: Math.round(delayMs), attempt: failures });
    return delayMs;
  }

  /** After the pause: another round if one is due or was asked for meanwhile, else the key is forgotten. */
  #later(key: string, entry: Entry, delayMs: number): void {
    const timer = new AbortController();
    entry.timer = timer;
    this.#options.clock.sleep(delayMs, { signal: timer.signal }).then(
      () => {
        if (entry.timer !== timer) return;
        entry.timer = undefined;
        if (entry.again) this.#ready.add(key);
        else this.#entries.delete(key);
        this.#pump();
      },
      () => {},
    );
  }
}
