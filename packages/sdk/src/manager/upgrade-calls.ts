import { parseOrThrow, type UpgradeSidecarsInput, upgradeSidecarsRequestSchema } from '@bifrost/types';
import type { ChangePlan, Rollout, UpgradeProgress, UpgradeSidecarsRequest } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { audited } from './audited.ts';
import { type Call, type Context, sawTailnet } from './context.ts';
import { type Change, requireMatch } from './etags.ts';
import { differencesOf, rolloutOf } from './rollouts.ts';
import { requireUsableTailnet } from './sidecar-check.ts';
import { writeTailnet } from './tailnet-calls.ts';
import { isUpgradable, newUpgrade, rerendered } from './tailnet-upgrade.ts';

interface Planned {
  readonly request: UpgradeSidecarsRequest;
  readonly tailnet: StoredTailnet;
  readonly plan: ChangePlan;
}

async function planned(context: Context, input: UpgradeSidecarsInput, call: Change): Promise<Planned> {
  const request: UpgradeSidecarsRequest = parseOrThrow(upgradeSidecarsRequestSchema, input, 'INVALID_ARGUMENT');
  const tailnet = await requireUsableTailnet(context, request.tailnetName, call);
  requireMatch(tailnet, call);
  const sidecars = (await context.store.sidecars.list(call)).filter(({ spec, deleting }) => spec.tailnetName === tailnet.key && !deleting);
  const rollouts: Rollout[] = [];
  for (const sidecar of sidecars.filter(isUpgradable)) rollouts.push(...(await rolloutFor(context, { tailnet, sidecar }, call)));
  const ownedByCreator = sidecars.filter(({ spec: { mode } }) => mode === 'inject').map(({ spec: { sidecarId } }) => sidecarId);
  return { request, tailnet, plan: { changes: rollouts.length > 0 ? ['sidecars'] : [], rollouts, ownedByCreator } };
}

async function rolloutFor(
  context: Context,
  { tailnet, sidecar }: { readonly tailnet: StoredTailnet; readonly sidecar: StoredSidecar },
  call: Call,
): Promise<readonly Rollout[]> {
  const workload = await context.cluster.workloads.get(sidecar.spec.workload, call);
  if (workload === undefined) return [];
  const changed = await rerendered(context, { tailnet, sidecar, workload, trialMs: 0 }, call);
  return 'fragment' in changed ? [rolloutOf(sidecar, differencesOf(sidecar.spec.fragment, changed.fragment))] : [];
}

/** @see NetworkManager.planUpgrade */
export async function planUpgrade(context: Context, input: UpgradeSidecarsInput, call: Call): Promise<ChangePlan> {
  return (await planned(context, input, call)).plan;
}

/** @see NetworkManager.upgradeSidecars */
export async function upgradeSidecars(context: Context, input: UpgradeSidecarsInput, call: Change): Promise<UpgradeProgress> {
  return audited(
    context,
    { call, action: 'upgradeSidecars', subject: input?.tailnetName },
    {
      check: () => planned(context, input, call),
      write: async ({ request: { waveSize, trialMs }, tailnet }) => {
        const wish = newUpgrade(context, tailnet, {
          ...(waveSize === undefined ? {} : { waveSize }),
          ...(trialMs === undefined ? {} : { trialMs }),
        });
        const written = await writeTailnet(context, tailnet, { spec: { ...tailnet.spec, upgrade: wish }, ...call });
        sawTailnet(context, written.key, written);
        context.urge('tailnet', written.key);
        return { upgradeId: wish.upgradeId, total: context.observed.sidecarsOf(written.key).filter(isUpgradable).length, done: 0, finished: false };
      },
    },
  );
}
