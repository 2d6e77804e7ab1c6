import type { GuardOrder, NetworkConfiguration, ReportGuard } from '@bifrost/types/core';
import { GUARDS_CURRENT, type GuardCounts } from '../domain/conditions.ts';
import { hasLiveGuard } from '../domain/live-guard.ts';
import type { SidecarSpec, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { GuardFault } from '../domain/policy/prove-guard.ts';
import type { Logger } from '../ports/index.ts';
import { orderFaults } from './before-writing.ts';
import type { Context } from './context.ts';
import { networkHash } from './hashes.ts';
import type { Instance } from './instances.ts';
import type { ProofDue } from './proof-due.ts';
import { refusalOf } from './tailnet-acceptance.ts';

const NOT_HANDED_OUT = 'it is not handed out';

function once(judge: () => boolean): () => boolean {
  let verdict: boolean | undefined;
  return () => {
    verdict ??= judge();
    return verdict;
  };
}

/** What is ordered for a configuration. */
interface Choice {
  readonly order: GuardOrder;
  /** Hash of the configuration that it was chosen for: a later version with the same is not judged again. */
  readonly meantHash: string;
  /** Whether it would open something, and nothing better is known: guards are left what they hold, and told as outdated. */
  readonly isWithheld: () => boolean;
}

/** What the guards of one tailnet are to hold. */
interface Wanted extends Choice {
  readonly version: string;
  readonly customerId: string;
  /** Nothing is changed outside while it is paused. */
  readonly paused: boolean;
  /** What its stored condition says of whether all guards hold it. */
  readonly told: string | undefined;
}

interface GuardOrdersParts {
  readonly logger: Logger;
  readonly proofDue: Pick<ProofDue, 'soon'>;
  /** @default what the configuration says */
  readonly makeOrder?: (config: NetworkConfiguration) => GuardOrder;
}

/** Of faults: those by which something is reached that is not to be. What is newly allowed leaves in clear until it is ordered, as it did before. */
const OPENS: ReadonlySet<string> = new Set(['blocked-open', 'beyond-allowed']);

/** What guards are to hold, by tailnet: made once for each version, since every report asks for it, and judged once for each configuration. */
export class GuardOrders {
  readonly #wanted = new Map<string, Wanted>();
  readonly #parts: GuardOrdersParts;

  constructor(parts: GuardOrdersParts) {
    this.#parts = parts;
  }

  /** A tailnet as stored now. What a call would have refused has no effect: what was wanted before is still wanted. */
  saw(key: string, tailnet: StoredTailnet | undefined): void {
    const before = this.#wanted.get(key);
    if (before !== undefined && before.version === tailnet?.version) return;
    this.#wanted.delete(key);
    if (tailnet === undefined) return;
    const { version, spec, state } = tailnet;
    const { customerId, paused = false } = spec;
    const known = before?.customerId === customerId ? before : undefined;
    const choice = refusalOf(tailnet) === undefined ? this.#choose(tailnet, known) : known;
    if (choice === undefined) return;
    const { order, meantHash, isWithheld } = choice;
    const told = state.conditions?.find(({ type }) => type === GUARDS_CURRENT)?.status;
    this.#wanted.set(key, { version, customerId, order, meantHash, isWithheld, paused, told });
  }

  /**
   * An order that would open what is not meant is not handed out: the one before it stays. Unless that one lets through what is to be taken away: nothing
   * holds that up.
   */
  #choose({ key, spec: { config } }: StoredTailnet, known: Choice | undefined): Choice {
    const meantHash = networkHash(config);
    if (known?.meantHash === meantHash) return known;
    const order = (this.#parts.makeOrder ?? orderFor)(config);
    const judge = (): GuardFault | undefined => orderFaults(order, config)[0];
    // Of one that was not known before most guards hold what is meant: it is judged when it is to be handed out.
    if (known === undefined) return { order, meantHash, isWithheld: once(() => this.#tell(key, judge(), NOT_HANDED_OUT)) };
    const fault = judge();
    if (fault === undefined) return { order, meantHash, isWithheld: () => false };
    const isWithheld = known.isWithheld();
    const isKept = !isWithheld && !orderFaults(known.order, config).some(({ kind }) => OPENS.has(kind));
    this.#tell(key, fault, isWithheld || isKept ? NOT_HANDED_OUT : 'it is handed out, since the one before it lets through what is taken away');
    return { order: isKept ? known.order : order, meantHash, isWithheld: () => isWithheld };
  }

  /** True if there is a fault. */
  #tell(key: string, fault: GuardFault | undefined, becomes: string): boolean {
    if (fault === undefined) return false;
    const message = `an order for guards lets through what is not meant: ${becomes}`;
    this.#parts.logger.log('error', message, { code: 'ISOLATION_VIOLATED', tailnet: key, ...fault });
    this.#parts.proofDue.soon();
    return true;
  }

  /** Of a tailnet that another customer has made under its name meanwhile: nothing. */
  wantedFor({ tailnetName, customerId, quarantine }: Pick<SidecarSpec, 'tailnetName' | 'customerId' | 'quarantine'>): Wanted | undefined {
    const wanted = this.#wanted.get(tailnetName);
    // Whatever the tailnet's own is, and paused or not: a pause must not keep open what is to be shut.
    if (quarantine !== undefined) return { ...QUARANTINED, customerId };
    return wanted?.customerId === customerId ? wanted : undefined;
  }
}

const NOTHING = { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'quarantine' } as const;
const QUARANTINE: GuardOrder = { hash: networkHash(NOTHING), ...NOTHING };
const QUARANTINED = { version: '', order: QUARANTINE, meantHash: QUARANTINE.hash, isWithheld: () => false, paused: false, told: undefined } as const;

function orderFor(config: NetworkConfiguration): GuardOrder {
  const { allowedNetworks, blockedNetworks, accessPolicy } = config;
  return { hash: networkHash(config), allowedNetworks, blockedNetworks, accessPolicy };
}

/** What an agent is to hand to its guard now. Undefined for an agent that says nothing of a guard, that has it already, or that is to be left alone. */
export function guardOrderOf(context: Context, { spec }: StoredSidecar, guard: ReportGuard | undefined): GuardOrder | undefined {
  const wanted = guard === undefined || context.readOnly() ? undefined : context.guardOrders.wantedFor(spec);
  if (wanted === undefined || wanted.paused || (guard?.received ?? guard?.holds) === wanted.order.hash) return undefined;
  return wanted.isWithheld() ? undefined : wanted.order;
}

/** Whether an instance's guard holds what is wanted; undefined for a guard that takes no orders, or where nothing is wanted. */
export function guardStateOf(context: Context, { spec }: StoredSidecar, { guardHolds }: Instance): 'current' | 'outdated' | undefined {
  const wanted = hasLiveGuard(spec.fragment) ? context.guardOrders.wantedFor(spec) : undefined;
  if (wanted === undefined) return undefined;
  return guardHolds === wanted.meantHash ? 'current' : 'outdated';
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
