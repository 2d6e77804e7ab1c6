import { pause } from '../../support/pause.ts';
import { bringCustomer, type Customer, type Tenancy } from './books.ts';
import { glanceAtLedger, judge, type Ledger, readLedger, type State } from './ledger.ts';
import { type Life, type Step, stepsOf } from './steps.ts';
import type { World } from './world.ts';

const CONVERGES_WITHIN_MS = 40_000;
const QUIET_MS = 200;
const QUIET_WITHIN_MS = 5_000;

export async function newLife(world: World, tenancy: Tenancy): Promise<Life> {
  return { customer: await bringCustomer(world, tenancy), state: 'none', sidecarId: '', keys: 0, changes: 0 };
}

/** Does one step and waits until the ledger is exact and stays so. @throws what is still wrong after the time */
export async function takeStep(world: World, life: Life, step: Step): Promise<void> {
  await step.act(world, life);
  life.state = step.to;
  await converge(world, life);
}

/** Until the ledger is exact and stays so; `until` gives up earlier. @throws what is still wrong */
export async function converge(world: World, { customer, ...life }: Life, until?: AbortSignal): Promise<void> {
  const expected = { state: life.state, keys: life.keys };
  let problems: readonly string[] = [];
  const look = (ledger: Ledger): boolean => {
    problems = judge(ledger, customer, expected);
    return problems.length === 0;
  };
  const begunMs = performance.now();
  do {
    while (!look(glanceAtLedger(world, customer))) {
      // A manager that was killed meanwhile is no manager that is slow.
      if (until?.aborted || (until === undefined && performance.now() - Math.max(begunMs, world.replacedAtMs) > CONVERGES_WITHIN_MS))
        throw new Error(`${customer.id} has not converged to ${expected.state}: ${problems.join('; ')}`);
      await pause(20);
    }
    await quiet(world, customer);
  } while (!look(await readLedger(world, customer))); // exact for a moment does not count
}

/** Until nothing has been asked for this customer for a moment. */
export async function quiet({ log }: World, { id }: Pick<Customer, 'id'>): Promise<void> {
  const begun = performance.now();
  while (performance.now() - begun < QUIET_WITHIN_MS) {
    const leftMs = log.latestMs(id) + QUIET_MS - performance.now();
    if (leftMs <= 0) return;
    await pause(leftMs);
  }
}

/** The next step on a shortest way to one of the wanted steps; undefined when there is none. */
export function wayTo({ customer, state }: Life, isWanted: (step: Step) => boolean): Step | undefined {
  const steps = stepsOf(customer.tenancy);
  const seen = new Set<State>([state]);
  let paths = steps.filter((step) => step.from === state).map((step) => [step]);
  while (paths.length > 0) {
    const found = paths.find((path) => isWanted(path.at(-1) as Step));
    if (found !== undefined) return found[0];
    paths = paths.flatMap((path) => {
      const { to } = path.at(-1) as Step;
      if (seen.has(to)) return [];
      seen.add(to);
      return steps.filter((step) => step.from === to).map((step) => [...path, step]);
    });
  }
  return undefined;
}

/** To where nothing is left of it, on the shortest way. */
export async function goHome(world: World, life: Life): Promise<void> {
  while (life.state !== 'none') {
    const step = wayTo(life, ({ to }) => to === 'none');
    if (step === undefined) throw new RangeError(`no way out of ${life.state}`);
    await takeStep(world, life, step);
  }
}
