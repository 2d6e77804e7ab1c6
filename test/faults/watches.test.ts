import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAULTS, isOfWatches } from './support/faults.ts';
import { MOST_CALLS_PER_MINUTE, MOST_DELAY_MS, RECOVERS_WITHIN_MS, SHORT_LIMITS } from './support/limits.ts';
import { troubleWatches } from './support/watch-trouble.ts';
import { World } from './support/world.ts';

/** Eight collections are watched, each for 2 to 4 s. */
const MOST_WATCHES_PER_MINUTE = 300;

let world: World;
beforeAll(async () => {
  // What is asked for besides what watches lead to, as rarely as it is by default.
  world = await World.open({ name: 'w', ...SHORT_LIMITS, control: { ...SHORT_LIMITS.control, relaysKeptMs: 600_000 } });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

describe('watches go wrong', () => {
  it.each(FAULTS.filter(isOfWatches).map((fault) => [fault.name, fault] as const))('%s: whole lives go through meanwhile', async (name, fault) => {
    const seen = await troubleWatches(world, fault);
    process.stderr.write(`faults: ${name}: ${JSON.stringify(seen)}\n`);
    expect(seen.watchesPerMinute).toBeLessThanOrEqual(MOST_WATCHES_PER_MINUTE);
    expect(seen.sharedCallsPerMinute).toBeLessThanOrEqual(MOST_CALLS_PER_MINUTE);
    // A watch is everybody's: what it does not tell comes with the next list.
    expect(seen.attachMeanwhileMs).toBeLessThanOrEqual(seen.attachBeforeMs * 2 + MOST_DELAY_MS + SHORT_LIMITS.kubernetes.relistMs);
    expect(seen.recoveredMs).toBeLessThanOrEqual(RECOVERS_WITHIN_MS);
  });
});
