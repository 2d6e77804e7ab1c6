/** One holder per key at a time, in order of arrival. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `work` when everybody before it on `key` is done, however they ended. Waiting for its turn ends with `signal.reason` itself on abort. */
  async run<T>(key: string, { signal }: { readonly signal: AbortSignal }, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const tail = Promise.all([before, done]).then(() => {});
    this.#tails.set(key, tail);
    try {
      if (before !== undefined) await turn(before, signal);
      return await work();
    } finally {
      resolve();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

async function turn(before: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    await Promise.race([before, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
