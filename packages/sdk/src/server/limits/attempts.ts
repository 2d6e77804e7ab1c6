import { BifrostError } from '@bifrost/types/core';
import { untilAborted } from '../../domain/until-aborted.ts';
import { peerKey, type RateLimiter, type RateVerdict } from './rate-limiter.ts';

/** What became of an attempt to be known. */
export type Judged<Known> = { readonly refused: RateVerdict } | { readonly refused?: never; readonly known: Known | undefined };

interface Waiting {
  readonly wake: () => void;
}
interface Judging {
  running: number;
  /** Counts the attempts that have ended: one that found no point looks again when another ended meanwhile. */
  ended: number;
  readonly waiting: Set<Waiting>;
}

/**
 * Attempts to be known, by peer address. Each takes a point before anybody looks at what was shown, and gets it back when the caller is known. One that
 * finds no point while others of its address are being looked at waits for them: many honest calls at once must not refuse each other, and as many guesses
 * at once get no more than the limit.
 */
export class Attempts {
  readonly #limiter: RateLimiter;
  readonly #judging = new Map<string, Judging>();

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
      const endedBefore = this.#judging.get(key)?.ended;
      const attempt = await this.#limiter.takeAttempt(address);
      if (attempt.verdict.allowed) return { known: await this.#looked(key, { look, forgive: attempt.forgive }) };
      const judging = this.#judging.get(key);
      if (judging?.ended !== endedBefore) continue;
      if (judging === undefined) return { refused: attempt.verdict };
      await wait(judging, signal);
    }
  }

  async #looked<Known>(
    key: string,
    { look, forgive }: { readonly look: () => Promise<Known | undefined>; readonly forgive: () => void },
  ): Promise<Known | undefined> {
    const judging = this.#judging.get(key) ?? { running: 0, ended: 0, waiting: new Set() };
    this.#judging.set(key, judging);
    judging.running += 1;
    try {
      const known = await look();
      if (known !== undefined) forgive();
      return known;
    } catch (error) {
      if (BifrostError.is(error) && error.retry === 'backoff') forgive(); // nobody was asked: no guess
      throw error;
    } finally {
      judging.running -= 1;
      judging.ended += 1;
      if (judging.running === 0) this.#judging.delete(key);
      wakeSome(judging);
    }
  }
}

/** One point came back at most; when nothing is looked at any more, those who are left are refused. */
function wakeSome({ running, waiting }: Judging): void {
  for (const each of [...waiting].slice(0, running === 0 ? waiting.size : 1)) {
    waiting.delete(each);
    each.wake();
  }
}

async function wait(judging: Judging, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const own: Waiting = { wake: resolve };
  judging.waiting.add(own);
  try {
    await untilAborted(promise, signal);
  } catch (error) {
    if (!judging.waiting.delete(own)) wakeSome(judging); // it was woken and left: the next one's turn
    throw error;
  }
}
