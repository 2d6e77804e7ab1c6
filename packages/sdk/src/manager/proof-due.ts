import type { Clock } from '../ports/index.ts';
import { linkedSignal } from './linked-signal.ts';

/**
 * When isolation is to be proven besides every so often: soon after somebody else has written into a policy, or after something was not written for what
 * it would have opened.
 */
export class ProofDue {
  readonly #texts = new Map<string, string>();
  readonly #refused = new Map<string, string>();
  #wish = new AbortController();

  /** A policy as it was read. One that is neither what was read last nor what we wrote last is somebody's edit. */
  read(policy: string, hash: string): void {
    const known = this.#texts.get(policy);
    this.#texts.set(policy, hash);
    if (known !== undefined && known !== hash) this.soon();
  }

  /** What we are about to write, or have written. */
  wrote(policy: string, hash: string): void {
    this.#texts.set(policy, hash);
  }

  /** Something was not written over that text: as long as it stands, one proof says what there is to say. */
  refused(policy: string, hash: string): void {
    if (this.#refused.get(policy) === hash) return;
    this.#refused.set(policy, hash);
    this.soon();
  }

  forget(policy: string): void {
    this.#texts.delete(policy);
    this.#refused.delete(policy);
  }

  soon(): void {
    this.#wish.abort();
  }

  /** Until one is wished for, at most so long. Not sooner than `leastMs`, whoever wishes: an edit comes seldom alone. */
  async wait(
    clock: Clock,
    { leastMs, mostMs, signal }: { readonly leastMs: number; readonly mostMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    await clock.sleep(leastMs, { signal });
    using either = linkedSignal(signal, this.#wish.signal);
    await clock.sleep(mostMs - leastMs, { signal: either.signal }).catch(() => signal.throwIfAborted());
    this.#wish = new AbortController();
  }
}
