const nothing = (): void => {};

/** Hints about keys, to any number of readers. A hint says "look at this key again"; two hints about one key may become one. */
export class HintHub {
  readonly #readers = new Set<{ push(key: string): void; wake(): void }>();
  readonly #capacity: number;
  #closed = false;

  /** `capacity`: how many different keys may wait for a slow reader beyond those that it started with, before it gets all keys again instead. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  notify(key: string): void {
    for (const reader of this.#readers) reader.push(key);
  }

  /** Ends all watches. */
  close(): void {
    this.#closed = true;
    for (const reader of this.#readers) reader.wake();
  }

  /** Subscribes on the first `next()`: every key of `allKeys` first, then each hint. Throws `signal.reason` itself on abort. */
  async *watch(allKeys: () => Iterable<string>, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<string, void, void> {
    const pending = new Set<string>();
    let again = true;
    let limit = this.#capacity;
    let wake = nothing;
    const reader = {
      push: (key: string): void => {
        if (!again && pending.size >= limit && !pending.has(key)) {
          pending.clear();
          again = true;
        }
        if (!again) pending.add(key);
        wake();
      },
      wake: (): void => wake(),
    };
    this.#readers.add(reader);
    signal.addEventListener('abort', reader.wake);
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#closed) return;
        if (again) {
          for (const key of allKeys()) pending.add(key);
          limit = this.#capacity + pending.size; // else a reader of more keys than the capacity would start again for ever
          again = false;
        }
        const [key] = pending;
        if (key === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } else {
          pending.delete(key);
          yield key;
        }
      }
    } finally {
      signal.removeEventListener('abort', reader.wake);
      this.#readers.delete(reader);
    }
  }
}
