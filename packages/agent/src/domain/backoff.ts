export interface BackoffInput {
  /** Failures in a row, from 1. */
  readonly attempt: number;
  /** In [0, 1). */
  readonly random: number;
  /** Bounds of the window, milliseconds. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** The other side's wish, milliseconds: a floor under the delay, itself bounded. */
  readonly retryAfterMs?: number | undefined;
}

const MAX_WISH_MS = 300_000;

/** Milliseconds to wait: half of an exponentially growing window, and as much again by chance. */
export function backoffMs({ attempt, random, baseMs, maxMs, retryAfterMs = 0 }: BackoffInput): number {
  const windowMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.max(windowMs * (0.5 + 0.5 * random), Math.min(retryAfterMs, MAX_WISH_MS));
}
