import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../ports/clock.ts';
import type { CallOptions } from '../../ports/store.ts';

/** What `open` gives. */
export interface ClockUnderTest {
  readonly clock: Clock;
  /** Lets at least that many milliseconds pass on this clock. */
  pass(milliseconds: number): Promise<void>;
}

const call = (): CallOptions => ({ signal: AbortSignal.timeout(5_000) });
const TOLERANCE_MS = 2; // timers and wall clock of one machine round differently

/** The suite of the Clock port. */
export function describeClock(adapter: string, open: () => ClockUnderTest): void {
  describe(`Clock port: ${adapter}`, () => {
    describeTime(open);
    describeSleepEnd(open);
    describeChance(open);
  });
}

function describeTime(open: () => ClockUnderTest): void {
  it('K1: time is whole milliseconds and moves on', async () => {
    const { clock, pass } = open();
    const before = clock.nowMs();
    expect(Number.isInteger(before)).toBe(true);
    await pass(20);
    expect(clock.nowMs() - before).toBeGreaterThanOrEqual(20 - TOLERANCE_MS);
  });

  it('K2: sleep ends when its time has come, not before', async () => {
    const { clock, pass } = open();
    const before = clock.nowMs();
    const rested = clock.sleep(30, call()).then(() => clock.nowMs());
    await pass(40);
    expect((await rested) - before).toBeGreaterThanOrEqual(30 - TOLERANCE_MS);
  });

  it('K3: sleeps end in the order of their times', async () => {
    const { clock, pass } = open();
    const order: number[] = [];
    const rested = [60, 5, 30].map((milliseconds) => clock.sleep(milliseconds, call()).then(() => order.push(milliseconds)));
    await pass(80);
    await Promise.all(rested);
    expect(order).toEqual([5, 30, 60]);
  });

  it('K4: a sleep of nothing, or of less, ends', async () => {
    const { clock } = open();
    await clock.sleep(0, call());
    await clock.sleep(-5, call());
  });

  it('K5: a sleep of many days does not end at once', async () => {
    const { clock, pass } = open();
    const controller = new AbortController();
    let ended = false;
    const rested = clock.sleep(30 * 86_400_000, controller).then(() => {
      ended = true;
    });
    await pass(20);
    expect(ended).toBe(false);
    controller.abort('enough');
    await expect(rested).rejects.toBe('enough');
  });
}

function describeSleepEnd(open: () => ClockUnderTest): void {
  it('K6: an aborted sleep rejects with the reason itself; no listener and no timer is left', async () => {
    const { clock, pass } = open();
    const controller = new AbortController();
    const reason = new Error('caller left');
    const timers = (): number => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length;
    const before = timers();
    const rested = Promise.allSettled(Array.from({ length: 50 }, () => clock.sleep(60_000, controller)));
    await pass(5);
    controller.abort(reason);
    for (const outcome of await rested) expect(outcome.status === 'rejected' && outcome.reason).toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    expect(timers() - before).toBeLessThan(50);
  });

  it('K7: a sleep with an aborted signal rejects with the reason itself', async () => {
    const { clock } = open();
    const reason = new Error('caller left before');
    await expect(clock.sleep(0, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(clock.sleep(10, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it('K8: a sleep that ended leaves no listener', async () => {
    const { clock, pass } = open();
    const controller = new AbortController();
    const rested = clock.sleep(5, controller);
    await pass(10);
    await rested;
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });
}

function describeChance(open: () => ClockUnderTest): void {
  it('K9: ids are uuids of version 4 and do not repeat', () => {
    const { clock } = open();
    const ids = Array.from({ length: 1_000 }, () => clock.newId());
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(1_000);
  });

  it('K10: chance lies in [0, 1) and spreads over it', () => {
    const { clock } = open();
    const values = Array.from({ length: 2_000 }, () => clock.random());
    for (const value of values) expect(value >= 0 && value < 1).toBe(true);
    const tenths = new Set(values.map((value) => Math.floor(value * 10)));
    expect(tenths.size).toBe(10);
  });
}
