import { BifrostError, type NetworkConfiguration, type PolicyWarning } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { type LintInput, lintIntent } from '../domain/policy/lint-intent.ts';
import { isUsable } from '../domain/reconcile-plan.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { policyOf } from './explain-calls.ts';
import { ownDevices } from './identities.ts';
import { knownRanges } from './sidecar-render.ts';

interface Planned {
  readonly tailnet: StoredTailnet;
  /** As it would be. */
  readonly config: NetworkConfiguration;
  readonly sidecars: readonly StoredSidecar[];
}

/** A plan does not wait longer for a control plane that hangs: it is worth having without what that would tell. */
const PATIENCE_MS = 3_000;

/** What a plan's author may not have meant, by what is known now; a plan is worth having also where the cluster or the control plane does not tell. */
export async function planWarnings(context: Context, { tailnet, config, sidecars }: Planned, call: Call): Promise<readonly PolicyWarning[]> {
  const offered = sidecars
    .filter(({ deleting }) => !deleting)
    .flatMap(({ spec }) => spec.config.advertiseRoutes.map((network) => ({ network, owner: `book ${spec.bookDeploymentId}` })));
  const [ranges, seen] = await Promise.all([knownRanges(context, call), seenAtControl(context, tailnet, call)]);
  return lintIntent({ config, others: offered, ...(ranges === undefined ? {} : { ranges }), ...seen });
}

/** Of a tailnet of several customers the policy is not this customer's to be warned of. */
async function seenAtControl(context: Context, tailnet: StoredTailnet, { signal }: Call): Promise<Pick<LintInput, 'routers' | 'policyText'>> {
  if (!isUsable(tailnet.state.phase)) return {};
  const call = { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) };
  try {
    const control = await controlOf(context, tailnet, call);
    const isShared = tailnet.spec.tenancy === 'shared';
    const [devices, policyText] = await Promise.all([control.listDevices(call), isShared ? undefined : policyOf(control, call)]);
    const routers = ownDevices(tailnet, devices).map(({ name, enabledRoutes }) => ({ name, routes: enabledRoutes }));
    return { routers, ...(policyText === undefined ? {} : { policyText }) };
  } catch (error) {
    if (signal.aborted || !(BifrostError.is(error) || call.signal.aborted)) throw error;
    return {};
  }
}
