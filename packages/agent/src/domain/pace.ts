/** Lets a few through at once and then so many in a time: a lone change is read without delay, a burst of them does not keep the daemon busy. */
export class Pace {
  readonly #burst: number;
  readonly #refillMs: number;
  /** When all places will be free again. */
  #fullAtMs = 0;

  /** @param refillMs time until one more may pass, milliseconds */
  constructor(burst: number, refillMs: number) {
    this.#burst = burst;
    this.#refillMs = refillMs;
  }

  /** Milliseconds until the next may pass. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#fullAtMs - nowMs - (this.#burst - 1) * this.#refillMs);
  }

  /** One passes. */
  take(nowMs: number): void {
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + this.#refillMs;
  }
}
