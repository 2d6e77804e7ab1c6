import { parseOrThrow, type UpdateSidecarInput, updateSidecarRequestSchema } from '@bifrost/types';
import { BifrostError, type ChangePlan, type Sidecar, type UpdateSidecarRequest } from '@bifrost/types/core';
import { withoutSidecar } from '../domain/attach-plan.ts';
import type { SidecarSpec, StoredSidecar } from '../domain/model.ts';
import { audited } from './audited.ts';
import { requireConsents } from './consents.ts';
import { type Call, type Context, keepSidecar, respecSidecar } from './context.ts';
import { type Change, requireMatch, writeMatched } from './etags.ts';
import { membersOf, requireObject } from './given.ts';
import { networkHash } from './hashes.ts';
import { requireAdmitted } from './quarantine-state.ts';
import { differencesOf, rolloutOf } from './rollouts.ts';
import { sameJson } from './same-json.ts';
import { ownedByCreator, requireSidecar } from './sidecar-calls.ts';
import { requireUsableTailnet } from './sidecar-check.ts';
import { planPolicyChanges } from './sidecar-network-policies.ts';
import { renderAdmitted } from './sidecar-render.ts';
import { sidecarView } from './sidecar-view.ts';
import { requireAllowed } from './tailnet-update-calls.ts';
import { previousOf, trialOf } from './tailnet-upgrade.ts';
import { sidecarImpactOf } from './update-impact.ts';

interface Planned {
  readonly sidecar: StoredSidecar;
  readonly spec: SidecarSpec;
  readonly plan: ChangePlan;
}

/** What the update leads to, with the checks of an attach. Writes nothing. */
async function planned(context: Context, input: UpdateSidecarInput, call: Change): Promise<Planned> {
  const request: UpdateSidecarRequest = parseOrThrow(updateSidecarRequestSchema, input, 'INVALID_ARGUMENT');
  const sidecar = await requireSidecar(context, request.sidecarId, call);
  requireMatch(sidecar, call);
  requireChangeable(sidecar);
  const config = { ...sidecar.spec.config, ...request.config };
  const changes = Object.keys(request.config)
    .filter((member) => !sameJson(config[member as keyof typeof config], sidecar.spec.config[member as keyof typeof config]))
    .map((member) => `config.${member}`);
  if (changes.length === 0) return { sidecar, spec: sidecar.spec, plan: { changes, rollouts: [], ownedByCreator: [] } };
  const spec = await respecified(context, { sidecar, config }, call);
  const changed = differencesOf(sidecar.spec.fragment, spec.fragment);
  const rollouts = changed.length === 0 ? [] : [rolloutOf(sidecar, changed)];
  const tailnet = await requireUsableTailnet(context, spec.tailnetName, call);
  const { config: network } = tailnet.spec;
  const change = { before: { spec: sidecar.spec, config: network }, now: { spec, config: network } };
  const networkPolicies = await planPolicyChanges(context, [change], call);
  const impact = sidecarImpactOf(context, { tailnet, before: sidecar, now: spec });
  const plan: ChangePlan = { changes, rollouts, ownedByCreator: [], ...impact, ...(networkPolicies.length === 0 ? {} : { networkPolicies }) };
  return { sidecar, spec, plan };
}

/** @throws {BifrostError} `OWNED_BY_CREATOR`, `SIDECAR_QUARANTINED`, `SIDECAR_EXISTS` */
function requireChangeable({ spec, state, deleting }: StoredSidecar): void {
  if (spec.mode === 'inject') throw ownedByCreator(spec, 'Create it anew with what injectSidecar gives for the changed configuration.');
  requireAdmitted({ spec });
  if (!deleting && state.rolledBack !== true) return;
  throw new BifrostError({
    code: 'SIDECAR_EXISTS',
    message: deleting ? 'The sidecar is being detached.' : 'The attach failed and was taken back: attach again with the changed configuration.',
    details: { sidecarId: spec.sidecarId },
    issues: [{ path: 'sidecarId', message: deleting ? 'is being detached' : 'is not attached' }],
  });
}

/** The changed configuration, rendered, admitted and on trial. @throws what an attach would refuse */
export async function respecified(
  context: Context,
  { sidecar, config }: { readonly sidecar: StoredSidecar; readonly config: SidecarSpec['config'] },
  call: Call,
): Promise<SidecarSpec> {
  const { spec } = sidecar;
  const tailnet = await requireUsableTailnet(context, spec.tailnetName, call);
  const workload = await context.cluster.workloads.get(spec.workload, call);
  if (workload === undefined)
    throw new BifrostError({
      code: 'WORKLOAD_NOT_FOUND',
      message: 'The workload of this sidecar is gone.',
      issues: [{ path: 'sidecarId', message: 'its workload is gone' }],
    });
  const bare = { ...workload, template: withoutSidecar(workload.template) };
  const { fragment, networkMode } = await renderAdmitted(context, { tailnet, config, workload: bare, sidecarId: spec.sidecarId }, call);
  const { reverted: _, ...rest } = spec;
  if (sameJson(fragment, spec.fragment)) return { ...rest, config };
  const trial = trialOf(context, sidecar, context.settings.attachDeadlineMs);
  const renderedFor = networkHash(tailnet.spec.config);
  return { ...rest, config, fragment, networkMode, renderedFor, previous: previousOf(spec), trial };
}

/** @see NetworkManager.planUpdateSidecar */
export async function planUpdateSidecar(context: Context, input: UpdateSidecarInput, call: Call): Promise<ChangePlan> {
  return (await planned(context, input, call)).plan;
}

/** @see NetworkManager.updateSidecar */
export async function updateSidecar(
  context: Context,
  given: UpdateSidecarInput & { readonly allowRollout?: boolean },
  call: Change,
): Promise<Sidecar> {
  const { allowRollout = false, ...input } = membersOf(given);
  return audited(
    context,
    { call, action: 'updateSidecar', subject: input.sidecarId },
    {
      check: async () => {
        requireObject(given);
        requireConsents({ allowRollout });
        const found = await planned(context, input, call);
        requireAllowed(found.plan, allowRollout);
        return found;
      },
      write: async ({ sidecar, spec, plan }) => {
        if (plan.changes.length === 0) return sidecarView(context, sidecar);
        const write = async (current: StoredSidecar): Promise<StoredSidecar> => {
          requireChangeable(current); // an attach that failed meanwhile is nothing to be changed
          return respecSidecar(context, current, { spec, ...call });
        };
        const written = await writeMatched(context.store.sidecars, sidecar, { ...call, write });
        context.urge('sidecar', written.key);
        return sidecarView(context, written);
      },
    },
  );
}

/** @see NetworkManager.repairSidecar */
export async function repairSidecar(context: Context, sidecarId: string, call: Change): Promise<Sidecar> {
  return audited(
    context,
    { call, action: 'repairSidecar', subject: sidecarId },
    {
      check: async () => {
        const sidecar = await requireSidecar(context, sidecarId, call);
        requireMatch(sidecar, call);
        if (sidecar.spec.mode === 'inject') throw ownedByCreator(sidecar.spec, 'Create it anew with this fragment in it.');
        requireAdmitted(sidecar);
        return sidecar;
      },
      write: async (sidecar) => {
        const write = (current: StoredSidecar): Promise<StoredSidecar> => {
          const { repairs: _, ...state } = current.state;
          return keepSidecar(context, current, { state, ...call });
        };
        const written = await writeMatched(context.store.sidecars, sidecar, { ...call, write });
        context.urge('sidecar', written.key);
        return sidecarView(context, written);
      },
    },
  );
}
