import { KUBERNETES_OPERATIONS, type OperationEffect } from '@bifrost/sdk/kubernetes';
import { TAILSCALE_OPERATIONS } from '@bifrost/sdk/tailscale';
import type { Tenancy } from './books.ts';
import type { Exchange, Side } from './exchange.ts';
import type { Chance } from './seeded.ts';

/** When the manager dies: before its request reaches the server, or after the effect and before the reply. */
export const MOMENTS = ['before', 'after'] as const;
export type Moment = (typeof MOMENTS)[number];

/** One call of a recorded life: the n-th of this operation within a step. */
export interface Call {
  readonly tenancy: Tenancy;
  /** `start`: what a manager asks when it starts, for nobody in particular. */
  readonly step: string;
  readonly side: Side;
  readonly operation: string;
  /** From 1. */
  readonly nth: number;
  /** Where it came in the recorded step. */
  readonly index: number;
  /** The manager's own request, for no customer. */
  readonly shared: boolean;
}

/** One place at which the manager is killed. */
export interface Point extends Call {
  readonly moment: Moment;
}

/** Every operation of both adapters, by side and name, and what it does. */
export const OPERATIONS: ReadonlyMap<string, OperationEffect> = new Map<string, OperationEffect>([
  ...Object.entries(KUBERNETES_OPERATIONS).map(([name, effect]) => [`kubernetes ${name}`, effect] as const),
  ...Object.entries(TAILSCALE_OPERATIONS).map(([name, effect]) => [`control ${name}`, effect] as const),
]);

/** Deaths in one step of one life. */
const MOST_DEATHS = 12;

/**
 * The deaths that are tried together in one step of one life, in the order in which their calls were recorded. A death at a read, and one before a write
 * reaches the server, changes nothing outside: several may follow one another, each manager dying where the one before did not come to. The death after
 * a write took effect is the last of its step, so that what it leaves is found by a manager that is left alone.
 */
export function targetsOf(calls: readonly Due[]): readonly (readonly Point[])[] {
  const pointsOf = ({ moments, ...call }: Due): Point[] => moments.map((moment) => ({ ...call, moment }));
  return Object.values(Object.groupBy(calls, ({ tenancy, step }) => `${tenancy} ${step}`)).flatMap((ofStep = []) => {
    const groups = ofStep.filter((call) => !isRead(call)).map(pointsOf);
    for (const call of ofStep.filter(isRead)) {
      // Before a write that comes later, where there is room; else with other reads.
      const hasRoom = (group: readonly Point[]): boolean =>
        group.length < MOST_DEATHS && group.every((point) => isRead(point) || point.index > call.index);
      const group = groups.find(hasRoom) ?? groups[groups.push([]) - 1];
      group?.unshift(...pointsOf(call));
    }
    return groups.map((group) => group.sort((left, right) => left.index - right.index));
  });
}

/** A call, and at which of its moments a manager is to die. */
export interface Due extends Call {
  readonly moments: readonly Moment[];
}

/**
 * What is tried in each run, and what as long as there is time. Rounds of the loop ask the same things again and again, and a death at a read changes
 * nothing outside: of what is asked for the second time in one step one moment is tried, which is by chance; for the third time, none has to be.
 */
export function sampled(calls: readonly Call[], chance: Chance): { readonly needed: readonly Due[]; readonly rest: readonly Due[] } {
  const needed: Due[] = [];
  const rest: Due[] = [];
  for (const call of calls) {
    const drawn = chance.below(MOMENTS.length);
    const now = !isRead(call) || call.nth === 1 ? MOMENTS : MOMENTS.filter((_, index) => call.nth === 2 && index === drawn);
    const later = MOMENTS.filter((moment) => !now.includes(moment));
    if (now.length > 0) needed.push({ ...call, moments: now });
    if (later.length > 0) rest.push({ ...call, moments: later });
  }
  return { needed, rest };
}

const isRead = (call: Pick<Call, 'side' | 'operation'>): boolean => OPERATIONS.get(nameOf(call)) === 'read';
export const nameOf = ({ side, operation }: Pick<Call, 'side' | 'operation'>): string => `${side} ${operation}`;
export const describePoint = ({ moment, nth, step, tenancy, ...call }: Point): string =>
  `killed ${moment} ${nameOf(call)} #${nth} of "${step}" (${tenancy})`;

/** The calls of one step, each with its number among its like. Calls that belong to another customer are left out. */
export function callsOf(exchanges: readonly Exchange[], { tenancy, step, customer }: { tenancy: Tenancy; step: string; customer: string }): Call[] {
  const counts = new Map<string, number>();
  return exchanges
    .filter((exchange) => exchange.customer === undefined || exchange.customer === customer)
    .map(({ side, operation, customer: whose }, index) => {
      const shared = whose === undefined;
      const key = `${side} ${operation} ${shared}`;
      const nth = (counts.get(key) ?? 0) + 1;
      counts.set(key, nth);
      return { tenancy, step, side, operation, nth, index, shared };
    });
}

/** Counts the requests of a step by their kind, whichever manager makes them. */
export class Counter {
  readonly #customer: string;
  readonly #seen = new Map<string, number>();

  constructor(customer: string) {
    this.#customer = customer;
  }

  /** Counts one more, and gives the points that are come to: its own call, or the first of its kind after a death that came before it. */
  count({ side, operation, customer }: Exchange): (point: Point) => boolean {
    if (customer !== undefined && customer !== this.#customer) return () => false;
    const key = `${side} ${operation} ${customer === undefined}`;
    const seen = (this.#seen.get(key) ?? 0) + 1;
    this.#seen.set(key, seen);
    return (point) => key === `${point.side} ${point.operation} ${point.shared}` && seen >= point.nth;
  }
}
