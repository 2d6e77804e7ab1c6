import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tenancy } from './support/books.ts';
import type { Side } from './support/exchange.ts';
import { FAULTS, type Fault } from './support/faults.ts';
import { newLife } from './support/lives.ts';
import { outage } from './support/outage.ts';
import { playFault, playSteps } from './support/scenario.ts';
import type { Life } from './support/steps.ts';
import { troubleWatches } from './support/watch-trouble.ts';
import { World } from './support/world.ts';

/** Time limits of the adapters, shortened so that what hangs is given up soon. */
const LIMITS = { kubernetes: { timeoutMs: 2_000, relistMs: 4_000 }, control: { timeoutMs: 2_000 } };
/** What the loop may ask for one customer per minute while nothing goes through. A hot loop would ask thousands of times. */
const MOST_CALLS_PER_MINUTE = 600;
/** What another customer's attach may take more than without the fault. */
const MOST_DELAY_MS = 3_000;
const RECOVERS_WITHIN_MS = 40_000;
const MOST_WATCHES_PER_MINUTE = 300;

const SIDES: readonly Side[] = ['kubernetes', 'control'];
const say = (text: string): void => void process.stderr.write(`faults: ${text}\n`);
const named = (name: string): Fault => {
  const fault = FAULTS.find((each) => each.name === name);
  if (fault === undefined) throw new RangeError(`no fault "${name}"`);
  return fault;
};

const isOfWatches = ({ name }: Fault): boolean => name.startsWith('watch');

let world: World;
beforeAll(async () => {
  world = await World.open({ name: 'f', ...LIMITS });
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
    expect(seen.callsPerMinute).toBeLessThanOrEqual(MOST_CALLS_PER_MINUTE);
    expect(seen.attachMeanwhileMs).toBeLessThanOrEqual(seen.attachBeforeMs * 2 + MOST_DELAY_MS);
    expect(seen.recoveredMs).toBeLessThanOrEqual(RECOVERS_WITHIN_MS);
    if (fault[side] !== undefined) expect([...seen.codes]).toContain(fault[side]);
  });
});

describe('watches go wrong', () => {
  it.each(FAULTS.filter(isOfWatches).map((fault) => [fault.name, fault] as const))('%s: whole lives go through meanwhile', async (name, fault) => {
    const seen = await troubleWatches(world, fault);
    say(`${name}: ${JSON.stringify(seen)}`);
    expect(seen.watchesPerMinute).toBeLessThanOrEqual(MOST_WATCHES_PER_MINUTE);
    expect(seen.sharedCallsPerMinute).toBeLessThanOrEqual(MOST_CALLS_PER_MINUTE);
    expect(seen.attachMeanwhileMs).toBeLessThanOrEqual(seen.attachBeforeMs * 2 + MOST_DELAY_MS + LIMITS.kubernetes.relistMs);
    expect(seen.recoveredMs).toBeLessThanOrEqual(RECOVERS_WITHIN_MS);
  });
});

describe('nobody’s requests go through for a while', () => {
  let lives: Life[];
  beforeAll(async () => {
    world.breakWatches();
    lives = await Promise.all((['customer-owned', 'organization'] as const).map((tenancy) => newLife(world, tenancy)));
    await Promise.all(lives.map((life) => playSteps(world, life, ['create', 'attach'])));
  });

  it.each([
    ['kubernetes', 'hang'],
    ['kubernetes', '502 with a page'],
    ['kubernetes', '429 with Retry-After'],
    ['kubernetes', '410'],
    ['kubernetes', '200 with an error body'],
    ['kubernetes', 'truncated JSON'],
    ['control', 'hang'],
    ['control', '500'],
  ] as const)('%s: %s: books stay as they are, and all is well afterwards', async (side, name) => {
    const seen = await outage(world, { fault: named(name), side, lives });
    say(`outage of ${side}: ${name}: ${JSON.stringify(seen)}`);
    expect(seen.podsAfter).toEqual(seen.podsBefore);
    expect(seen.phases).toEqual(['connected', 'connected']);
    expect(seen.callsPerMinute).toBeLessThanOrEqual(MOST_CALLS_PER_MINUTE * 2);
    expect(seen.recoveredMs).toBeLessThanOrEqual(RECOVERS_WITHIN_MS);
  });

  it('what was attached all the time is taken away cleanly', async () => {
    for (const life of lives) await playSteps(world, life, ['delete with cascade']);
  });
});
