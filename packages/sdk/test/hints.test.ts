import { describe, expect, it } from 'vitest';
import { MemoryLogger } from '../src/adapters/memory/logger.ts';
import { Hints } from '../src/manager/hints.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';

function hintsOf() {
  const clock = new ManualClock();
  const working = new Set<string>();
  const looks: string[] = [];
  const hints = new Hints({
    ...{ clock, logger: new MemoryLogger(), concurrency: 4, baseMs: 500, maxMs: 60_000 },
    groupOf: (key) => key.split('/')[0],
    isWorking: (key) => working.has(key),
  });
  const tell = (key: string, what = key): void => hints.add(key, async () => void looks.push(what));
  return { clock, working, looks, hints, tell };
}

describe('a hint', () => {
  it('waits for the reply of a write that it may be about, and the newest of several is looked at', async () => {
    const { clock, looks, tell } = hintsOf();
    tell('acme/one', 'first');
    await clock.advance(30);
    tell('acme/one', 'second');
    expect(looks).toEqual([]);
    await clock.advance(30);
    expect(looks).toEqual(['second']);
    await clock.advance(1_000);
    expect(looks).toEqual(['second']);
  });

  it('comes through however often others follow it', async () => {
    const { clock, looks, tell } = hintsOf();
    for (let passedMs = 0; passedMs < 1_000; passedMs += 10) {
      tell('acme/one');
      await clock.advance(10);
    }
    expect(looks.length).toBeGreaterThanOrEqual(10);
    expect(looks.length).toBeLessThanOrEqual(20);
  });

  it('waits while a round writes the object; its twin of another object does not', async () => {
    const { clock, working, looks, tell } = hintsOf();
    working.add('acme/one');
    tell('acme/one');
    tell('acme/two');
    await clock.advance(10_000);
    expect(looks).toEqual(['acme/two']);
    working.clear();
    await clock.advance(100);
    expect(looks).toEqual(['acme/two', 'acme/one']);
  });

  it('whose look hangs holds up a quarter of the places, and nobody else’s', async () => {
    const { clock, looks, hints, tell } = hintsOf();
    const hanging = Promise.withResolvers<void>();
    hints.add('acme/one', () => hanging.promise);
    tell('acme/two');
    tell('globex/one');
    await clock.advance(1_000);
    expect(looks).toEqual(['globex/one']);
    hanging.resolve();
    await clock.advance(1_000);
    expect(looks).toEqual(['globex/one', 'acme/two']);
  });

  it('that comes after the stop is not looked at, and none is waited for', async () => {
    const { clock, looks, hints, tell } = hintsOf();
    tell('acme/one');
    await hints.stop(new Error('over'));
    tell('acme/two');
    await clock.advance(1_000);
    expect(looks).toEqual([]);
  });
});
