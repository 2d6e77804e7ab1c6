/** Waiting times of one watch: doubling from `minMs` to `maxMs`, with jitter, until it has been well again. */
export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor({ minMs = 200, maxMs = 30_000 }: { readonly minMs?: number; readonly maxMs?: number } = {}) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  /** Call after a time of good work, not after a bare connect. */
  reset(): void {
    this.#failures = 0;
  }

  /** Milliseconds to wait after one failure more; never less than what the other side asked for. */
  next(retryAfterMs = 0): number {
    const fullMs = Math.min(this.#maxMs, this.#minMs * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    return Math.max(retryAfterMs, fullMs * (0.5 + Math.random() / 2));
  }
}

/** Resolves after the time or on abort, whichever comes first, and leaves neither timer nor listener. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
}
