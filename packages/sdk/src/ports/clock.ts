import type { CallOptions } from './store.ts';

/** Time and chance, so that tests hold both. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Resolves after `milliseconds`. Rejects with `signal.reason` itself on abort and leaves no timer behind. */
  sleep(milliseconds: number, options: CallOptions): Promise<void>;
  /** A new uuid (version 4). */
  newId(): string;
  /** In [0, 1): jitter only. */
  random(): number;
}
