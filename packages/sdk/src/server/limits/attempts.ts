import { BifrostError } from '@bifrost/types/core';
import { untilAborted } from '../../domain/until-aborted.ts';
import { peerKey, type RateLimiter, type RateVerdict } from './rate-limiter.ts';

/** What became of an attempt to be known. */
export type Judged<Known> = { readonly refused: RateVerdict } | { readonly refused?: never; readonly known: Known | undefined };

interface Judging {
  running: number;
  /** Oldest first. Each is given the point of an attempt that ended well, or undefined when there is none to come. */
  readonly waiting: Set<(forgive: Forgive | undefined) => void>;
}
type Forgive = () => void;

/**
 * Attempts to be known, by peer address. Each takes a point before anybody looks at what was shown, and gives it back when the caller is known. One that
 * finds no point while others of its address are being looked at waits for one of theirs: many honest calls at once must not refuse each other, and as many
 * guesses at once get no more than the limit.
 */
export class Attempts {
  readonly #limiter: RateLimiter;
  readonly #judging = new Map<string, Judging>();
  #ended = 0;

  constructor(limiter: RateLimiter) {
    this.#limiter = limiter;
  }

  /** Cancel: rejects with `signal.reason` itself. Rejects as `look` does; when it cannot be known now, the attempt does not count. */
  async judge<Known>(
    address: string,
    { signal, look }: { readonly signal: AbortSignal; readonly look: () => Promise<Known | undefined> },
  ): Promise<Judged<Known>> {
    const key = peerKey(address);
    for (;;) {
      const endedBefore = this.#ended;
      const { verdict, forgive } = await this.#limiter.takeAttempt(address);
      if (verdict.allowed) return { known: await this.#looked(this.#begun(key), { key, look, forgive }) };
      const judging = this.#judging.get(key);
      if (judging !== undefined) {
        const handed = await this.#waited(judging, { key, signal });
        return handed === undefined ? { refused: verdict } : { known: await this.#looked(judging, { key, look, forgive: handed }) };
      }
      if (this.#ended === endedBefore) return { refused: verdict }; // else one may have given its point back meanwhile
    }
  }

  #begun(key: string): Judging {
    const judging = this.#judging.get(key) ?? { running: 0, waiting: new Set() };
    judging.running += 1;
    this.#judging.set(key, judging);
    return judging;
  }

  async #looked<Known>(
    judging: Judging,
    { key, look, forgive }: { readonly key: string; readonly look: () => Promise<Known | undefined>; readonly forgive: Forgive },
  ): Promise<Known | undefined> {
    let left: Forgive | undefined;
    try {
      const known = await look();
      if (known !== undefined) left = forgive;
      return known;
    } catch (error) {
      if (BifrostError.is(error) && error.retry === 'backoff') left = forgive; // nobody could be asked: no guess
      throw error;
    } finally {
      this.#settle(key, judging, left);
    }
  }

  /** The point of another, or undefined when there is none to come. */
  async #waited(judging: Judging, { key, signal }: { readonly key: string; readonly signal: AbortSignal }): Promise<Forgive | undefined> {
    const { promise, resolve } = Promise.withResolvers<Forgive | undefined>();
    judging.waiting.add(resolve);
    try {
      return await untilAborted(promise, signal);
    } catch (error) {
      const isHanded = !judging.waiting.delete(resolve);
      const handed = isHanded ? await promise : undefined;
      if (handed !== undefined) this.#settle(key, judging, handed);
      throw error;
    }
  }

  /** One attempt has ended: the point that it leaves goes to the next; when nothing is looked at any more, none is to come. */
  #settle(key: string, judging: Judging, left: Forgive | undefined): void {
    this.#ended += 1;
    const [next] = judging.waiting;
    if (left !== undefined && next !== undefined) {
      judging.waiting.delete(next);
      next(left); // it is looked at in the place of this one
      return;
    }
    left?.();
    judging.running -= 1;
    if (judging.running > 0) return;
    this.#judging.delete(key);
    for (const refuse of judging.waiting) refuse(undefined);
    judging.waiting.clear();
  }
}
