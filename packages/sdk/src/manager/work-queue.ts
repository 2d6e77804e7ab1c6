import { BifrostError } from '@bifrost/types/core';
import { backoffMs } from '../domain/backoff.ts';
import { heededWishMs } from '../domain/retry-budget.ts';
import type { Clock, Logger } from '../ports/index.ts';
import { describeError } from './unexpected.ts';
import { type Entry, newEntry, RACES, SHARE } from './work-entry.ts';
import { WorkGroup } from './work-group.ts';

/** How one round of work on a key ended. Only the queue knows delays. */
export type Outcome =
  | { readonly kind: 'settled' }
  /** Nothing is wrong, but something outside needs time. */
  | { readonly kind: 'waiting'; readonly recheckMs: number }
  | { readonly kind: 'retry'; readonly error: BifrostError }
  /** A person must act; a hint or the resync looks again. */
  | { readonly kind: 'stopped'; readonly error: BifrostError };
type Failure = Extract<Outcome, { readonly error: BifrostError }>;

export const SETTLED: Outcome = { kind: 'settled' };

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly concurrency: number;
  readonly baseMs: number;
  readonly maxMs: number;
  /** Whose a key is: the customer. Undefined, or left out: nobody's, a group of its own. */
  readonly groupOf?: (key: string) => string | undefined;
  readonly work: (key: string, options: { readonly signal: AbortSignal }) => Promise<Outcome>;
}

