import { BifrostError } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryLogger } from '../src/adapters/memory/logger.ts';
import { type Outcome, SETTLED, WorkQueue } from '../src/manager/work-queue.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';

const failing = (code: 'CONTROL_UNAVAILABLE' | 'CONTROL_RATE_LIMITED' | 'CONTROL_DENIED' | 'STORE_CONFLICT', retryAfterMs?: number): Outcome => {
  const error = new BifrostError({ code, message: 'not now', ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
  return { kind: error.retry === 'backoff' ? 'retry' : 'stopped', error };
};
const DOWN = failing('CONTROL_UNAVAILABLE');
const DENIED = failing('CONTROL_DENIED');
const KEYS = Array.from({ length: 1_000 }, (_, index) => `acme/${index}`);
const MINUTE = 60_000;
const ROUND_MS = 50;

/** A queue whose rounds take a while; keys are `CUSTOMER/NAME`. */
function queueOf(outcomeOf: (key: string) => Outcome | Promise<Outcome>, { concurrency = 16, roundMs = ROUND_MS, seed = 1 } = {}) {
  const clock = new ManualClock({ seed });
  const logger = new MemoryLogger();
  const runs: { readonly key: string; readonly atMs: number }[] = [];
  const running = new Set<string>();
  const most = new Map<string, number>();
  const groupOf = (key: string): string | undefined => (key.includes('/') ? key.split('/')[0] : undefined);
  const queue = new WorkQueue({
    ...{ clock, logger, concurrency, baseMs: 500, maxMs: MINUTE, groupOf },
    work: async (key, { signal }) => {
      runs.push({ key, atMs: clock.nowMs() });
      running.add(key);
      const group = groupOf(key) ?? key;
      most.set(group, Math.max(most.get(group) ?? 0, [...running].filter((other) => (groupOf(other) ?? other) === group).length));
      if (roundMs > 0) await clock.sleep(roundMs, { signal }).finally(() => running.delete(key));
      running.delete(key);
      return outcomeOf(key);
    },
  });
  const since = (fromMs: number): number => runs.filter(({ atMs }) => atMs >= fromMs).length;
  return { clock, logger, runs, queue, most, since };
}

/** One minute with a resync in it: every key is hinted once more. */
async function minute({ clock, queue }: Pick<ReturnType<typeof queueOf>, 'clock' | 'queue'>, keys: readonly string[]): Promise<void> {
  for (const key of keys) queue.add(key);
  await clock.advance(MINUTE);
}

describe('a key that comes to belong to another group while it runs', () => {
  it.each(['by a hint', 'by an interruption'] as const)('bug: leaves its place to the keys that wait there (it begins anew %s)', async (how) => {
    const clock = new ManualClock();
    const runs: string[] = [];
    let left = false;
    const queue: WorkQueue = new WorkQueue({
      ...{ clock, logger: new MemoryLogger(), concurrency: 4, baseMs: 500, maxMs: MINUTE },
      groupOf: (key) => (key === 'first' && left ? 'another' : 'acme'),
      work: async (key, { signal }) => {
        runs.push(key);
        if (key !== 'first' || left) return SETTLED;
        left = true;
        if (how === 'by a hint') queue.add('first');
        else queue.interrupt('first');
        signal.throwIfAborted();
        return SETTLED;
      },
    });
    for (const key of ['first', 'second', 'third']) queue.add(key);
    await clock.advance(1_000);
    expect(runs.toSorted()).toEqual(['first', 'first', 'second', 'third']);
  });
});

describe('a customer whose every key fails', () => {
  it.each([
    ['for a while', DOWN],
    ['until a person acts', DENIED],
  ])('1,000 keys that fail %s are a few calls per minute, hints or not', async (_, outcome) => {
    const world = queueOf(() => outcome);
    await minute(world, KEYS); // each key learns of it once
    expect(world.runs.length).toBeLessThanOrEqual(KEYS.length + 60);
    for (let passed = 1; passed <= 10; passed += 1) {
      const fromMs = world.clock.nowMs();
      await minute(world, KEYS);
      expect(world.since(fromMs)).toBeLessThanOrEqual(25);
      expect(world.since(fromMs)).toBeGreaterThan(0); // and is not forgotten
    }
  });

  it('1,000 parked keys recover in seconds', async () => {
    let outcome = DOWN;
    const world = queueOf(() => outcome);
    for (let passed = 0; passed < 30; passed += 1) await minute(world, KEYS);
    outcome = SETTLED;
    const fromMs = world.clock.nowMs();
    await world.clock.advance(45_000); // the longest pause of a probe, then 1,000 rounds of 50 ms, four at a time
    const recovered = new Set(world.runs.filter(({ atMs }) => atMs >= fromMs).map(({ key }) => key));
    expect(KEYS.length - recovered.size).toBeLessThanOrEqual(1); // one may still wait out its own pause
    await world.clock.advance(MINUTE);
    expect(world.since(fromMs)).toBe(KEYS.length);
    expect(world.clock.sleepers).toBe(0);
  });

  it('1,000 keys that a person had to help recover with the next hints', async () => {
    let outcome = DENIED;
    const world = queueOf(() => outcome);
    for (let passed = 0; passed < 5; passed += 1) await minute(world, KEYS);
    outcome = SETTLED;
    const fromMs = world.clock.nowMs();
    await minute(world, KEYS);
    expect(world.since(fromMs)).toBe(KEYS.length);
  });

  it('keys that still fail do not keep the others parked', async () => {
    let isDown = true;
    const isBad = (key: string): boolean => Number(key.split('/')[1]) < 20;
    const world = queueOf((key) => (isDown || isBad(key) ? DOWN : SETTLED));
    for (let passed = 0; passed < 10; passed += 1) await minute(world, KEYS);
    isDown = false;
    const fromMs = world.clock.nowMs();
    await world.clock.advance(3 * MINUTE);
    const recovered = new Set(world.runs.filter(({ key, atMs }) => atMs >= fromMs && !isBad(key)).map(({ key }) => key));
    expect(recovered.size).toBe(KEYS.length - 20);
  });

  it('probes heed the pause that the other side asks for', async () => {
    const world = queueOf(() => failing('CONTROL_UNAVAILABLE', 50_000));
    await minute(world, KEYS);
    const fromMs = world.clock.nowMs();
    await minute(world, KEYS);
    expect(world.since(fromMs)).toBeLessThanOrEqual(22); // as many as there are tokens
  });

  it('bug: a wish for an hour holds no customer longer than a minute', async () => {
    const world = queueOf(() => failing('CONTROL_RATE_LIMITED', 3_600_000));
    await minute(world, KEYS);
    for (let passed = 1; passed <= 5; passed += 1) {
      const fromMs = world.clock.nowMs();
      await world.clock.advance(MINUTE + ROUND_MS);
      expect(world.since(fromMs)).toBeGreaterThan(0);
    }
  });

  it('a first conflict is a race and costs nothing, those that follow do', async () => {
    const conflicts = new Map<string, number>();
    const once = queueOf((key) => {
      conflicts.set(key, (conflicts.get(key) ?? 0) + 1);
      return conflicts.get(key) === 1 ? failing('STORE_CONFLICT') : SETTLED;
    });
    await minute(once, KEYS);
    expect(once.runs).toHaveLength(2 * KEYS.length);
    expect(once.logger.lines.some(({ message }) => message === 'retries are parked')).toBe(false);
    const always = queueOf(() => failing('STORE_CONFLICT'));
    await minute(always, KEYS);
    const fromMs = always.clock.nowMs();
    await minute(always, KEYS);
    expect(always.since(fromMs)).toBeLessThanOrEqual(25);
  });
});

describe('another customer', () => {
  it('runs at once while 1,000 keys of one customer hang', async () => {
    const world = queueOf(() => SETTLED, { roundMs: 15_000 });
    for (const key of KEYS) world.queue.add(key);
    await world.clock.advance(1_000);
    const askedAtMs = world.clock.nowMs();
    world.queue.add('globex/book');
    await world.clock.advance(0);
    expect(world.runs.at(-1)).toEqual({ key: 'globex/book', atMs: askedAtMs });
    expect(world.most.get('acme')).toBe(4);
  });

  it('runs at once while 1,000 keys of one customer are parked', async () => {
    const world = queueOf((key) => (key.startsWith('acme/') ? DOWN : SETTLED));
    await minute(world, KEYS);
    const askedAtMs = world.clock.nowMs();
    world.queue.add('globex/book');
    await world.clock.advance(0);
    expect(world.runs.at(-1)).toEqual({ key: 'globex/book', atMs: askedAtMs });
  });

  it('retries on a budget of its own', async () => {
    let isDown = true;
    const world = queueOf((key) => (key.startsWith('acme/') || isDown ? DOWN : SETTLED));
    await minute(world, KEYS);
    world.queue.add('globex/book');
    await world.clock.advance(100);
    isDown = false;
    await world.clock.advance(1_000); // its own first pause
    expect(world.runs.filter(({ key }) => key === 'globex/book')).toHaveLength(2);
  });

  it('gets every other place when two customers have more to do than there are places', async () => {
    const world = queueOf(() => SETTLED, { concurrency: 4 }); // one place each
    for (const key of KEYS.slice(0, 50)) world.queue.add(key);
    for (let index = 0; index < 50; index += 1) world.queue.add(`globex/${index}`);
    await world.clock.advance(10 * ROUND_MS);
    expect(world.runs.filter(({ key }) => key.startsWith('globex/')).length).toBeGreaterThanOrEqual(10);
    expect([...world.most.values()]).toEqual([1, 1]);
  });
});

describe('groups', () => {
  it('keys of nobody have a group each', async () => {
    const world = queueOf(() => SETTLED, { concurrency: 8 });
    for (let index = 0; index < 8; index += 1) world.queue.add(`nobody${index}`);
    await world.clock.advance(0);
    expect(world.runs).toHaveLength(8);
  });

  it('a key joins its customer’s group when it is known whose it is', async () => {
    const clock = new ManualClock();
    const owners = new Map<string, string>();
    let running = 0;
    let most = 0;
    const work = async (_: string, { signal }: { readonly signal: AbortSignal }): Promise<Outcome> => {
      running += 1;
      most = Math.max(most, running);
      await clock.sleep(ROUND_MS, { signal });
      running -= 1;
      return { kind: 'waiting', recheckMs: 1_000 };
    };
    const queue = new WorkQueue({
      ...{ clock, logger: new MemoryLogger(), concurrency: 8, baseMs: 500, maxMs: MINUTE, work },
      groupOf: (key) => owners.get(key),
    });
    for (let index = 0; index < 8; index += 1) queue.add(`k${index}`);
    await clock.advance(ROUND_MS);
    expect(most).toBe(8);
    for (let index = 0; index < 8; index += 1) owners.set(`k${index}`, 'acme');
    most = 0;
    await clock.advance(5_000);
    expect(most).toBe(2);
    await queue.stop(undefined);
  });

  it('stop leaves nothing: no sleeper, no round', async () => {
    const world = queueOf((key) => (key.startsWith('acme/') ? DOWN : { kind: 'waiting', recheckMs: 1_000 }));
    for (const key of [...KEYS, 'globex/waits']) world.queue.add(key);
    await world.clock.advance(MINUTE);
    const stopped = world.queue.stop(new BifrostError({ code: 'MANAGER_STOPPED', message: 'stopped' }));
    await world.clock.advance(0);
    await stopped;
    const { length } = world.runs;
    expect(world.clock.sleepers).toBe(0);
    world.queue.add('acme/1');
    await world.clock.advance(10 * MINUTE);
    expect(world.runs).toHaveLength(length);
  });

  it('whatever fails and is hinted when: shares are kept, calls are bounded, and in the end every key is well', async () => {
    const step = fc.record({
      hints: fc.array(fc.nat(59), { maxLength: 30 }),
      advanceMs: fc.nat(20_000),
      down: fc.constantFrom('all', 'half', 'none'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), fc.nat(1_000), async (steps, seed) => {
        let down = 'none';
        const last = new Map<string, boolean>();
        const isDown = (key: string): boolean => down === 'all' || (down === 'half' && Number(key.split('/')[1]) % 2 === 0);
        const world = queueOf(
          (key) => {
            last.set(key, !isDown(key));
            return isDown(key) ? DOWN : SETTLED;
          },
          { seed },
        );
        let hints = 0;
        for (const { hints: hinted, advanceMs, down: now } of steps) {
          down = now;
          for (const index of hinted) world.queue.add(`${index % 3 === 0 ? 'acme' : 'globex'}/${index}`);
          hints += hinted.length;
          await world.clock.advance(advanceMs);
        }
        down = 'none';
        await world.clock.advance(5 * MINUTE);
        const elapsedMs = world.clock.nowMs() - 1_767_225_600_000;
        const known = new Set(world.runs.map(({ key }) => key)).size;
        expect([...last.values()].every(Boolean)).toBe(true);
        expect(Math.max(0, ...world.most.values())).toBeLessThanOrEqual(4);
        // Every hint may cost a round; beside them: the budget of two groups, and one successful retry per key and outage.
        expect(world.runs.length).toBeLessThanOrEqual(hints + 2 * (20 + elapsedMs / 3_000) + known * (steps.length + 1));
        expect(world.clock.sleepers).toBe(0);
      }),
      { numRuns: 40 },
    );
  });
});
