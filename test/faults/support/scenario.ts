import { eventually } from '../../lab/support/eventually.ts';
import type { Tenancy } from './books.ts';
import { type Exchange, type Side, type Treat, tellingOf } from './exchange.ts';
import type { Fault } from './faults.ts';
import { deletePods, touchAll } from './hand.ts';
import { lasting } from './lasting.ts';
import { glanceAtLedger } from './ledger.ts';
import { LEAST_FAULTED_CALLS } from './limits.ts';
import { converge, newLife, takeStep } from './lives.ts';
import { Refused } from './manager-process.ts';
import { type Life, stepNamed } from './steps.ts';
import type { World } from './world.ts';

/** So long a fault lasts in which nothing goes through; where each call hangs until its time is over, until enough have met it. */
const LASTS_MS = 8_000;
const LONGEST_MS = 30_000;
/** Else every so-manieth request goes wrong: a prime larger than what a round asks, so that it is another one each time. */
export const EVERY = 19;

/** What was seen of one fault. */
export interface Seen {
  /** Requests of the faulted customer on the faulted side, per minute, while nothing went through. */
  readonly callsPerMinute: number;
  /** Those that the fault met meanwhile; of stale reads those whose answer was older than what the server had. */
  readonly faultedCalls: number;
  /** Attaching another customer's book before the fault and while it lasted, milliseconds. */
  readonly attachBeforeMs: number;
  readonly attachMeanwhileMs: number;
  /** From the end of the fault until the ledger was exact. */
  readonly recoveredMs: number;
  /** Codes that a call was answered with, that the sidecar's reason told, and that the log told. */
  readonly codes: ReadonlySet<string>;
}

/** One step after the other. */
export async function playSteps(world: World, life: Life, names: readonly string[]): Promise<void> {
  for (const name of names) await play(world, life, name);
}

const play = (world: World, life: Life, name: string): Promise<void> => takeStep(world, life, stepNamed(name));

/** Requests of that customer on that side go wrong: all of them, or every so-manieth. */
export function faultFor(customer: string, side: Side, { fault, every = 1 }: { readonly fault: Fault; readonly every?: number }): Treat {
  const treatmentOf = fault.begin();
  let count = 0;
  return (exchange) => {
    if (exchange.customer !== customer || exchange.side !== side) return undefined;
    count += 1;
    return count % every === 0 ? treatmentOf(exchange) : undefined;
  };
}

/**
 * Two customers on one manager: the answers to one go wrong. First now and then while a book is attached, then all of them for a while, then now and then
 * while everything is taken away. The other customer attaches a book before and meanwhile.
 */
export async function playFault(world: World, fault: Fault, { side, tenancy }: { readonly side: Side; readonly tenancy: Tenancy }): Promise<Seen> {
  const [life, other] = [await newLife(world, tenancy), await newLife(world, 'organization')];
  try {
    return await playOn(world, fault, { side, life, other });
  } catch (error) {
    const { id } = life.customer;
    const lines = [...world.manager.lines.filter((line) => line.includes(id)).slice(-20), ...tellingOf(world.exchanges, 60, id)];
    for (const line of lines) process.stderr.write(`faults: ${side}: ${fault.name}: ${line}\n`);
    throw error;
  }
}

async function playOn(
  world: World,
  fault: Fault,
  { side, life, other }: { readonly side: Side; readonly life: Life; readonly other: Life },
): Promise<Seen> {
  const { id } = life.customer;
  {
    using _now = world.treat(faultFor(id, side, { fault, every: EVERY }));
    await play(world, life, 'create');
    await play(world, life, 'attach');
  }
  await play(world, other, 'create');
  const attachBeforeMs = await timed(() => attachUntilConnected(world, other));
  await converge(world, { ...other, state: 'attached', keys: 1 });
  await play(world, other, 'detach');
  const lasting = await outlast(world, { life, other, fault, side });
  {
    using _now = world.treat(faultFor(id, side, { fault, every: EVERY }));
    await play(world, life, 'detach');
    await play(world, life, 'delete');
  }
  await play(world, other, 'delete with cascade');
  return { ...lasting, attachBeforeMs };
}

interface Cast {
  readonly life: Life;
  readonly other: Life;
  readonly fault: Fault;
  readonly side: Side;
}

async function outlast(world: World, { life, other, fault, side }: Cast): Promise<Omit<Seen, 'attachBeforeMs'>> {
  const { id } = life.customer;
  const codes = new Set<string>();
  const begun = { at: world.exchanges.length, lines: world.manager.lineCount, ms: performance.now() };
  const askedOf = () => world.exchanges.slice(begun.at).filter((exchange: Exchange) => exchange.customer === id && exchange.side === side);
  const faultedOf = (): number => askedOf().filter(({ isFaulted }) => isFaulted).length;
  let attachMeanwhileMs = 0;
  {
    using _lasting = world.treat(faultFor(id, side, { fault }));
    await deletePods(world.admin, life.customer);
    const [attachMs] = await Promise.all([
      timed(() => attachUntilConnected(world, other)),
      lasting({
        ...{ leastMs: LASTS_MS, mostMs: LONGEST_MS, everyMs: 1_000 },
        isMet: () => faultedOf() >= LEAST_FAULTED_CALLS,
        meanwhile: () => makeWork(world, life, codes),
      }),
    ]);
    attachMeanwhileMs = attachMs;
  }
  const [lastedMs, asked, faultedCalls] = [performance.now() - begun.ms, askedOf(), faultedOf()];
  const recoveredMs = await timed(() => converge(world, life));
  await converge(world, { ...other, state: 'attached', keys: 1 });
  other.state = 'attached';
  for (const line of world.manager.linesSince(begun.lines))
    if (line.includes(id)) for (const [code] of line.matchAll(/(?<="code":")[A-Z_]+/g)) codes.add(code);
  return { callsPerMinute: Math.round((asked.length * 60_000) / lastedMs), faultedCalls, attachMeanwhileMs, recoveredMs, codes };
}

/** Gives the loop reasons to work on the customer, and looks at what can be seen of it. */
async function makeWork(world: World, { customer }: Life, codes: Set<string>): Promise<void> {
  // Hints that come all the time must not make it ask all the time.
  await touchAll(world.admin, customer);
  await world.manager.call('getTailnet', [customer.tailnetName]).catch((error: unknown) => {
    if (error instanceof Refused) codes.add(error.code);
  });
  const [attachment] = glanceAtLedger(world, customer).attachments;
  const code = attachment?.['status']?.reason?.code;
  if (code !== undefined) codes.add(code);
}

export async function attachUntilConnected(world: World, life: Life): Promise<void> {
  await stepNamed('attach').act(world, life);
  const isConnected = (): boolean => glanceAtLedger(world, life.customer).attachments[0]?.['status']?.phase === 'connected';
  await eventually(`${life.customer.id} is connected`, isConnected, { timeoutMs: 40_000, intervalMs: 10 });
}

export async function timed(work: () => Promise<void>): Promise<number> {
  const begunMs = performance.now();
  await work();
  return Math.round(performance.now() - begunMs);
}
