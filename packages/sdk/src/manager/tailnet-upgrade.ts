import { BifrostError, type NetworkConfiguration } from '@bifrost/types/core';
import { withoutSidecar } from '../domain/attach-plan.ts';
import { isUp } from '../domain/connectivity.ts';
import type { SidecarSpec, StoredSidecar, StoredTailnet, Trial, UpgradeState, UpgradeWish } from '../domain/model.ts';
import { planWave, type UpgradeMember } from '../domain/upgrade-plan.ts';
import type { Workload } from '../ports/index.ts';
import { type Call, type Context, keepTailnet, respecSidecar, sawTailnet } from './context.ts';
import { holdsFor, networkHash } from './hashes.ts';
import { sameJson } from './same-json.ts';
import { renderChecked } from './sidecar-render.ts';
import { reasonOf } from './tailnet-acceptance.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/** Sidecars on trial at once, when nobody says. */
export const WAVE_SIZE = 5;

/** What its creator put in, what failed and was taken back, and what is in quarantine is not for an upgrade. */
export const isUpgradable = ({ spec, state, deleting }: StoredSidecar): boolean =>
  !deleting && spec.mode !== 'inject' && state.rolledBack !== true && spec.quarantine === undefined;

const isOutdated = (rendered: Pick<SidecarSpec, 'networkMode' | 'renderedFor' | 'fragment'>, config: NetworkConfiguration): boolean =>
  !holdsFor(rendered, rendered.renderedFor ?? networkHash(config), config);

/** How many sidecars have pods that run what was rendered for another configuration than the tailnet's: what is on trial has yet to replace it. */
export const outdatedCount = ({ observed }: Context, { key, spec }: StoredTailnet): number =>
  observed.sidecarsOf(key).filter((sidecar) => isUpgradable(sidecar) && isOutdated(previousOf(sidecar.spec), spec.config)).length;

/** Whether the pods of a sidecar are about to be replaced for the tailnet's configuration, or are being tried now. */
export function isRolloutAhead({ spec: { config, upgrade, rollout }, state }: StoredTailnet, sidecar: StoredSidecar): boolean {
  if (sidecar.spec.trial !== undefined) return true;
  if (!isUpgradable(sidecar) || !isOutdated(sidecar.spec, config)) return false;
  return upgrade?.networkHash === networkHash(config) ? !isOver(state.upgrade, upgrade) : rollout === 'always';
}

const NOBODY_BEGAN_MS = 5_000;

