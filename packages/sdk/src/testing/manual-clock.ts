import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../ports/clock.ts';
import type { CallOptions } from '../ports/store.ts';

/** Options of {@link ManualClock}. */
export interface ManualClockOptions {
  /** Where time starts, milliseconds since the Unix epoch. @default 1767225600000 (2026-01-01T00:00:00Z) */
  readonly startMs?: number;
  /** Two clocks of one seed give the same ids and the same chance. @default 1 */
  readonly seed?: number;
}

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

/**
 * A clock that stands still until a test moves it. Ids and chance come from a seed, so that a run can be repeated.
 *
 * @example
 * const clock = new ManualClock();
 * const rested = clock.sleep(1_000, { signal });
 * await clock.advance(1_000);
 * await rested;
 */
export class ManualClock implements Clock {
  readonly #sleepers = new Set<Sleeper>();
  #nowMs: number;
  #seed: number;

  constructor({ startMs = 1_767_225_600_000, seed = 1 }: ManualClockOptions = {}) {
    this.#nowMs = startMs;
    this.#seed = seed;
  }

  /** How many sleeps are pending. */
  get sleepers(): number {
    return this.#sleepers.size;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  /** Resolves in the `advance` that reaches its time; a sleep of nothing resolves at once. */
  sleep(milliseconds: number, { signal }: CallOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (milliseconds <= 0) {
        resolve();
        return;
      }
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      };
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const sleeper: Sleeper = { dueMs: this.#nowMs + milliseconds, wake };
      this.#sleepers.add(sleeper);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /**
   * Moves time on. Sleeps that become due end in the order of their times, each at its own time; what they start (a loop that sleeps again, say)
   * runs before the next one ends, as far as it needs no input or output.
   */
  async advance(milliseconds: number): Promise<void> {
    const untilMs = this.#nowMs + milliseconds;
    await setImmediate();
    for (let next = this.#nextDue(untilMs); next !== undefined; next = this.#nextDue(untilMs)) {
      this.#nowMs = next.dueMs;
      next.wake();
      await setImmediate();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  newId(): string {
    const hex = Array.from({ length: 32 }, () => Math.floor(this.random() * 16).toString(16)).join('');
    const variant = '89ab'[Math.floor(this.random() * 4)];
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  random(): number {
    this.#seed = (this.#seed + 0x9e3779b9) | 0; // an additive counter, mixed: every seed gives a full period
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  }

  #nextDue(untilMs: number): Sleeper | undefined {
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) if (sleeper.dueMs <= untilMs && (next === undefined || sleeper.dueMs < next.dueMs)) next = sleeper;
    return next;
  }
}
