import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  afterFailure,
  afterSuccess,
  fullBudget,
  probePauseMs,
  RETRY_BUDGET,
  type RetryBudget,
  spendCredit,
  spendToken,
} from '../src/domain/retry-budget.ts';

const START = 1_000_000;
const spendAll = (budget: RetryBudget, nowMs: number): { readonly budget: RetryBudget; readonly spent: number } => {
  let [left, spent] = [budget, 0];
  for (let next = spendToken(left, nowMs); next !== undefined; next = spendToken(left, nowMs)) [left, spent] = [next, spent + 1];
  return { budget: left, spent };
};

describe('retry budget', () => {
  it('pays for a burst, then for one each time that a token has come back, and never saves more than a burst', () => {
    const first = spendAll(fullBudget(START), START);
    expect(first.spent).toBe(RETRY_BUDGET.burst);
    expect(spendToken(first.budget, START + RETRY_BUDGET.refillMs - 1)).toBeUndefined();
    expect(spendAll(first.budget, START + RETRY_BUDGET.refillMs).spent).toBe(1);
    expect(spendAll(first.budget, START + 3_600_000).spent).toBe(RETRY_BUDGET.burst);
  });

  it('whenever it is asked, it never pays for more than the burst and what has come back', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(10_000), { maxLength: 200 }), (gaps) => {
        let [budget, nowMs, spent] = [fullBudget(START), START, 0];
        for (const gap of gaps) {
          nowMs += gap;
          const next = spendToken(budget, nowMs);
          if (next === undefined) continue;
          budget = next;
          spent += 1;
        }
        return spent <= RETRY_BUDGET.burst + (nowMs - START) / RETRY_BUDGET.refillMs;
      }),
    );
  });

  it('a retry that succeeds lets two go; a round that never failed lets nobody go', () => {
    const budget = afterSuccess(fullBudget(START), { retried: true });
    const one = spendCredit(budget);
    expect(one && spendCredit(one)).toMatchObject({ credit: 0 });
    expect(spendCredit(afterSuccess(fullBudget(START), { retried: false }))).toBeUndefined();
  });

  it('a retry that fails takes all credit with it', () => {
    const rich = afterSuccess(afterSuccess(fullBudget(START), { retried: true }), { retried: true });
    expect(spendCredit(afterFailure(rich, { retried: true, nowMs: START }))).toBeUndefined();
    expect(spendCredit(afterFailure(rich, { retried: false, nowMs: START }))).toBeDefined();
  });

  it('probes wait longer with each failure, up to a bound, and at once less after a success', () => {
    const pauses = Array.from({ length: 10 }, (_, failures) => probePauseMs({ ...fullBudget(START), failures }, { nowMs: START, random: 0.999 }));
    expect([...pauses].sort((a, b) => a - b)).toEqual(pauses);
    expect(pauses[0]).toBeLessThanOrEqual(RETRY_BUDGET.refillMs);
    expect(pauses.at(-1)).toBeGreaterThan(RETRY_BUDGET.longestProbePauseMs * 0.99);
    expect(pauses.at(-1)).toBeLessThanOrEqual(RETRY_BUDGET.longestProbePauseMs);
    const tried = afterFailure(fullBudget(START), { retried: true, nowMs: START });
    expect(afterSuccess(tried, { retried: false }).failures).toBe(0);
  });

  it('the other side’s wish is a floor under the pause of the whole group', () => {
    const told = afterFailure(fullBudget(START), { retried: false, nowMs: START, retryAfterMs: 45_000 });
    expect(probePauseMs(told, { nowMs: START + 5_000, random: 0 })).toBe(40_000);
    expect(probePauseMs(told, { nowMs: START + 60_000, random: 0 })).toBeLessThan(1_000);
  });

  it('bug: a clock that is set back by an hour delays by no more than a minute', () => {
    const budget = afterFailure(fullBudget(START), { retried: true, nowMs: START });
    expect(probePauseMs(budget, { nowMs: START - 3_600_000, random: 0.5 })).toBeLessThanOrEqual(60_000);
  });
});
