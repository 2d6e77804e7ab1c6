import { pause } from '../../support/pause.ts';
import type { Exchange, Side, Treat } from './exchange.ts';
import { FAULTS, type Fault, isOfWatches } from './faults.ts';
import { converge, goHome, newLife } from './lives.ts';
import { Refused } from './manager-process.ts';
import type { Chance } from './seeded.ts';
import { type Life, type Step, stepsOf } from './steps.ts';
import type { World } from './world.ts';

/** One fault of a schedule, in words for the log. */
export interface Entry {
  readonly atMs: number;
  readonly forMs: number;
  readonly fault: Fault;
  readonly side: Side;
  /** Undefined: everybody's requests, and the manager's own. */
  readonly customer: number | undefined;
  /** How many of all requests it hits. */
  readonly share: number;
  /** The manager is killed when it begins. */
  readonly kill: boolean;
}

export const describeEntry = ({ atMs, forMs, fault, side, customer, share, kill }: Entry): string =>
  `${atMs} ms: ${fault.name} on ${Math.round(share * 100)} % of ${side} for ${forMs} ms, ${customer === undefined ? 'everybody' : `customer ${customer}`}${kill ? ', and a death' : ''}`;

/** So long after the last fault a refusal may still be one of its consequences: an object that goes away only now. */
const HONEST_AFTER_MS = 20_000;

/** Faults one after the other, by chance, that overlap now and then. */
export function schedule(chance: Chance, { lastsMs, customers }: { readonly lastsMs: number; readonly customers: number }): readonly Entry[] {
  const entries: Entry[] = [];
  for (let atMs = chance.below(2_000); atMs < lastsMs; atMs += 500 + chance.below(3_000)) {
    const fault = FAULTS[chance.below(FAULTS.length)] as Fault;
    entries.push({
      ...{ atMs, forMs: 500 + chance.below(4_000), fault, side: fault.sides[chance.below(fault.sides.length)] as Side },
      customer: chance.below(3) === 0 ? undefined : chance.below(customers),
      ...{ share: [0.05, 0.2, 1][chance.below(3)] as number, kill: chance.below(8) === 0 },
    });
  }
  return entries;
}

/** Customers who live their lives through all that, and what is true when it is over. Gives how many steps they took meanwhile. */
export async function live(
  world: World,
  { entries, chance, customers }: { entries: readonly Entry[]; chance: Chance; customers: number },
): Promise<number> {
  const lives = await Promise.all(
    Array.from({ length: customers }, (_, index) => newLife(world, index % 2 === 0 ? 'customer-owned' : 'organization')),
  );
  const over = new AbortController();
  const living = lives.map((life) => wander(world, life, { chance, over: over.signal }));
  await play(world, { entries, chance, lives });
  over.abort();
  const steps = await Promise.all(living);
  for (const life of lives) await converge(world, life);
  await Promise.all(lives.map((life) => goHome(world, life)));
  return steps.reduce((sum, count) => sum + count, 0);
}

async function play(world: World, { entries, chance, lives }: { entries: readonly Entry[]; chance: Chance; lives: readonly Life[] }): Promise<void> {
  const begunMs = performance.now();
  await Promise.all(
    entries.map(async (entry) => {
      await pause(Math.max(0, begunMs + entry.atMs - performance.now()));
      if (entry.kill) await world.replaceManager();
      using _fault = world.treat(treatOf(entry, { chance, customer: entry.customer === undefined ? undefined : lives[entry.customer]?.customer.id }));
      if (isOfWatches(entry.fault)) world.breakWatches();
      await pause(entry.forMs);
      if (isOfWatches(entry.fault)) world.breakWatches();
    }),
  );
}

function treatOf({ fault, side, share }: Entry, { chance, customer }: { readonly chance: Chance; readonly customer: string | undefined }): Treat {
  const treatmentOf = fault.begin();
  return (exchange: Exchange) => {
    if (exchange.side !== side || (customer !== undefined && exchange.customer !== customer)) return undefined;
    return chance.next() < share ? treatmentOf(exchange) : undefined;
  };
}

/** From step to step, by chance. While answers may be wrong a refusal may be as well: the same again, as long as it lasts. */
async function wander(world: World, life: Life, { chance, over }: { readonly chance: Chance; readonly over: AbortSignal }): Promise<number> {
  let steps = 0;
  for (; !over.aborted; steps += 1) {
    const open = stepsOf(life.customer.tenancy).filter((step) => step.from === life.state && step.name !== 'look for leftovers');
    const step = open[chance.below(open.length)];
    if (step === undefined) return steps;
    await insist(world, life, { step, over });
    life.state = step.to;
    await converge(world, life, over).catch((error: unknown) => {
      if (!over.aborted) throw error; // it goes on after the end of all faults
    });
  }
  return steps;
}

/** One step of a caller who repeats what is refused, until long after it is `over`. */
export async function insist(world: World, life: Life, { step, over }: { readonly step: Step; readonly over: AbortSignal }): Promise<void> {
  const before = { ...life };
  for (let overSinceMs = Number.POSITIVE_INFINITY; ; ) {
    if (over.aborted) overSinceMs = Math.min(overSinceMs, performance.now());
    try {
      await step.act(world, life);
      return;
    } catch (error) {
      if (!(error instanceof Refused) || performance.now() - overSinceMs > HONEST_AFTER_MS) throw error;
      Object.assign(life, before);
      await pause(300);
    }
  }
}
