import type { Condition } from '@bifrost/types/core';
import { isUp } from './connectivity.ts';
import type { Reason, SidecarSpec, SidecarState, TailnetSpec, TailnetState } from './model.ts';
import { isCutOff } from './quarantine.ts';

/** A condition as it stands, without its history. */
type ConditionNow = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;
interface Look {
  readonly generation: number;
  readonly nowMs: number;
}

const condition = (type: string, status: Condition['status'], { code, message }: Reason): ConditionNow => ({ type, status, reason: code, message });
const word = (code: string, message = ''): Reason => ({ code, message });
const isTrue = (type: string, reason: Reason): ConditionNow => condition(type, 'True', reason);

/**
 * The conditions of an object after a look at it: each keeps the time since which its status holds, and all speak of `generation`. Those that are
 * not told any more go. The same look again gives the same list.
 */
function withHistory(before: readonly Condition[] | undefined, told: readonly ConditionNow[], { generation, nowMs }: Look): readonly Condition[] {
  return told.map(({ type, status, reason, message }) => {
    const known = before?.find((each) => each.type === type);
    const lastTransitionTime = known?.status === status ? known.lastTransitionTime : new Date(nowMs).toISOString().replace(/\.\d+Z$/, 'Z');
    return { type, status, reason, message, observedGeneration: generation, lastTransitionTime };
  });
}

export interface TailnetLook extends Look {
  readonly spec: TailnetSpec;
  /** Why the spec was refused. */
  readonly refused: Reason | undefined;
  /** Sidecars whose pods must restart before the configuration holds for them. */
  readonly outdated: number;
  /** Of the customer's routers, where the policy is ours to keep. */
  readonly routerTag?: string | undefined;
  /** Of the instances whose guards take orders; undefined where there are none. */
  readonly guards?: GuardCounts | undefined;
}

/** Instances, as far as they have reported, by whether their guard holds the tailnet's configuration. */
export interface GuardCounts {
  readonly current: number;
  readonly outdated: number;
}
/** The condition that says so. */
export const GUARDS_CURRENT = 'GuardsCurrent';

/** What `enableLogging` gives today, in words that promise no more. */
const LOGGED =
  'Logged: changes of connections (events), every change and denial by a call (audit), bytes by sidecar. Not yet: single flows inside the tunnel, and what the guard refuses.';

/** `Accepted` and `Ready` always; `Logging` with `enableLogging`; `PolicyManaged`, `Paused`, `Upgraded`, `RolloutPending` and `GuardsCurrent` where there is something to say. */
export function tailnetConditions(state: TailnetState, { spec, refused, outdated, guards, routerTag, ...look }: TailnetLook): readonly Condition[] {
  const { phase, reason, upgrade } = state;
  return withHistory(
    state.conditions,
    [
      refused ? condition('Accepted', 'False', refused) : isTrue('Accepted', word('Accepted')),
      phase === 'active' ? isTrue('Ready', word('Active')) : condition('Ready', 'False', reason ?? word(phase)),
      ...(spec.paused ? [isTrue('Paused', word('Paused', 'Nothing is changed outside until it is resumed.'))] : []),
      ...(upgrade === undefined ? [] : [upgraded(upgrade)]),
      ...policyManaged(state, routerTag),
      ...(spec.config.enableLogging ? [isTrue('Logging', word('ConnectionsOnly', LOGGED))] : []),
      ...(outdated === 0 ? [] : [isTrue('RolloutPending', word('ROLLOUT_REQUIRED', `${outdated} sidecars run an earlier configuration.`))]),
      ...guardsCurrent(state.conditions, guards),
    ],
    look,
  );
}

/** Codes for which our entries are not written: what is wanted does not hold, and what was written before does. */
export const OF_POLICY: ReadonlySet<string> = new Set(['POLICY_UNREADABLE', 'POLICY_REFUSED', 'ISOLATION_VIOLATED']);

function policyManaged({ policyReason, policyHash, reason }: TailnetState, routerTag: string | undefined): readonly ConditionNow[] {
  if (routerTag === undefined) return [];
  const unwritten = policyReason ?? (reason !== undefined && OF_POLICY.has(reason.code) ? reason : undefined);
  if (unwritten !== undefined) return [condition('PolicyManaged', 'False', unwritten)];
  if (policyHash === undefined) return [];
  return [isTrue('PolicyManaged', word('Written', `Books reach the allowed networks by routers with the tag ${routerTag}.`))];
}

/** A manager that has heard of none yet leaves what was told before: a restart is no news. */
function guardsCurrent(before: readonly Condition[] = [], guards: GuardCounts | undefined): readonly ConditionNow[] {
  if (guards === undefined) return [];
  const { current, outdated } = guards;
  if (current + outdated === 0) return before.filter(({ type }) => type === GUARDS_CURRENT);
  if (outdated === 0) return [isTrue(GUARDS_CURRENT, word('Current'))];
  const message = `${current} of ${current + outdated} instances hold the configuration.`;
  return [condition(GUARDS_CURRENT, 'False', word('Outdated', message))];
}

function upgraded({ total, done, finished, haltedBy }: NonNullable<TailnetState['upgrade']>): ConditionNow {
  if (haltedBy) return condition('Upgraded', 'False', word('UPGRADE_HALTED', `Sidecar ${haltedBy.sidecarId} was rolled back: ${haltedBy.message}`));
  if (finished) return isTrue('Upgraded', word('Finished'));
  return condition('Upgraded', 'False', word('InProgress', `${done} of ${total} sidecars.`));
}

/** Of NetworkPolicies that we wrote: whether they are there as they are wanted. */
function networkPolicies({ networkPolicies: written }: SidecarState): readonly ConditionNow[] {
  if (written === undefined) return [];
  const message = `What they say has hash ${written.hash}.`;
  return [condition('NetworkPolicies', written.written ? 'True' : 'False', word(written.written ? 'Written' : 'Pending', message))];
}

/**
 * `Attached` and `Ready` always; `NetworkPolicies` where we write them; `OnTrial` while a changed fragment has to prove itself; `Reverted` after it has not;
 * `Quarantined` while it is kept out.
 */
export function sidecarConditions(state: SidecarState, { spec, ...look }: Look & { readonly spec: SidecarSpec }): readonly Condition[] {
  const { phase, reason } = state;
  const ready = isUp(phase);
  return withHistory(
    state.conditions,
    [
      state.applied && reason?.code !== 'DRIFT_REPEATED'
        ? isTrue('Attached', word('Applied'))
        : condition('Attached', 'False', reason ?? word(phase)),
      condition('Ready', ready ? 'True' : phase === 'unknown' ? 'Unknown' : 'False', ready ? word(phase) : (reason ?? word(phase))),
      ...networkPolicies(state),
      ...(spec.trial ? [isTrue('OnTrial', word('OnTrial', `Has to connect before ${new Date(spec.trial.deadlineMs).toISOString()}.`))] : []),
      ...(spec.reverted ? [isTrue('Reverted', spec.reverted)] : []),
      ...quarantined(state, spec),
    ],
    look,
  );
}

function quarantined(state: SidecarState, spec: SidecarSpec): readonly ConditionNow[] {
  if (spec.quarantine === undefined) return [];
  const { reason } = spec.quarantine;
  const why = reason === undefined ? '' : ` Reason given: ${reason}`;
  return isCutOff({ spec, state })
    ? [isTrue('Quarantined', word('CutOff', `No key and no device is left.${why}`))]
    : [condition('Quarantined', 'False', word('InProgress', `Its keys and devices are being taken away.${why}`))];
}
