import { pause } from '../../support/pause.ts';
import type { Tenancy } from './books.ts';
import { goHome, newLife, takeStep, wayTo } from './lives.ts';
import { type Call, callsOf, type Due, type Point, sampled, targetsOf } from './points.ts';
import { type Outcome, type Plan, playRound } from './round.ts';
import type { Chance } from './seeded.ts';
import { playStart } from './start.ts';
import { type Life, stepsOf } from './steps.ts';
import { World } from './world.ts';

export const TENANCIES: readonly Tenancy[] = ['customer-owned', 'organization'];

export interface CampaignOptions {
  readonly chance: Chance;
  readonly worlds: number;
  /** Customers on one manager at a time. */
  readonly livesPerWorld: number;
  /** After this time only what is needed is tried. */
  readonly limitMs: number;
  /** Told now and then how far it is. */
  readonly tell: (text: string) => void;
}

export interface Result {
  /** Every call of the recorded lives. */
  readonly calls: readonly Call[];
  readonly hit: readonly Point[];
  /** Points that no request came to again, although it did in the clean lives of new customers and in those of known ones. */
  readonly missed: readonly Point[];
  /** Those more that were not come to again, whose request only one of the two has recorded. */
  readonly uncertain: readonly Point[];
  /** Those for which there was no time. */
  readonly untried: readonly Point[];
  readonly failures: readonly string[];
  /** Every operation that was asked for, in any life. */
  readonly reached: ReadonlySet<string>;
  readonly deaths: number;
}

/** The step that is nobody's: a manager starts. */
const START = 'start';
/** Of what is tried as long as there is time: so many steps, before the time is looked at again. */
const AT_A_TIME = 16;
/** A point is tried so often: how many requests of one kind a step takes depends on when hints come in. */
const TRIES = 3;

/** What a customer has behind it who has had a sidecar before: what is asked only the first time (a name that is learned, say) is not asked again. */
const ONCE_BEFORE: ReadonlySet<string> = new Set(['create', 'attach', 'update the sidecar', 'update the tailnet', 'detach', 'delete']);

/** One clean life of each tenancy through every step, of new customers or of one who is known: its calls are the plan of the campaign. */
export async function record(world: World, { ofKnown }: { readonly ofKnown: boolean }): Promise<readonly Call[]> {
  const calls = [...(await recordStart(world))];
  for (const tenancy of TENANCIES) {
    const todo = new Set(stepsOf(tenancy));
    let life = await newLife(world, tenancy);
    const before = ofKnown ? stepsOf(tenancy).filter(({ name }) => ONCE_BEFORE.has(name)) : [];
    for (const step of before) await takeStep(world, life, step);
    for (let step = wayTo(life, (each) => todo.has(each)); step !== undefined; step = wayTo(life, (each) => todo.has(each))) {
      const begun = world.exchanges.length;
      await takeStep(world, life, step);
      if (todo.delete(step)) calls.push(...callsOf(world.exchanges.slice(begun), { tenancy, step: step.name, customer: life.customer.id }));
      if (life.state === 'none' && !ofKnown) life = await newLife(world, tenancy);
    }
    await goHome(world, life);
  }
  return calls;
}

const keyOf = ({ tenancy, step, side, operation, nth, shared }: Call): string => JSON.stringify([tenancy, step, side, operation, nth, shared]);

/** What a manager asks when it starts, until it is quiet. */
async function recordStart(world: World): Promise<readonly Call[]> {
  let count = -1;
  while (count < world.exchanges.length) {
    count = world.exchanges.length;
    await pause(500);
  }
  return callsOf(world.exchanges, { tenancy: 'customer-owned', step: START, customer: '' });
}

/** Kills a manager at every point, in worlds side by side, and judges each life after each of its steps. */
export async function runCampaign({ chance, worlds: count, livesPerWorld, limitMs, tell }: CampaignOptions): Promise<Result> {
  await using stack = new AsyncDisposableStack();
  const names = Array.from({ length: count }, (_, index) => String.fromCharCode(97 + index));
  const worlds = await Promise.all(names.map(async (name) => stack.use(await World.open({ name, manager: { concurrency: 64 } }))));
  const [calls = [], ...others] = await Promise.all(worlds.map((world, index) => record(world, { ofKnown: index > 0 })));
  const isCertain = (point: Point): boolean => others.every((other) => other.some((call) => keyOf(call) === keyOf(point)));
  const pool = new Pool(sampled(chance.shuffled(calls), chance), { deadlineMs: performance.now() + limitMs, tell });
  await Promise.all(worlds.map((world) => playWorld(world, pool, livesPerWorld)));
  const reached = new Set(worlds.flatMap(({ exchanges }) => exchanges.map(({ side, operation }) => `${side} ${operation}`)));
  const deaths = worlds.reduce((sum, { manager }) => sum + manager.number - 1, 0);
  const { hit, untried, failures } = pool;
  const [missed, uncertain] = [pool.missed.filter(isCertain), pool.missed.filter((point) => !isCertain(point))];
  return { calls, hit, missed, uncertain, untried, failures, reached, deaths };
}

