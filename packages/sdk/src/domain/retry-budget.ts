import { backoffMs } from './backoff.ts';

/**
 * What one customer's retries may cost. Whole tokens pay for retries while nothing of the group is parked; once they are spent, retries park and one
 * of them goes as a probe, with backoff. A retry that succeeds lets two more go: so a thousand parked keys come back in a few doublings.
 */
export interface RetryBudget {
  readonly tokens: number;
  /** When `tokens` were counted, milliseconds. */
  readonly atMs: number;
  /** Parked retries that may go now. */
  readonly credit: number;
  /** Retries that failed since the last success: the probes' backoff. */
  readonly failures: number;
  /** The other side's wish: no probe before this time, milliseconds. */
  readonly notBeforeMs: number;
}

export const RETRY_BUDGET = {
  /** Retries that may come in a row. */
  burst: 20,
  /** A token comes back in this time. */
  refillMs: 3_000,
  /** Longest pause between probes: what recovery may cost at most. */
  longestProbePauseMs: 30_000,
  /** What the other side may ask for, of a key and of its group, and what a clock that was set back may cost. */
  longestWishMs: 60_000,
  /** Parked retries that a successful one lets go. */
  perSuccess: 2,
} as const;

/** The other side's wish as far as it is heeded: one answer must not hold anything for an hour. */
export const heededWishMs = (retryAfterMs = 0): number => Math.min(retryAfterMs, RETRY_BUDGET.longestWishMs);

/** A budget that has spent nothing. */
export const fullBudget = (nowMs: number): RetryBudget => ({ tokens: RETRY_BUDGET.burst, atMs: nowMs, credit: 0, failures: 0, notBeforeMs: 0 });

/** One token less; undefined when there is no whole one. */
export function spendToken(budget: RetryBudget, nowMs: number): RetryBudget | undefined {
  const refilled = budget.tokens + Math.max(0, nowMs - budget.atMs) / RETRY_BUDGET.refillMs;
  const tokens = Math.min(RETRY_BUDGET.burst, refilled);
  return tokens < 1 ? undefined : { ...budget, tokens: tokens - 1, atMs: nowMs };
}

/** One credit less; undefined when there is none. */
export const spendCredit = (budget: RetryBudget): RetryBudget | undefined =>
  budget.credit < 1 ? undefined : { ...budget, credit: budget.credit - 1 };

/** A round went well: the other side answers. Only a retry that did earns credit: rounds that never failed say nothing of those that wait. */
export const afterSuccess = (budget: RetryBudget, { retried }: { readonly retried: boolean }): RetryBudget => ({
  ...budget,
  failures: 0,
  credit: retried ? budget.credit + RETRY_BUDGET.perSuccess : budget.credit,
});

/** A round failed. A retry that did takes all credit with it: what was let go on a hope stays parked. */
export function afterFailure(
  budget: RetryBudget,
  { retried, nowMs, retryAfterMs = 0 }: { readonly retried: boolean; readonly nowMs: number; readonly retryAfterMs?: number | undefined },
): RetryBudget {
  const notBeforeMs = Math.max(budget.notBeforeMs, nowMs + heededWishMs(retryAfterMs));
  return retried ? { ...budget, credit: 0, failures: budget.failures + 1, notBeforeMs } : { ...budget, notBeforeMs };
}

/** Milliseconds until the next probe. `random` in [0, 1). */
export function probePauseMs({ failures, notBeforeMs }: RetryBudget, { nowMs, random }: { readonly nowMs: number; readonly random: number }): number {
  const { refillMs: baseMs, longestProbePauseMs: maxMs, longestWishMs } = RETRY_BUDGET;
  return backoffMs({ attempt: failures + 1, random, retryAfterMs: Math.min(notBeforeMs - nowMs, longestWishMs), baseMs, maxMs });
}
