export interface BackoffInput {
  /** Failures in a row, from 1. */
  readonly attempt: number;
  /** In [0, 1). */
  readonly random: number;
  /** The other side's wish, milliseconds: a floor under the delay. */
  readonly retryAfterMs?: number | undefined;
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Milliseconds to wait: full jitter over an exponentially growing window, never below a tenth of it, never below the other side's wish. */
export function backoffMs({ attempt, random, retryAfterMs, baseMs, maxMs }: BackoffInput): number {
  const windowMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.max(windowMs * (0.1 + 0.9 * random), retryAfterMs ?? 0);
}
