import { eventually } from '../../lab/support/eventually.ts';
import { ABSENT_FOR_MS, absentAtFirst, absentYet } from './absent.ts';
import { type Tenancy, workloadPath } from './books.ts';
import type { Treat } from './exchange.ts';
import { touch, touchAll } from './hand.ts';
import { lasting } from './lasting.ts';
import { glanceAtLedger, judge, type Ledger, readLedger } from './ledger.ts';
import { converge, goHome, newLife, quiet } from './lives.ts';
import { playSteps } from './scenario.ts';
import { type Life, stepNamed } from './steps.ts';
import { insist } from './turmoil.ts';
import type { World } from './world.ts';

const LONGEST_MS = 20_000;

/** What stays the same while nothing has happened but wrong answers. */
export interface Kept {
  readonly attachment: string | undefined;
  readonly pods: readonly string[];
  readonly devices: readonly string[];
  readonly keys: readonly string[];
}

const keptOf = ({ attachments, pods, devices, validKeys }: Ledger): Kept => ({
  attachment: attachments[0]?.metadata.uid,
  pods: pods.map(({ metadata }) => metadata.uid).sort(),
  devices: devices.map(({ deviceId }) => deviceId).sort(),
  keys: [...validKeys].sort(),
});

/** How many answers were wrong, by operation. */
function faultedSince(world: World, { customer }: Life, begunAt: number): Readonly<Record<string, number>> {
  const faulted = world.exchanges.slice(begunAt).filter((exchange) => exchange.isFaulted && exchange.customer === customer.id);
  const byOperation = Object.groupBy(faulted, ({ operation }) => operation);
  return Object.fromEntries(Object.entries(byOperation).map(([operation, of = []]) => [operation, of.length]));
}

/** A sidecar is attached, and then, for a while, all objects of some kinds are answered as if they were not there. */
export async function missKinds(world: World, tenancy: Tenancy, operations: readonly string[]) {
  const life = await newLife(world, tenancy);
  await playSteps(world, life, ['create', 'attach']);
  const before = keptOf(await readLedger(world, life.customer));
  const begunAt = world.exchanges.length;
  await during(world, absentYet(life.customer, operations), async () => {
    await lasting({
      ...{ leastMs: ABSENT_FOR_MS, mostMs: LONGEST_MS, everyMs: 200 },
      isMet: () => Object.keys(faultedSince(world, life, begunAt)).length > 0,
      meanwhile: async () => {
        await touch(world.admin, [workloadPath(life.customer)]);
        await touchAll(world.admin, life.customer);
      },
    });
  });
  const faulted = faultedSince(world, life, begunAt);
  await convergeWithKeys(world, life);
  const after = keptOf(await readLedger(world, life.customer));
  await goHome(world, life);
  return { faulted, before, after };
}

/** A whole life in which each object is answered, for a while from its beginning, as if it was not there. */
export async function liveMissed(world: World, tenancy: Tenancy, names: readonly string[]): Promise<Readonly<Record<string, number>>> {
  const life = await newLife(world, tenancy);
  const begunAt = world.exchanges.length;
  await during(world, absentAtFirst(life.customer), async () => {
    for (const name of names) {
      const step = stepNamed(name);
      await insist(world, life, { step, over: AbortSignal.abort() });
      life.state = step.to;
      await convergeWithKeys(world, life);
    }
  });
  return faultedSince(world, life, begunAt);
}

async function during(world: World, treat: Treat, work: () => Promise<void>): Promise<void> {
  using _lasting = world.treat(treat);
  await work();
}

/** A Secret that is not found gets another key: the one before stays for its grace. Both are on record. */
async function convergeWithKeys(world: World, life: Life): Promise<void> {
  const look = (): boolean => {
    const ledger = glanceAtLedger(world, life.customer);
    life.keys = ledger.validKeys.length;
    return judge(ledger, life.customer, life).length === 0;
  };
  // What is still wrong after the time `converge` says.
  await eventually(`${life.customer.id} is ${life.state}`, look, { timeoutMs: 20_000, intervalMs: 20 }).catch(() => {});
  // A round that was under way may make a key yet.
  await quiet(world, life.customer);
  look();
  await converge(world, life);
}
