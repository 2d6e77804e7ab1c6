import { pause } from '../../support/pause.ts';
import type { Exchange, Given, Treatment } from './exchange.ts';
import { quiet, takeStep } from './lives.ts';
import { Counter, describePoint, type Point } from './points.ts';
import type { Life, Step } from './steps.ts';
import type { World } from './world.ts';

/** What one life does in a round, and where the manager is to die meanwhile, one after the other. */
export interface Plan {
  readonly life: Life;
  readonly step: Step;
  readonly points: readonly Point[];
}

export interface Outcome extends Plan {
  /** Those that a request came to. */
  readonly hit: readonly Point[];
  /** What was wrong in the end. */
  readonly failure: string | undefined;
}

/** So long is a held request held while others have not come to theirs; their time limits are 10 and 15 s. */
const HELD_AT_MOST_MS = 1_500;

/** One life in a round: which of its points are still ahead, and whether a request is held at the next. */
class Player {
  readonly plan: Plan;
  readonly hit: Point[] = [];
  readonly #ahead: Point[];
  readonly #counter: Counter;
  isHeld = false;
  hasEnded = false;

  constructor(plan: Plan) {
    this.plan = plan;
    this.#ahead = [...plan.points];
    this.#counter = new Counter(plan.life.customer.id);
  }

  /** Nothing more will be held for it. */
  get isIdle(): boolean {
    return this.hasEnded || this.#ahead.length === 0;
  }

  /** The point at which this request is to be held. Those before it that no request came to are left out. */
  holds(exchange: Exchange): Point | undefined {
    const index = this.#ahead.findIndex(this.#counter.count(exchange));
    if (index < 0 || this.isHeld) return undefined;
    const point = this.#ahead.splice(0, index + 1).at(-1);
    this.isHeld = true;
    if (point !== undefined) this.hit.push(point);
    return point;
  }
}

/**
 * Several customers take a step each on one manager. Every request at a point is held (before the server, or with its answer already there), and when
 * each life is held or has nothing ahead, the manager is killed: so one death is a different one for every customer.
 */
export async function playRound(world: World, plans: readonly Plan[]): Promise<readonly Outcome[]> {
  await Promise.all(plans.map(({ life }) => quiet(world, life.customer)));
  const players = plans.map((plan) => new Player(plan));
  let killed = new AbortController();
  using _treat = world.treat((exchange) => treatmentOf(exchange, players, killed.signal));
  const ended = new AbortController();
  const steps = Promise.all(players.map((player) => play(world, player))).finally(() => ended.abort());
  while (!ended.signal.aborted) {
    await mayDie(players, ended.signal);
    if (!players.some(({ isHeld }) => isHeld)) break;
    killed.abort();
    for (const player of players) player.isHeld = false;
    killed = new AbortController();
    await world.replaceManager();
  }
  return steps;
}

/** Until every player is held or has nothing ahead, or the time of those that are held is over. */
async function mayDie(players: readonly Player[], ended: AbortSignal): Promise<void> {
  let since = Number.POSITIVE_INFINITY;
  while (!ended.aborted) {
    if (players.some(({ isHeld }) => isHeld)) since = Math.min(since, performance.now());
    if (players.every(({ isHeld, isIdle }) => isHeld || isIdle) && (since < Number.POSITIVE_INFINITY || players.every(({ isIdle }) => isIdle)))
      return;
    if (performance.now() - since > HELD_AT_MOST_MS) return;
    await pause(10);
  }
}

function treatmentOf(exchange: Exchange, players: readonly Player[], killed: AbortSignal): Treatment | undefined {
  for (const player of players) {
    const point = player.holds(exchange);
    if (point === undefined) continue;
    return async ({ forward, response }) => {
      if (point.moment === 'after') await effectOf(exchange, forward);
      await new Promise<void>((resolve) => {
        if (killed.aborted) resolve();
        killed.addEventListener('abort', () => resolve(), { once: true });
      });
      response.destroy();
    };
  }
  return undefined;
}

/** The whole answer is here, and goes no further. */
export async function effectOf({ operation }: Exchange, forward: Given['forward']): Promise<void> {
  const answer = await forward();
  if (!operation.endsWith('.watch')) await answer.body.text();
}

async function play(world: World, player: Player): Promise<Outcome> {
  const { life, step } = player.plan;
  const begunAt = world.exchanges.length;
  let failure: string | undefined;
  try {
    await takeStep(world, life, step);
  } catch (error) {
    failure = explain(world, player, { begunAt, error });
  }
  player.hasEnded = true;
  return { ...player.plan, hit: player.hit, failure };
}

/** The operations, the moments, what went on for this customer, and the last lines of the log. */
function explain(world: World, { plan, hit }: Player, { begunAt, error }: { readonly begunAt: number; readonly error: unknown }): string {
  const { life, step } = plan;
  const own = world.exchanges.slice(begunAt).filter(({ customer }) => customer === life.customer.id);
  const calls = own.slice(-40).map(({ side, operation, status, process }) => `${process}:${side}:${operation}=${status}`);
  return [
    hit.length === 0 ? `"${step.name}" while others were killed` : hit.map(describePoint).join(', then '),
    `customer ${life.customer.id} in world ${world.name}: ${error instanceof Error ? error.message : String(error)}`,
    `its last requests, by process: ${calls.join(' ')}`,
    ...world.manager.lines.slice(-25),
  ].join('\n    ');
}
