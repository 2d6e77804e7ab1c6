import { BifrostError } from '@bifrost/types/core';

/** The end of a call: the caller's, or its time is over. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  /** What is told when `error` is the end of the time. */
  readonly meant: (error: unknown) => unknown;
}

export function deadlineOf(signal: AbortSignal, afterMs: number): Deadline {
  const timer = new AbortController();
  const handle = setTimeout(() => timer.abort(late()), afterMs);
  handle.unref();
  return {
    signal: AbortSignal.any([signal, timer.signal]),
    meant: (error) => (timer.signal.aborted && !signal.aborted ? timer.signal.reason : error),
    [Symbol.dispose]: () => clearTimeout(handle),
  };
}

/** Made when it is needed: most calls end in time, and an error takes down its stack. */
const late = (): BifrostError =>
  new BifrostError({
    code: 'DEADLINE_EXCEEDED',
    message: 'The call took too long: what it asked for may have happened. Read, then call again.',
  });
