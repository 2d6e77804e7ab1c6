import type { Clock } from '../ports/index.ts';
import type { Outcome } from './work-queue.ts';

const SECOND_LOOK_MS = 2_000;

/**
 * What was there and is not found: one answer may be older than what it does not find, and what is released or told gone by mistake does not come back.
 * It counts as gone once it has been missed for a while.
 */
export class Missing {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #sinceMs = new Map<string, number>();

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
  }

  /** `what` is not found: gives when to look again; undefined when it counts as gone, at once when somebody else says so too. */
  secondLook(what: string, { isToldGone = false }: { readonly isToldGone?: boolean } = {}): Outcome | undefined {
    const nowMs = this.#clock.nowMs();
    const sinceMs = this.#sinceMs.get(what) ?? nowMs;
    const leftMs = isToldGone ? 0 : sinceMs + SECOND_LOOK_MS - nowMs;
    if (leftMs <= 0) return undefined;
    this.#sinceMs.set(what, sinceMs);
    return { kind: 'waiting', recheckMs: leftMs };
  }

  /** It is there, or of no more interest. */
  forget(what: string): void {
    this.#sinceMs.delete(what);
  }
}
