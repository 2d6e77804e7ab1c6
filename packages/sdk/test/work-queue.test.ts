import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { MemoryLogger } from '../src/adapters/memory/logger.ts';
import { type Outcome, SETTLED, WorkQueue } from '../src/manager/work-queue.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';

const unavailable = new BifrostError({ code: 'STORE_UNAVAILABLE', message: 'not now' });
const denied = new BifrostError({ code: 'CONTROL_DENIED', message: 'ask a person' });
const RETRY: Outcome = { kind: 'retry', error: unavailable };
const STOPPED: Outcome = { kind: 'stopped', error: denied };

type Work = (key: string, options: { readonly signal: AbortSignal }) => Promise<Outcome> | Outcome;

function queueOf(work: Work, { concurrency = 4 } = {}) {
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const runs: string[] = [];
  const queue = new WorkQueue({
    clock,
    logger,
    concurrency,
    baseMs: 500,
    maxMs: 60_000,
    work: async (key, options) => {
      runs.push(key);
      return work(key, options);
    },
  });
  return { clock, logger, runs, queue };
}

/** Work that waits until it is told how it ended. */
function gate() {
  const waiting: ((outcome: Outcome) => void)[] = [];
  let most = 0;
  return {
    work: (): Promise<Outcome> =>
      new Promise((resolve) => {
        waiting.push(resolve);
        most = Math.max(most, waiting.length);
      }),
    end: (outcome: Outcome): void => waiting.shift()?.(outcome),
    get most() {
      return most;
    },
    get running() {
      return waiting.length;
    },
  };
}

