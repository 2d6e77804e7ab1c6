import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tellingOf } from './support/exchange.ts';
import { MOST_CALLS_PER_MINUTE, SHORT_LIMITS } from './support/limits.ts';
import { Chance, seedOf } from './support/seeded.ts';
import { describeEntry, live, schedule } from './support/turmoil.ts';
import { World } from './support/world.ts';

const seed = seedOf(process.env['BIFROST_FAULTS_SEED']);
const CUSTOMERS = 4;
const LASTS_MS = 60_000;
/** So many must have been taken: without, nothing was tried. */
const LEAST_STEPS = 20;
/** What a step takes when nothing goes wrong, and more. A quicker machine takes more steps: what the manager asks beside them is limited as elsewhere. */
const CALLS_PER_STEP = 40;

let world: World;
beforeAll(async () => {
  world = await World.open({ name: 'r', restarts: true, ...SHORT_LIMITS });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

describe('faults and deaths by chance', () => {
  it(`${CUSTOMERS} customers live through them, and nothing is left of anybody (seed ${seed})`, async () => {
    const chance = new Chance(seed);
    const entries = schedule(chance, { lastsMs: LASTS_MS, customers: CUSTOMERS });
    const say = (text: string): void => void process.stderr.write(`faults: by chance (seed ${seed}): ${text}\n`);
    for (const entry of entries) say(describeEntry(entry));
    const begunMs = performance.now();
    let steps = 0;
    try {
      steps = await live(world, { entries, chance, customers: CUSTOMERS });
    } catch (error) {
      for (const line of world.manager.lines.slice(-40)) say(line);
      for (const line of tellingOf(world.exchanges, 150)) say(line);
      throw error;
    }
    const [seconds, asked] = [Math.round((performance.now() - begunMs) / 1_000), world.exchanges.length];
    say(`${asked} requests in ${seconds} s for ${steps} steps, ${world.manager.number} managers`);
    expect(steps).toBeGreaterThanOrEqual(LEAST_STEPS);
    expect(asked).toBeLessThanOrEqual(steps * CALLS_PER_STEP + (seconds / 60) * MOST_CALLS_PER_MINUTE * (CUSTOMERS + 1));
  });
});
