import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SHORT_LIMITS } from './support/limits.ts';
import { Chance, seedOf } from './support/seeded.ts';
import { describeEntry, live, schedule } from './support/turmoil.ts';
import { World } from './support/world.ts';

const seed = seedOf(process.env['BIFROST_FAULTS_SEED']);
const CUSTOMERS = 4;
const LASTS_MS = 60_000;
/** For all customers together, retries and restarts included. */
const MOST_CALLS_PER_MINUTE = 6_000;

let world: World;
beforeAll(async () => {
  world = await World.open({ name: 'r', ...SHORT_LIMITS });
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
    try {
      await live(world, { entries, chance, customers: CUSTOMERS });
    } catch (error) {
      for (const line of world.manager.lines.slice(-40)) say(line);
      throw error;
    }
    const minutes = (performance.now() - begunMs) / 60_000;
    say(`${world.exchanges.length} requests in ${Math.round(minutes * 60)} s, ${world.manager.number} managers`);
    expect(world.exchanges.length / minutes).toBeLessThanOrEqual(MOST_CALLS_PER_MINUTE);
  });
});
