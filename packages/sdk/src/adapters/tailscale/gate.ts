import type { CallOptions } from '../../ports/store.ts';

/** Waits for a promise, or for the signal: whichever is first. The promise itself goes on. */
export function orAbort<T>(promise: Promise<T>, { signal }: CallOptions): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const settle = () => signal.removeEventListener('abort', onAbort);
    promise.then(
      (value) => {
        settle();
        resolve(value);
      },
      (error: unknown) => {
        settle();
        reject(error);
      },
    );
  });
}

/** Lets so many in at once; the others wait in order. */
export class Gate {
  #free: number;
  readonly #waiting = new Set<() => void>();
  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(work: () => Promise<T>, options: CallOptions): Promise<T> {
    options.signal.throwIfAborted();
    await this.#enter(options);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  async #enter(options: CallOptions): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const turn = Promise.withResolvers<void>();
    this.#waiting.add(turn.resolve);
    try {
      await orAbort(turn.promise, options);
    } catch (error) {
      // A place given to us in the very moment of the abort goes to the next.
      if (!this.#waiting.delete(turn.resolve)) this.#leave();
      throw error;
    }
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
