import { BifrostError } from '@bifrost/types/core';

/** Gives `push` every change until disposed. */
export type Subscribe<Value> = (push: (key: string, value: Value) => void) => Disposable;

/**
 * One reader of hints. Hints of one key that wait are one hint, the newest: so what waits is bounded by the number of objects, and a slow reader
 * misses steps but no end state. Subscribes at the first `next()`.
 *
 * @throws {BifrostError} `STREAM_OVERFLOW` — more than `capacity` keys wait. The reason of `closed` when the source is closed.
 */
export async function* readHints<Value>(
  subscribe: Subscribe<Value>,
  { signal, closed, capacity = 200_000 }: { readonly signal: AbortSignal; readonly closed: AbortSignal; readonly capacity?: number },
): AsyncGenerator<readonly [key: string, value: Value], never, void> {
  signal.throwIfAborted();
  closed.throwIfAborted();
  const waiting = new Map<string, Value>();
  let overflowed = false;
  let wake = (): void => undefined;
  using _subscription = subscribe((key, value) => {
    if (waiting.size < capacity || waiting.has(key)) waiting.set(key, value);
    else overflowed = true;
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener('abort', onAbort);
  closed.addEventListener('abort', onAbort);
  try {
    for (;;) {
      signal.throwIfAborted();
      closed.throwIfAborted();
      if (overflowed) throw new BifrostError({ code: 'STREAM_OVERFLOW', message: `more than ${capacity} objects wait for this reader; read again` });
      const [entry] = waiting;
      if (entry === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      waiting.delete(entry[0]);
      yield entry;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    closed.removeEventListener('abort', onAbort);
  }
}
