import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { faultNamed } from './support/faults.ts';
import { LEAST_FAULTED_CALLS, MOST_CALLS_PER_MINUTE, RECOVERS_WITHIN_MS, SHORT_LIMITS } from './support/limits.ts';
import { newLife } from './support/lives.ts';
import { outage } from './support/outage.ts';
import { playSteps } from './support/scenario.ts';
import type { Life } from './support/steps.ts';
import { World } from './support/world.ts';

const say = (text: string): void => void process.stderr.write(`faults: ${text}\n`);

let world: World;
beforeAll(async () => {
  world = await World.open({ name: 'o', ...SHORT_LIMITS });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

describe('nobody’s requests go through for a while', () => {
  let lives: Life[];
  beforeAll(async () => {
    lives = await Promise.all((['customer-owned', 'organization'] as const).map((tenancy) => newLife(world, tenancy)));
    await Promise.all(lives.map((life) => playSteps(world, life, ['create', 'attach'])));
  });

  it.each([
    ['kubernetes', 'wrong JSON type'],
    ['kubernetes', 'hang'],
    ['kubernetes', '502 with a page'],
    ['kubernetes', '429 with Retry-After'],
    ['kubernetes', '410'],
    ['kubernetes', '200 with an error body'],
    ['kubernetes', 'truncated JSON'],
    ['control', 'hang'],
    ['control', '500'],
  ] as const)('%s: %s: books stay as they are, and all is well afterwards', async (side, name) => {
    const seen = await outage(world, { fault: faultNamed(name), side, lives });
    say(`outage of ${side}: ${name}: ${JSON.stringify(seen)}`);
    expect(seen.podsAfter).toEqual(seen.podsBefore);
    expect(seen.phases).toEqual(['connected', 'connected']);
    expect(seen.faultedCalls).toBeGreaterThanOrEqual(LEAST_FAULTED_CALLS);
    expect(seen.callsPerMinute).toBeLessThanOrEqual(MOST_CALLS_PER_MINUTE * 2);
    expect(seen.recoveredMs).toBeLessThanOrEqual(RECOVERS_WITHIN_MS);
  });

  it('what was attached all the time is taken away cleanly', async () => {
    for (const life of lives) await playSteps(world, life, ['delete with cascade']);
  });
});