/** What is left to try, shared by all worlds. */
class Pool {
  readonly hit: Point[] = [];
  readonly missed: Point[] = [];
  readonly failures: string[] = [];
  readonly #tell: (text: string) => void;
  readonly #deadlineMs: number;
  #left: Target[];
  #rest: Target[];

  constructor(
    { needed, rest }: ReturnType<typeof sampled>,
    { deadlineMs, tell }: { readonly deadlineMs: number; readonly tell: (text: string) => void },
  ) {
    this.#left = ordered(needed);
    this.#rest = ordered(rest);
    this.#deadlineMs = deadlineMs;
    this.#tell = tell;
    tell(`${this.#left.length} steps with deaths, and ${this.#rest.length} as long as there is time`);
  }

  /** Points for which there was no time. */
  get untried(): readonly Point[] {
    return this.#rest.flatMap(({ points }) => points);
  }

  /** Nothing is left that some world could take. */
  get isEmpty(): boolean {
    return this.#left.length === 0;
  }

  has(tenancy: Tenancy, step: string): boolean {
    return this.#left.some(({ points: [point] }) => point?.tenancy === tenancy && point.step === step);
  }

  /** True when nothing is left for any life of this tenancy. */
  isDone(tenancy: Tenancy): boolean {
    if (this.#left.length === 0 && performance.now() < this.#deadlineMs) this.#left = this.#rest.splice(0, AT_A_TIME);
    return !this.#left.some(({ points: [point] }) => point?.tenancy === tenancy && point.step !== START);
  }

  take(tenancy: Tenancy, step: string): Target | undefined {
    const index = this.#left.findIndex(({ points: [point] }) => point?.tenancy === tenancy && point.step === step);
    return index < 0 ? undefined : this.#left.splice(index, 1)[0];
  }

  settle(target: Target | undefined, { hit, failure }: Pick<Outcome, 'hit' | 'failure'>): void {
    if (failure !== undefined) {
      this.failures.push(failure);
      this.#tell(`FAILED: ${failure}`);
    }
    if (target === undefined) return;
    const before = this.hit.length;
    this.hit.push(...hit);
    if (Math.floor(before / 50) < Math.floor(this.hit.length / 50))
      this.#tell(`${this.hit.length} deaths, ${this.#left.length} targets left, ${this.failures.length} failures`);
    const points = target.points.filter((point) => !hit.includes(point));
    // The second of two that was not come to is no try of its own.
    const tries = hit.length > 0 ? target.tries : target.tries + 1;
    if (points.length === 0) return;
    if (tries < TRIES) this.#left.push({ points, tries });
    else this.missed.push(...points);
  }
}
/** Targets of about the same length go together: all lives of a round are held until the last has had its deaths. */
const ordered = (calls: readonly Due[]): Target[] =>
  targetsOf(calls)
    .map((points) => ({ points, tries: 0 }))
    .sort((left, right) => right.points.length - left.points.length);

interface Target {
  readonly points: readonly Point[];
  readonly tries: number;
}

async function playWorld(world: World, pool: Pool, livesPerWorld: number): Promise<void> {
  let lives: Life[] = [];
  for (;;) {
    if (lives.length === 0) await playStarts(world, pool);
    lives = await refilled(world, lives, { pool, livesPerWorld });
    if (lives.length === 0 && pool.isEmpty) return;
    if (lives.length === 0) continue; // starts of a manager: there is no life in them
    const chosen = lives.map((life) => next(life, pool));
    const plans = chosen.map(({ plan }) => plan);
    const outcomes = await playRound(world, plans);
    for (const [index, outcome] of outcomes.entries()) pool.settle(chosen[index]?.target, outcome);
    const broken = new Set(outcomes.filter(({ failure }) => failure !== undefined).map(({ life }) => life));
    lives = lives.filter((life) => !broken.has(life)); // it goes on without: the next life is another customer's
  }
}

async function playStarts(world: World, pool: Pool): Promise<void> {
  for (let target = pool.take('customer-owned', START); target !== undefined; target = pool.take('customer-owned', START)) {
    pool.settle(target, await playStart(world, target.points));
  }
}

/** New lives for those that ended, while there is something left for them; those in the middle go home. */
async function refilled(world: World, lives: readonly Life[], { pool, livesPerWorld }: { pool: Pool; livesPerWorld: number }): Promise<Life[]> {
  const going = lives.filter(({ state }) => state !== 'none');
  while (going.length < livesPerWorld) {
    const tenancy = TENANCIES.find(
      (each, index) => !pool.isDone(each) && (going.length % 2 === index || pool.isDone(TENANCIES[1 - index] as Tenancy)),
    );
    if (tenancy === undefined) break;
    going.push(await newLife(world, tenancy));
  }
  return going;
}

function next(life: Life, pool: Pool): { readonly plan: Plan; readonly target: Target | undefined } {
  const { tenancy } = life.customer;
  const step = wayTo(life, ({ name }) => pool.has(tenancy, name)) ?? wayTo(life, ({ to }) => to === 'none');
  if (step === undefined) throw new Error(`no way out of ${life.state}`);
  const target = pool.take(tenancy, step.name);
  return { plan: { life, step, points: target?.points ?? [] }, target };
}