/**
 * Level-triggered work by key: a key runs at most once at a time, hints for a waiting key melt together, a hint for a running key makes it run
 * once more. A failing key waits with backoff; a success resets it. A stopped key waits as long before hints count again, or its own writes, which come
 * back as hints, would make it a hot loop.
 *
 * Keys belong to groups. One group holds at most a quarter of the places, and places go round among groups, so that others are not delayed by one that
 * hangs. Retries of one group spend a budget (`domain/retry-budget.ts`): a customer with a thousand failing books asks as little as one with a few.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #places: number;
  readonly #entries = new Map<string, Entry>();
  readonly #groups = new Map<string, WorkGroup>();
  /** Groups with ready keys and room for them; the first is the next. */
  readonly #turns = new Set<WorkGroup>();
  #stopped = false;
  readonly #idle = Promise.withResolvers<void>();
  #running = 0;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#places = Math.max(1, Math.floor(options.concurrency / SHARE));
  }

  /** Asks for a round of work on `key`, now. */
  add(key: string): void {
    if (this.#stopped) return;
    const entry = this.#entries.get(key) ?? this.#enter(key);
    // A failing key keeps its delay: hints must not turn backoff into a hot loop.
    if (entry.round !== undefined || (entry.timer !== undefined && entry.failures > 0)) {
      entry.again = true;
      return;
    }
    this.#due(key, entry);
    this.#pump();
  }

  /**
   * Something else is wanted of `key`: what it failed at before says nothing of that. One round, now or after the one under way, held up by no pause and no
   * budget. When it fails, the pauses go on where they were.
   */
  urge(key: string): void {
    if (this.#stopped) return;
    const entry = this.#entries.get(key) ?? this.#enter(key);
    entry.doubtful = false;
    if (entry.round !== undefined) {
      entry.again = true;
      entry.urged = true;
      return;
    }
    entry.group.parked.delete(key);
    this.#due(key, entry);
    this.#pump();
  }

  /** Whether a round of that key is under way. */
  isRunning(key: string): boolean {
    return this.#entries.get(key)?.round !== undefined;
  }

  /** What the round under way goes by holds no more: it is aborted, which is nobody's failure, and another begins. Without one nothing happens. */
  interrupt(key: string): void {
    this.#entries.get(key)?.round?.abort(new DOMException('Interrupted: begins anew.', 'AbortError'));
  }

  /** The same for every round that is under way. */
  interruptAll(): void {
    for (const key of this.#entries.keys()) this.interrupt(key);
  }

  /** Aborts running work, forgets waiting work, resolves when nothing runs any more. Safe to call twice. */
  async stop(reason: unknown): Promise<void> {
    this.#stopped = true;
    for (const { timer, round } of this.#entries.values()) {
      timer?.abort(reason);
      round?.abort(reason);
    }
    for (const { probe } of this.#groups.values()) probe?.abort(reason);
    this.#entries.clear();
    this.#groups.clear();
    this.#turns.clear();
    if (this.#running > 0) await this.#idle.promise;
  }

  #enter(key: string): Entry {
    const group = this.#groupOf(key);
    group.known += 1;
    const entry = newEntry(group);
    this.#entries.set(key, entry);
    return entry;
  }

  #groupOf(key: string): WorkGroup {
    const name = this.#options.groupOf?.(key);
    // Of different kinds, so that no key can be taken for a customer.
    const id = name === undefined ? `key ${key}` : `group ${name}`;
    const group = this.#groups.get(id) ?? new WorkGroup(id, this.#options.clock.nowMs());
    this.#groups.set(id, group);
    return group;
  }

  #forget(key: string, { group }: Entry): void {
    this.#entries.delete(key);
    this.#leave(group);
  }

  #leave(group: WorkGroup): void {
    group.known -= 1;
    if (group.known > 0) return;
    group.probe?.abort();
    this.#groups.delete(group.name);
  }

  /** Whose a key is may be known only after its first round. */
  #regroup(key: string, entry: Entry): void {
    const group = this.#groupOf(key);
    if (group === entry.group) return;
    group.known += 1;
    this.#leave(entry.group);
    entry.group = group;
  }

  /** A key that waits for nothing but its turn, and, if it is a retry, for its group's budget. */
  #due(key: string, entry: Entry): void {
    entry.timer?.abort();
    entry.timer = undefined;
    if (entry.group.ready.has(key) || entry.group.parked.has(key)) return;
    this.#regroup(key, entry);
    const { group } = entry;
    if (entry.doubtful) group.admit(key, this.#options.clock.nowMs());
    else group.ready.add(key);
    this.#rouse(group);
  }

  /** After a change in a group: what may go gets its turn, and what is parked a probe. */
  #rouse(group: WorkGroup): void {
    group.release(this.#places);
    if (group.ready.size > 0 && group.running < this.#places) this.#turns.add(group);
    else this.#turns.delete(group);
    if (group.needsProbe) this.#planProbe(group);
  }

  #planProbe(group: WorkGroup): void {
    const { clock, logger } = this.#options;
    const timer = new AbortController();
    group.probe = timer;
    const delayMs = group.probePauseMs(clock.nowMs(), clock.random());
    logger.log('warn', 'retries are parked', { group: group.name, parked: group.parked.size, delayMs: Math.round(delayMs) });
    clock.sleep(delayMs, { signal: timer.signal }).then(
      () => {
        if (group.probe !== timer) return;
        group.goAsProbe();
        this.#rouse(group);
        this.#pump();
      },
      () => {},
    );
  }

  #pump(): void {
    while (this.#running < this.#options.concurrency) {
      const [group] = this.#turns;
      if (group === undefined) return;
      this.#turns.delete(group); // to the end of the line, if it has more
      const [key] = group.ready;
      const entry = key === undefined ? undefined : this.#entries.get(key);
      if (key === undefined || entry === undefined) continue;
      group.ready.delete(key);
      group.running += 1;
      this.#rouse(group);
      void this.#run(key, entry);
    }
  }

  async #run(key: string, entry: Entry): Promise<void> {
    const { signal } = this.#begin(entry);
    const outcome = await this.#attempt(key, signal);
    this.#running -= 1;
    entry.round = undefined;
    if (this.#stopped) {
      if (this.#running === 0) this.#idle.resolve();
      return;
    }
    const { group } = entry;
    group.running -= 1;
    if (signal.aborted) {
      group.interrupted(key);
      this.#due(key, entry);
    } else this.#schedule(key, entry, outcome);
    this.#rouse(group); // its place, also when the key has just come to belong to another
    this.#rouse(entry.group);
    this.#pump();
  }

  #begin(entry: Entry): AbortController {
    const round = new AbortController();
    entry.round = round;
    entry.again = false;
    entry.urged = false;
    this.#running += 1;
    return round;
  }

  async #attempt(key: string, signal: AbortSignal): Promise<Outcome> {
    try {
      return await this.#options.work(key, { signal });
    } catch (error) {
      if (signal.aborted) return SETTLED;
      if (BifrostError.is(error)) return { kind: error.retry === 'backoff' ? 'retry' : 'stopped', error };
      // A bug of ours or of an adapter: tried again slowly, never fatal to the host process.
      this.#options.logger.log('error', 'work failed unexpectedly', { key, error: describeError(error) });
      return { kind: 'retry', error: new BifrostError({ code: 'INTERNAL', message: 'Unexpected failure.', cause: error }) };
    }
  }

  #schedule(key: string, entry: Entry, outcome: Outcome): void {
    if (outcome.kind === 'retry' || outcome.kind === 'stopped') {
      this.#failed(key, entry, outcome);
      return;
    }
    entry.group.succeeded(key);
    entry.failures = 0;
    entry.doubtful = false;
    if (entry.again) this.#due(key, entry);
    else if (outcome.kind === 'waiting') {
      entry.again = true;
      this.#later(key, entry, outcome.recheckMs);
    } else this.#forget(key, entry);
  }

  #failed(key: string, entry: Entry, outcome: Failure): void {
    const { code, retryAfterMs } = outcome.error;
    entry.failures += 1;
    entry.doubtful = entry.failures > 1 || !RACES.has(code);
    entry.group.failed(key, { nowMs: this.#options.clock.nowMs(), retryAfterMs });
    if (entry.urged) {
      entry.doubtful = false;
      this.#due(key, entry);
      return;
    }
    if (outcome.kind === 'retry') entry.again = true;
    this.#later(key, entry, this.#pauseMs(key, entry, outcome));
  }

  #pauseMs(key: string, { failures }: Entry, { kind, error }: Failure): number {
    const { clock, logger, baseMs, maxMs } = this.#options;
    const delayMs = backoffMs({ attempt: failures, random: clock.random(), retryAfterMs: heededWishMs(error.retryAfterMs), baseMs, maxMs });
    const message = kind === 'retry' ? 'will try again' : 'a person must act';
    logger.log('warn', message, { key, code: error.code, delayMs: Math.round(delayMs), attempt: failures });
    return delayMs;
  }

  /** After the pause: another round if one is due or was asked for meanwhile. Else it is quiet; what failed stays known, since it is still a retry. */
  #later(key: string, entry: Entry, delayMs: number): void {
    const timer = new AbortController();
    entry.timer = timer;
    this.#options.clock.sleep(delayMs, { signal: timer.signal }).then(
      () => {
        if (entry.timer !== timer) return;
        entry.timer = undefined;
        if (entry.again) {
          this.#due(key, entry);
          this.#pump();
        } else entry.failures = 0; // the next hint begins a new row of pauses
      },
      () => {},
    );
  }
}