describe('WorkQueue', () => {
  it('runs a key at most once at a time; hints for a running key make one more round', async () => {
    const { work, end } = gate();
    const { queue, runs, clock } = queueOf(work);
    for (let hint = 0; hint < 5; hint += 1) queue.add('a');
    expect(runs).toEqual(['a']);
    end(SETTLED);
    await clock.advance(0);
    expect(runs).toEqual(['a', 'a']);
    end(SETTLED);
    await clock.advance(60_000);
    expect(runs).toEqual(['a', 'a']);
  });

  it('keeps to its concurrency and gets to every key', async () => {
    const gated = gate();
    const { queue, runs, clock } = queueOf(gated.work, { concurrency: 2 });
    for (const key of ['a', 'b', 'c', 'd', 'e']) queue.add(key);
    for (let ended = 0; ended < 5; ended += 1) {
      await clock.advance(0);
      gated.end(SETTLED);
    }
    await clock.advance(0);
    expect(gated.most).toBe(2);
    expect(runs).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('waits with a growing pause after failures; hints do not shorten it; a success starts it anew', async () => {
    let outcome: Outcome = RETRY;
    const { queue, runs, clock, logger } = queueOf(() => outcome);
    queue.add('a');
    for (let second = 0; second < 120; second += 1) {
      queue.add('a');
      await clock.advance(1_000);
    }
    expect(runs.length).toBeGreaterThan(3);
    expect(runs.length).toBeLessThan(20); // 120 hints, no hot loop
    const delays = logger.lines.map(({ fields }) => Number(fields['delayMs']));
    expect(Math.max(...delays)).toBeLessThanOrEqual(60_000);
    outcome = SETTLED;
    await clock.advance(60_000);
    outcome = RETRY;
    queue.add('a');
    await clock.advance(0);
    expect(logger.lines.at(-1)?.fields).toMatchObject({ attempt: 1 });
  });

  it('takes the pause that the other side asked for as a floor', async () => {
    const error = new BifrostError({ code: 'CONTROL_RATE_LIMITED', message: 'slow down', retryAfterMs: 30_000 });
    const { queue, runs, clock } = queueOf(() => ({ kind: 'retry', error }));
    queue.add('a');
    await clock.advance(29_000);
    expect(runs).toHaveLength(1);
    await clock.advance(2_000);
    expect(runs).toHaveLength(2);
  });

  it('bug: a wish for an hour holds a key for a minute at most', async () => {
    const error = new BifrostError({ code: 'CONTROL_RATE_LIMITED', message: 'slow down', retryAfterMs: 3_600_000 });
    const { queue, runs, clock } = queueOf(() => ({ kind: 'retry', error }));
    queue.add('a');
    await clock.advance(59_000);
    expect(runs).toHaveLength(1);
    await clock.advance(1_000);
    expect(runs).toHaveLength(2);
  });

  it('looks again after the pause that a round asks for, or at once on a hint', async () => {
    const { queue, runs, clock } = queueOf(() => ({ kind: 'waiting', recheckMs: 5_000 }));
    queue.add('a');
    await clock.advance(4_000);
    expect(runs).toHaveLength(1);
    queue.add('a');
    await clock.advance(0);
    expect(runs).toHaveLength(2);
    await clock.advance(5_000);
    expect(runs).toHaveLength(3);
    expect(clock.sleepers).toBe(1); // the overtaken pause is gone
  });

  it('a stopped key is left alone without hints, and runs again on one', async () => {
    const { queue, runs, clock } = queueOf(() => STOPPED);
    queue.add('a');
    await clock.advance(600_000);
    expect(runs).toHaveLength(1);
    expect(clock.sleepers).toBe(0);
    queue.add('a');
    await clock.advance(0);
    expect(runs).toHaveLength(2);
  });

  it('bug: a stopped key whose own writes come back as hints is no hot loop', async () => {
    const { queue, runs, clock } = queueOf((key) => {
      queue.add(key);
      return STOPPED;
    });
    queue.add('a');
    await clock.advance(600_000);
    expect(runs.length).toBeLessThan(30);
  });

  it('an unexpected error is logged and tried again; the queue lives on', async () => {
    let broken = true;
    const { queue, runs, clock, logger } = queueOf(() => {
      if (broken) throw new TypeError('a bug');
      return SETTLED;
    });
    queue.add('a');
    await clock.advance(0);
    expect(logger.lines.map(({ level, message }) => `${level} ${message}`)).toEqual(['error work failed unexpectedly', 'warn will try again']);
    broken = false;
    await clock.advance(1_000);
    expect(runs).toHaveLength(2);
    expect(clock.sleepers).toBe(0);
  });

  it('a thrown error of ours is an outcome by its own advice', async () => {
    const { queue, logger, clock } = queueOf((key) => {
      throw key === 'a' ? unavailable : denied;
    });
    queue.add('a');
    queue.add('b');
    await clock.advance(0);
    expect(logger.lines.map(({ message, fields }) => `${String(fields['key'])} ${message}`)).toEqual(['a will try again', 'b a person must act']);
  });

  it('an interrupted round is aborted, is nobody’s failure, and begins anew at once', async () => {
    const signals: AbortSignal[] = [];
    const { queue, runs, clock, logger } = queueOf(async (_, { signal }) => {
      signals.push(signal);
      if (signals.length === 2) return SETTLED;
      await clock.sleep(10_000, { signal });
      return RETRY;
    });
    queue.add('a');
    queue.interrupt('b');
    queue.interrupt('a');
    await clock.advance(0);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
    expect([runs, logger.lines]).toEqual([['a', 'a'], []]);
    queue.interruptAll();
    queue.add('a');
    queue.interruptAll();
    await clock.advance(0);
    expect(runs).toEqual(['a', 'a', 'a', 'a']);
    await queue.stop(new Error('end'));
    expect(clock.sleepers).toBe(0);
  });

  it('bug: an interrupted retry does not keep others of its group parked for good', async () => {
    let healthy = false;
    const { queue, runs, clock } = queueOf(async (_, { signal }) => {
      if (healthy) return SETTLED;
      await clock.sleep(100, { signal });
      return RETRY;
    });
    const keys = Array.from({ length: 30 }, (_, index) => `k${index}`);
    for (const key of keys) queue.add(key);
    for (let turn = 0; turn < 200; turn += 1) {
      await clock.advance(150);
      queue.interruptAll();
    }
    healthy = true;
    runs.length = 0;
    await clock.advance(600_000);
    expect(new Set(runs)).toEqual(new Set(keys));
  });

  it('stop aborts with the reason itself, waits for what runs, and leaves no sleeper', async () => {
    const reason = new BifrostError({ code: 'MANAGER_STOPPED', message: 'stopped' });
    const seen: unknown[] = [];
    const { queue, runs, clock } = queueOf((key, { signal }) => {
      if (key === 'waits') return { kind: 'waiting', recheckMs: 1_000 };
      signal.addEventListener('abort', () => seen.push(signal.reason));
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    });
    queue.add('waits');
    queue.add('runs');
    await clock.advance(0);
    await Promise.all([queue.stop(reason), queue.stop(reason)]); // bug: the first of two stops never resolved
    expect(seen[0]).toBe(reason);
    expect(clock.sleepers).toBe(0);
    queue.add('late');
    await clock.advance(10_000);
    expect(runs).toEqual(['waits', 'runs']);
  });
});

describe('what is urged', () => {
  const failing = async () => {
    const made = queueOf(() => RETRY);
    made.queue.add('a');
    for (let round = 0; round < 9; round += 1) await made.clock.advance(70_000); // its pauses are a minute by now
    return made;
  };

  it('goes at once, whatever its pauses have come to; twin: what is only hinted at waits', async () => {
    const { queue, runs, clock } = await failing();
    const before = runs.length;
    queue.add('a');
    await clock.advance(1_000);
    expect(runs.length).toBe(before);
    queue.urge('a');
    await clock.advance(0);
    expect(runs.length).toBe(before + 1);
    await clock.advance(1_000);
    expect(runs.length, 'and its pauses go on where they were').toBe(before + 1);
  });

  it('after the round under way, however that ends', async () => {
    const { work, end } = gate();
    const { queue, runs, clock } = queueOf(work);
    queue.add('a');
    queue.urge('a');
    end(STOPPED);
    await clock.advance(0);
    expect(runs).toEqual(['a', 'a']);
    end(SETTLED);
    await clock.advance(120_000);
    expect(runs).toEqual(['a', 'a']);
  });

  it('is paid for by no budget: also what is parked goes', async () => {
    const { queue, runs, clock, logger } = queueOf((key) => (key === 'good' ? SETTLED : RETRY));
    for (let key = 0; key < 60; key += 1) queue.add(`k${key}`);
    await clock.advance(5_000);
    const before = runs.filter((key) => key === 'k7').length;
    queue.urge('k7');
    await clock.advance(0);
    expect(runs.filter((key) => key === 'k7').length).toBe(before + 1);
    expect(logger.lines.length).toBeGreaterThan(0);
  });
});
