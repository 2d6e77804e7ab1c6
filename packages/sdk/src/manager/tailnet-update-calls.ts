import { parseOrThrow, type UpdateTailnetInput, updateTailnetRequestSchema } from '@bifrost/types';
import { BifrostError, type ChangePlan, type Rollout, type Tailnet, type UpdateTailnetRequest } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet, TailnetSpec } from '../domain/model.ts';
import { audited } from './audited.ts';
import { requireConsents } from './consents.ts';
import { type Context, interruptPaused, sawTailnet } from './context.ts';
import { type Change, requireMatch } from './etags.ts';
import { membersOf, requireObject } from './given.ts';
import { holdsFor, networkHash } from './hashes.ts';
import { managesPolicy } from './identities.ts';
import { planWarnings } from './plan-warnings.ts';
import { changedByNetwork, rolloutOf } from './rollouts.ts';
import { sameJson } from './same-json.ts';
import { planPolicyChanges } from './sidecar-network-policies.ts';
import { refuseOfCustomers } from './tailnet-acceptance.ts';
import { requireTailnet, tailnetView, writeTailnet } from './tailnet-calls.ts';
import { isUpgradable, newUpgrade } from './tailnet-upgrade.ts';
import { impactOf } from './update-impact.ts';

interface Planned {
  readonly tailnet: StoredTailnet;
  readonly spec: TailnetSpec;
  /** Without warnings and NetworkPolicies: only who asks for a plan is told, since they take a look at control plane and cluster. */
  readonly plan: ChangePlan;
  readonly sidecars: readonly StoredSidecar[];
}

/** What the update leads to. Writes nothing. */
async function planned(context: Context, input: UpdateTailnetInput, call: Change): Promise<Planned> {
  const request: UpdateTailnetRequest = parseOrThrow(updateTailnetRequestSchema, input, 'INVALID_ARGUMENT');
  const tailnet = await requireTailnet(context, request.tailnetName, call);
  requireMatch(tailnet, call);
  if (tailnet.deleting)
    throw new BifrostError({
      code: 'TAILNET_DELETING',
      message: 'The tailnet is being deleted.',
      issues: [{ path: 'tailnetName', message: 'is being deleted' }],
    });
  const config = { ...tailnet.spec.config, ...request.config };
  refuseOfCustomers({ ...policyWish(request), tenancy: tailnet.spec.tenancy });
  const spec: TailnetSpec = { ...tailnet.spec, config, tags: request.tags ?? tailnet.spec.tags, ...policyWish(request) };
  const changes = [
    ...Object.keys(config)
      .filter((member) => !sameJson(config[member as keyof typeof config], tailnet.spec.config[member as keyof typeof config]))
      .map((member) => `config.${member}`),
    ...(sameJson(spec.tags, tailnet.spec.tags) ? [] : ['tags']),
    ...(managesPolicy(spec) === managesPolicy(tailnet.spec) ? [] : ['managePolicy']),
  ];
  const sidecars = (await context.store.sidecars.list(call)).filter(({ spec: { tailnetName } }) => tailnetName === tailnet.key);
  const affected = sidecars.filter((sidecar) => needsNewPods(sidecar, { before: tailnet.spec, now: spec }));
  const rollouts: readonly Rollout[] = affected.filter(isUpgradable).map((sidecar) => rolloutOf(sidecar, changedByNetwork(sidecar)));
  const ownedByCreator = affected.filter(({ spec: { mode } }) => mode === 'inject').map(({ spec: { sidecarId } }) => sidecarId);
  const impact = impactOf(context, { before: tailnet, now: spec, sidecars });
  return { tailnet, spec, sidecars, plan: { changes, rollouts, ownedByCreator, ...impact } };
}

const policyWish = ({ managePolicy }: UpdateTailnetRequest): Pick<UpdateTailnetRequest, 'managePolicy'> =>
  managePolicy === undefined ? {} : { managePolicy };

/** A guard that takes no orders, and proxy variables, are those of the pod's start: another configuration holds from the next pod on. */
function needsNewPods(
  { spec: sidecar, deleting }: StoredSidecar,
  { before, now }: { readonly before: TailnetSpec; readonly now: TailnetSpec },
): boolean {
  return !deleting && !holdsFor(sidecar, sidecar.renderedFor ?? networkHash(before.config), now.config);
}

/** @see NetworkManager.planUpdateTailnet */
export async function planUpdateTailnet(context: Context, input: UpdateTailnetInput, call: Change): Promise<ChangePlan> {
  const { plan, tailnet, spec, sidecars } = await planned(context, input, call);
  if (!plan.changes.some((path) => path.startsWith('config.'))) return plan;
  const { config } = spec;
  const wishes = sidecars.flatMap(({ spec: sidecar, deleting }) =>
    deleting ? [] : [{ before: { spec: sidecar, config: tailnet.spec.config }, now: { spec: sidecar, config } }],
  );
  const networkPolicies = await planPolicyChanges(context, wishes, call);
  const warnings = await planWarnings(context, { tailnet, config, sidecars }, call);
  return { ...plan, ...(networkPolicies.length === 0 ? {} : { networkPolicies }), ...(warnings.length === 0 ? {} : { warnings }) };
}