/** Takes an upgrade one step further. Whoever runs the loop goes on where the last one ended: all of it is stored. */
export async function driveUpgrade(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome> {
  const { wish, tailnet: current } = await wishOf(context, tailnet, call);
  if (wish === undefined || isOver(current.state.upgrade, wish)) return SETTLED;
  const sidecars = context.observed.sidecarsOf(current.key).filter(isUpgradable);
  const { state, start } = planWave(
    sidecars.map((sidecar) => memberOf(sidecar, wish)),
    wish,
  );
  const before = current.state.upgrade;
  const kept = await keepTailnet(context, current, {
    state: { ...current.state, upgrade: state },
    outdated: outdatedCount(context, current),
    ...call,
  });
  tell(context, kept, { before, now: state });
  let begun = false;
  for (const key of start) begun = (await begin(context, { tailnet: kept, key, wish }, call)) || begun;
  if (start.length === 0) return SETTLED;
  return { kind: 'waiting', recheckMs: begun ? 0 : NOBODY_BEGAN_MS };
}

const isOver = (state: UpgradeState | undefined, { upgradeId }: UpgradeWish): boolean =>
  state?.upgradeId === upgradeId && (state.finished === true || state.haltedBy !== undefined);

const memberOf = ({ key, spec }: StoredSidecar, { upgradeId }: UpgradeWish): UpgradeMember => ({
  key,
  sidecarId: spec.sidecarId,
  reached: spec.upgradeId === upgradeId,
  onTrial: spec.trial !== undefined,
  reverted: spec.reverted,
});

/** With the rule `always` a changed configuration starts an upgrade by itself, once: one that was halted is not begun again. */
async function wishOf(
  context: Context,
  tailnet: StoredTailnet,
  call: Call,
): Promise<{ readonly wish: UpgradeWish | undefined; readonly tailnet: StoredTailnet }> {
  const { spec, state } = tailnet;
  const hash = networkHash(spec.config);
  const known = spec.upgrade;
  const isDue = spec.rollout === 'always' && known?.networkHash !== hash && (known === undefined || isOver(state.upgrade, known));
  const isAsked = isDue && context.observed.sidecarsOf(tailnet.key).some((sidecar) => isUpgradable(sidecar) && isOutdated(sidecar.spec, spec.config));
  if (!isAsked) return { wish: known, tailnet };
  const wish = newUpgrade(context, tailnet);
  const written = await context.store.tailnets.replaceSpec(tailnet, { ...spec, upgrade: wish }, call);
  sawTailnet(context, written.key, written);
  return { wish, tailnet: written };
}

export const newUpgrade = (
  context: Context,
  { spec }: Pick<StoredTailnet, 'spec'>,
  { waveSize = WAVE_SIZE, trialMs = context.settings.attachDeadlineMs }: { readonly waveSize?: number; readonly trialMs?: number } = {},
): UpgradeWish => ({
  upgradeId: context.clock.newId(),
  requestedAtMs: context.clock.nowMs(),
  networkHash: networkHash(spec.config),
  waveSize,
  trialMs,
});

interface Turn {
  readonly tailnet: StoredTailnet;
  readonly key: string;
  readonly wish: UpgradeWish;
}

/** True when it is on its way: what is yet to be released by its own loop is not. */
async function begin(context: Context, { tailnet, key, wish }: Turn, call: Call): Promise<boolean> {
  const sidecar = await context.store.sidecars.get(key, call);
  context.observed.sawSidecar(key, sidecar);
  if (sidecar === undefined || !isUpgradable(sidecar) || sidecar.spec.upgradeId === wish.upgradeId) return true;
  const workload = await context.cluster.workloads.get(sidecar.spec.workload, call);
  if (workload === undefined) return false; // its own loop releases it
  const { reverted: _, ...spec } = sidecar.spec;
  try {
    const changed = await rerendered(context, { tailnet, sidecar, workload, trialMs: wish.trialMs }, call);
    await respecSidecar(context, sidecar, { spec: { ...spec, ...changed, upgradeId: wish.upgradeId }, ...call });
  } catch (error) {
    if (!BifrostError.is(error) || error.retry === 'backoff' || call.signal.aborted) throw error;
    // What the cluster does not admit is never put in: the upgrade halts here, with the reason.
    await respecSidecar(context, sidecar, { spec: { ...sidecar.spec, reverted: reasonOf(error), upgradeId: wish.upgradeId }, ...call });
  }
  context.touch('sidecar', key);
  return true;
}

/**
 * The members of a sidecar's spec that a fresh rendering changes. The same fragment again needs no trial. Writes nothing.
 *
 * @throws what an attach in this network mode would refuse now
 */
export async function rerendered(
  context: Context,
  { tailnet, sidecar, workload, trialMs }: { tailnet: StoredTailnet; sidecar: StoredSidecar; workload: Workload; trialMs: number },
  call: Call,
): Promise<Pick<SidecarSpec, 'renderedFor'> | Pick<SidecarSpec, 'renderedFor' | 'fragment' | 'previous' | 'trial'>> {
  const { spec } = sidecar;
  const { config, sidecarId, networkMode = 'kernel' } = spec;
  const bare = { ...workload, template: withoutSidecar(workload.template) };
  const fragment = await renderChecked(context, { tailnet, config, workload: bare, sidecarId, networkMode }, call);
  const renderedFor = networkHash(tailnet.spec.config);
  if (sameJson(fragment, spec.fragment)) return { renderedFor };
  await context.cluster.workloads.admit(bare, fragment, call);
  return { renderedFor, fragment, previous: previousOf(spec), trial: trialOf(context, sidecar, trialMs) };
}

/** While a change is on trial its predecessor is what was proved last, not what is on trial. */
export const previousOf = ({ trial, previous, config, fragment, networkMode, renderedFor }: SidecarSpec): NonNullable<SidecarSpec['previous']> =>
  trial !== undefined && previous !== undefined
    ? previous
    : { config, fragment, ...(networkMode === undefined ? {} : { networkMode }), ...(renderedFor === undefined ? {} : { renderedFor }) };

export function trialOf({ clock }: Context, { spec, state: { phase } }: StoredSidecar, trialMs: number): Trial {
  const sinceMs = clock.nowMs();
  const wasHealthy = spec.trial?.wasHealthy ?? isUp(phase);
  return { sinceMs, deadlineMs: sinceMs + trialMs, wasHealthy };
}

function tell(
  context: Context,
  { key, spec: { customerId } }: StoredTailnet,
  { before, now }: { readonly before: UpgradeState | undefined; readonly now: UpgradeState },
): void {
  const event = { tailnetName: key, customerId, upgradeId: now.upgradeId, atMs: context.clock.nowMs() };
  if (before?.upgradeId !== now.upgradeId) context.events.emit('upgrade:started', event);
  if (now.finished) context.events.emit('upgrade:finished', event);
  if (now.haltedBy) context.events.emit('upgrade:halted', { ...event, sidecarId: now.haltedBy.sidecarId, code: now.haltedBy.code });
}
