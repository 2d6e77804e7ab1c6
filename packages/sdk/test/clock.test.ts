import { describe, expect, it } from 'vitest';
import { systemClock } from '../src/adapters/system/clock.ts';
import { describeClock } from '../src/testing/conformance/clock.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });

describeClock('system', () => {
  const clock = systemClock();
  return { clock, pass: (milliseconds) => clock.sleep(milliseconds, call()) };
});
describeClock('manual', () => {
  const clock = new ManualClock();
  return { clock, pass: (milliseconds) => clock.advance(milliseconds) };
});

describe('ManualClock', () => {
  it('stands still until it is advanced', async () => {
    const clock = new ManualClock({ startMs: 1_000 });
    const rested = clock.sleep(10, call());
    expect([clock.nowMs(), clock.sleepers]).toEqual([1_000, 1]);
    await clock.advance(9);
    expect([clock.nowMs(), clock.sleepers]).toEqual([1_009, 1]);
    await clock.advance(1);
    await rested;
    expect(clock.sleepers).toBe(0);
  });

  it('runs a loop that sleeps again as often as the time allows, each turn at its own time', async () => {
    const clock = new ManualClock({ startMs: 0 });
    const turns: number[] = [];
    const stop = new AbortController();
    const loop = (async () => {
      for (;;) {
        await clock.sleep(100, stop);
        turns.push(clock.nowMs());
      }
    })();
    await clock.advance(350);
    expect(turns).toEqual([100, 200, 300]);
    expect(clock.nowMs()).toBe(350);
    stop.abort('enough');
    await expect(loop).rejects.toBe('enough');
  });

  it('repeats ids and chance for one seed, and not for another', () => {
    const draw = (seed: number) => {
      const clock = new ManualClock({ seed });
      return [clock.newId(), clock.random(), clock.newId()];
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });
});