/** What a caller lets an update do, having seen the plan. */
export interface UpdateConsents {
  /** Pods may be replaced. */
  readonly allowRollout?: boolean;
  /** Most of the peers in use may be lost. */
  readonly confirm?: boolean;
}

/** @see NetworkManager.updateTailnet */
export async function updateTailnet(context: Context, given: UpdateTailnetInput & UpdateConsents, call: Change): Promise<Tailnet> {
  const { allowRollout = false, confirm = false, ...input } = membersOf(given);
  return audited(
    context,
    { call, action: 'updateTailnet', subject: input.tailnetName },
    {
      check: async () => {
        requireObject(given);
        requireConsents({ allowRollout, confirm });
        const found = await planned(context, input, call);
        requireAllowed(found.plan, allowRollout);
        if (!confirm) requireUnhurt(found.plan, context.settings.confirmLossShare);
        return found;
      },
      write: async ({ tailnet, spec, plan }) => {
        const upgrade = plan.rollouts.length > 0 ? { upgrade: newUpgrade(context, { spec }) } : {};
        if (plan.changes.length === 0 && plan.rollouts.length === 0) return tailnetView(tailnet);
        // One write holds both: a configuration whose sidecars are to follow, and that they are.
        return written(context, await writeTailnet(context, tailnet, { spec: { ...spec, ...upgrade }, ...call }));
      },
    },
  );
}

/** @throws {BifrostError} `ROLLOUT_REQUIRED` — with the workloads whose pods would be replaced */
export function requireAllowed({ rollouts }: ChangePlan, allowRollout: boolean): void {
  if (allowRollout || rollouts.length === 0) return;
  const places = rollouts.map(({ workload: { kind, namespace, name } }) => `${kind} ${namespace}/${name}`);
  const more = places.length > 3 ? `, and ${places.length - 3} more` : '';
  throw new BifrostError({
    code: 'ROLLOUT_REQUIRED',
    message: `The pods of ${places.slice(0, 3).join(', ')}${more} would be replaced: repeat the call with allowRollout when that may be.`,
    issues: [{ path: 'allowRollout', message: 'is needed, since pods would be replaced' }],
    details: { sidecars: String(rollouts.length), sidecarIds: rollouts.map(({ sidecarId }) => sidecarId).join(',') },
  });
}

/** @throws {BifrostError} `CONFIRM_REQUIRED` — with the peers in use that would be lost */
function requireUnhurt({ livePeers }: ChangePlan, share: number): void {
  if (livePeers === undefined || livePeers.lost <= livePeers.total * share) return;
  const { lost, total, losing } = livePeers;
  throw new BifrostError({
    code: 'CONFIRM_REQUIRED',
    message: `${lost} of ${total} peers that are in use would be lost: look at the plan, and repeat the call with confirm when that is meant.`,
    issues: [{ path: 'confirm', message: 'is needed, since peers in use would be lost' }],
    details: { lost: String(lost), total: String(total), peerIds: losing.flatMap(({ loss, peerId }) => (loss === 'all' ? [peerId] : [])).join(',') },
  });
}

function written(context: Context, tailnet: StoredTailnet): Tailnet {
  sawTailnet(context, tailnet.key, tailnet);
  context.urge('tailnet', tailnet.key);
  for (const { key } of context.observed.sidecarsOf(tailnet.key)) context.touch('sidecar', key);
  return tailnetView(tailnet);
}

/** @see NetworkManager.pauseTailnet */
export async function pauseTailnet(
  context: Context,
  { tailnetName, paused }: { readonly tailnetName: string; readonly paused: boolean },
  call: Change,
): Promise<Tailnet> {
  const action = paused ? 'pauseTailnet' : 'resumeTailnet';
  return audited(
    context,
    { call, action, subject: tailnetName },
    {
      check: async () => {
        const tailnet = await requireTailnet(context, tailnetName, call);
        requireMatch(tailnet, call);
        return tailnet;
      },
      write: async (tailnet) => {
        const { paused: before = false, ...spec } = tailnet.spec;
        if (before === paused) return tailnetView(tailnet);
        context.hearing.pausedAtMs.set(tailnetName, context.clock.nowMs());
        const replaced = await writeTailnet(context, tailnet, { spec: paused ? { ...spec, paused } : spec, ...call });
        if (paused) interruptPaused(context, tailnetName);
        return written(context, replaced);
      },
    },
  );
}
