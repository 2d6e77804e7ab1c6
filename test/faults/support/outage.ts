import { eventually } from '../../lab/support/eventually.ts';
import type { Side, Treat } from './exchange.ts';
import type { Fault } from './faults.ts';
import { touchAll } from './hand.ts';
import { lasting } from './lasting.ts';
import { readLedger } from './ledger.ts';
import { LEAST_FAULTED_CALLS } from './limits.ts';
import { converge } from './lives.ts';
import type { Life } from './steps.ts';
import type { World } from './world.ts';

const LASTS_MS = 6_000;
/** Where each call hangs until its time is over, so long until enough have met it. */
const LONGEST_MS = 30_000;

export interface Outage {
  /** All requests of the manager on that side, per minute, while nothing went through. */
  readonly callsPerMinute: number;
  /** Those that the fault met: without any, nothing was tried. */
  readonly faultedCalls: number;
  /** From its end until a round of every key of every customer has gone through, and ledgers were exact. */
  readonly recoveredMs: number;
  /** Pods of the books before and after: the same, when nobody touched them. */
  readonly podsBefore: readonly string[];
  readonly podsAfter: readonly string[];
  /** How the attachments stood while it lasted. */
  readonly phases: readonly string[];
}

/** Nothing on one side goes through, for anybody; no watch can be opened. */
export async function outage(world: World, { fault, side, lives }: { fault: Fault; side: Side; lives: readonly Life[] }): Promise<Outage> {
  const pods = async (): Promise<string[]> => {
    const ledgers = await Promise.all(lives.map(({ customer }) => readLedger(world, customer)));
    return ledgers.flatMap(({ pods: found }) => found.map(({ metadata }) => metadata.uid));
  };
  const podsBefore = await pods();
  const begunAt = world.exchanges.length;
  const fromMs = performance.now();
  const askedOf = () => world.exchanges.slice(begunAt).filter((exchange) => exchange.side === side);
  const faultedOf = (): number => askedOf().filter(({ isFaulted }) => isFaulted).length;
  {
    const treatmentOf = fault.begin();
    const treat: Treat = (exchange) => (exchange.side === side ? (fault.treatment ?? treatmentOf(exchange)) : undefined);
    using _lasting = world.treat(treat);
    if (side === 'kubernetes') world.breakWatches();
    await lasting({
      ...{ leastMs: LASTS_MS, mostMs: LONGEST_MS, everyMs: 1_000 },
      isMet: () => faultedOf() >= LEAST_FAULTED_CALLS,
      meanwhile: async () => {
        for (const { customer } of lives) await touchAll(world.admin, customer);
      },
    });
  }
  const [lastedMs, asked, faultedCalls] = [performance.now() - fromMs, askedOf(), faultedOf()];
  const phases = lives.map(({ customer }) => String(world.mirror.list('attachments', customer.id)[0]?.['status']?.phase));
  const begunMs = performance.now();
  if (side === 'kubernetes') world.breakWatches();
  await Promise.all(lives.map((life) => worksAgain(world, life)));
  for (const life of lives) await converge(world, life);
  const recoveredMs = Math.round(performance.now() - begunMs);
  const callsPerMinute = Math.round((asked.length * 60_000) / lastedMs);
  return { callsPerMinute, faultedCalls, recoveredMs, podsBefore, podsAfter: await pods(), phases };
}

/** What a round of a tailnet asks for, and one of a sidecar near its end: not before all that is asked on the other side. */
const ROUNDS = ['tailnets.describe', 'devices.list'];

/**
 * Until both rounds of a customer have gone through. What is exact because nobody touched it says nothing of the manager, and what is parked would ask
 * nothing in the next outage.
 */
async function worksAgain({ admin, exchanges }: World, { customer }: Life): Promise<void> {
  const begunAt = exchanges.length;
  const isAnswered = (operation: string): boolean =>
    exchanges.slice(begunAt).some((exchange) => exchange.customer === customer.id && exchange.operation === operation && exchange.status === 200);
  await eventually(
    `rounds of ${customer.id} go through again`,
    async () => {
      await touchAll(admin, customer);
      return ROUNDS.every(isAnswered);
    },
    { timeoutMs: 60_000, intervalMs: 500 },
  );
}
