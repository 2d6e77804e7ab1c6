import { BifrostError } from '@bifrost/types/core';

export interface StreamOptions<T> {
  readonly signal: AbortSignal;
  /** Items that a reader may be behind. */
  readonly capacity: number;
  /** Called on the first `next()`; what it returns is disposed when the reader leaves, however it leaves. */
  readonly subscribe: (push: (item: T) => void) => Disposable;
}

/**
 * Turns pushes into a stream for one reader. A reader more than `capacity` items behind gets `STREAM_OVERFLOW` after what was kept: never a silent gap.
 * Abort rejects with `signal.reason` itself.
 */
export async function* boundedStream<T>({ signal, capacity, subscribe }: StreamOptions<T>): AsyncGenerator<T, never, void> {
  const queue: T[] = [];
  let overflowed = false;
  let wake = (): void => {};
  const onAbort = (): void => wake();
  signal.throwIfAborted();
  using _subscription = subscribe((item) => {
    if (queue.length < capacity && !overflowed) queue.push(item);
    else overflowed = true;
    wake();
  });
  signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      signal.throwIfAborted();
      if (queue.length > 0) yield queue.shift() as T;
      else if (overflowed)
        throw new BifrostError({
          code: 'STREAM_OVERFLOW',
          message: `The reader fell ${capacity} items behind: open the stream again and read the status anew.`,
        });
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
