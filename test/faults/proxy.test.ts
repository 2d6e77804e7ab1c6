import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tenancy } from './support/books.ts';
import type { Side } from './support/exchange.ts';
import { FAULTS, isOfWatches } from './support/faults.ts';
import { LEAST_FAULTED_CALLS, MOST_CALLS_PER_MINUTE, MOST_DELAY_MS, RECOVERS_WITHIN_MS, SHORT_LIMITS } from './support/limits.ts';
import { playFault } from './support/scenario.ts';
import { World } from './support/world.ts';

const SIDES: readonly Side[] = ['kubernetes', 'control'];
const say = (text: string): void => void process.stderr.write(`faults: ${text}\n`);

let world: World;
beforeAll(async () => {
  world = await World.open({ name: 'f', ...SHORT_LIMITS });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

describe.each(SIDES)('one customer’s answers go wrong: %s', (side) => {
  const faults = FAULTS.filter((fault) => fault.sides.includes(side) && !isOfWatches(fault));
  it.concurrent.each(faults.map((fault, index) => [fault.name, fault, index] as const))('%s', async (name, fault, index) => {
    const tenancy: Tenancy = index % 2 === 0 ? 'customer-owned' : 'organization';
    const seen = await playFault(world, fault, { side, tenancy });
    say(`${side}: ${name}: ${JSON.stringify({ ...seen, codes: [...seen.codes] })}`);
    expect(seen.faultedCalls).toBeGreaterThanOrEqual(LEAST_FAULTED_CALLS);
    expect(seen.callsPerMinute).toBeLessThanOrEqual(MOST_CALLS_PER_MINUTE);
    expect(seen.attachMeanwhileMs).toBeLessThanOrEqual(seen.attachBeforeMs * 2 + MOST_DELAY_MS);
    expect(seen.recoveredMs).toBeLessThanOrEqual(RECOVERS_WITHIN_MS);
    if (fault[side] !== undefined) expect([...seen.codes]).toContain(fault[side]);
  });
});
