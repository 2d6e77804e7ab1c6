import type { GuardOrder, NetworkConfiguration, ReportGuard } from '@bifrost/types/core';
import { GUARDS_CURRENT, type GuardCounts } from '../domain/conditions.ts';
import { hasLiveGuard } from '../domain/live-guard.ts';
import type { SidecarSpec, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { Context } from './context.ts';
import { networkHash } from './hashes.ts';
import type { Instance } from './instances.ts';
import { refusalOf } from './tailnet-acceptance.ts';

/** What the guards of one tailnet are to hold. */
interface Wanted {
  readonly version: string;
  readonly customerId: string;
  readonly order: GuardOrder;
  /** Nothing is changed outside while it is paused. */
  readonly paused: boolean;
  /** What its stored condition says of whether all guards hold it. */
  readonly told: string | undefined;
}

/** What guards are to hold, by tailnet: made once for each version, since every report asks for it. */
export class GuardOrders {
  readonly #wanted = new Map<string, Wanted>();

  /** A tailnet as stored now. What a call would have refused has no effect: what was wanted before is still wanted. */
  saw(key: string, tailnet: StoredTailnet | undefined): void {
    const before = this.#wanted.get(key);
    if (before !== undefined && before.version === tailnet?.version) return;
    this.#wanted.delete(key);
    if (tailnet === undefined) return;
    const { version, spec, state } = tailnet;
    const { customerId, paused = false } = spec;
    const known = before?.customerId === customerId ? before.order : undefined;
    const order = refusalOf(tailnet) === undefined ? orderFor(spec.config) : known;
    if (order === undefined) return;
    const told = state.conditions?.find(({ type }) => type === GUARDS_CURRENT)?.status;
    this.#wanted.set(key, { version, customerId, order, paused, told });
  }

  /** Of a tailnet that another customer has made under its name meanwhile: nothing. */
  wantedFor({ tailnetName, customerId, quarantine }: Pick<SidecarSpec, 'tailnetName' | 'customerId' | 'quarantine'>): Wanted | undefined {
    const wanted = this.#wanted.get(tailnetName);
    // Whatever the tailnet's own is, and paused or not: a pause must not keep open what is to be shut.
    if (quarantine !== undefined) return { version: '', customerId, order: QUARANTINE, paused: false, told: undefined };
    return wanted?.customerId === customerId ? wanted : undefined;
  }
}

const NOTHING = { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'quarantine' } as const;
const QUARANTINE: GuardOrder = { hash: networkHash(NOTHING), ...NOTHING };

function orderFor(config: NetworkConfiguration): GuardOrder {
  const { allowedNetworks, blockedNetworks, accessPolicy } = config;
  return { hash: networkHash(config), allowedNetworks, blockedNetworks, accessPolicy };
}

/** What an agent is to hand to its guard now. Undefined for an agent that says nothing of a guard, that has it already, or that is to be left alone. */
export function guardOrderOf(context: Context, { spec }: StoredSidecar, guard: ReportGuard | undefined): GuardOrder | undefined {
  const wanted = guard === undefined || context.readOnly() ? undefined : context.guardOrders.wantedFor(spec);
  if (wanted === undefined || wanted.paused || (guard?.received ?? guard?.holds) === wanted.order.hash) return undefined;
  return wanted.order;
}

/** Whether an instance's guard holds what is wanted; undefined for a guard that takes no orders, or where nothing is wanted. */
export function guardStateOf(context: Context, { spec }: StoredSidecar, { guardHolds }: Instance): 'current' | 'outdated' | undefined {
  const wanted = hasLiveGuard(spec.fragment) ? context.guardOrders.wantedFor(spec) : undefined;
  if (wanted === undefined) return undefined;
  return guardHolds === wanted.order.hash ? 'current' : 'outdated';
}

/** How many of a tailnet's instances that have reported hold what is wanted; undefined where no guard takes orders. */
export function guardCounts(context: Context, tailnetName: string): GuardCounts | undefined {
  const live = context.observed.sidecarsOf(tailnetName).filter(({ spec }) => hasLiveGuard(spec.fragment) && spec.quarantine === undefined);
  if (live.length === 0) return undefined;
  const states = live.flatMap((sidecar) => {
    const heard = context.instances.of(sidecar.key).filter(({ reported }) => reported);
    return heard.map((instance) => guardStateOf(context, sidecar, instance));
  });
  const count = (state: 'current' | 'outdated'): number => states.filter((each) => each === state).length;
  return { current: count('current'), outdated: count('outdated') };
}

/** An instance's guard holds something else than before, or was heard of for the first time. The tailnet is looked at when its condition is no longer true. */
export function noteGuard(context: Context, sidecar: StoredSidecar, instance: Instance): void {
  if (sidecar.spec.quarantine !== undefined) return; // none of those that its tailnet counts
  const state = guardStateOf(context, sidecar, instance);
  const told = context.guardOrders.wantedFor(sidecar.spec)?.told;
  const { tailnetName } = sidecar.spec;
  if (state === 'outdated' && told !== 'False') context.touch('tailnet', tailnetName);
  if (state === 'current' && told !== 'True' && guardCounts(context, tailnetName)?.outdated === 0) context.touch('tailnet', tailnetName);
}
