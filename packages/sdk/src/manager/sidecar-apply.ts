import { carries } from '../domain/carries.ts';
import type { Reason, Repair, SidecarState, StoredSidecar } from '../domain/model.ts';
import { planForm, planRepair } from '../domain/reconcile-plan.ts';
import type { Workload } from '../ports/index.ts';
import { type Call, type Context, proveSidecar, respecSidecar } from './context.ts';
import { fragmentHash } from './hashes.ts';

interface Attached {
  readonly sidecar: StoredSidecar;
  readonly workload: Workload;
}

/** What a look at the workload's template led to; goes into the state with the rest of the round. */
export interface Applied {
  readonly sidecar: StoredSidecar;
  readonly applied: Pick<SidecarState, 'applied' | 'appliedFragment' | 'repairs'>;
  readonly reason?: Reason;
  readonly recheckMs?: number;
  /** The workload cannot have a sidecar as it is now: nothing is waited for. */
  readonly stopped?: true;
}

/** What its owner has made of the workload since the attach may be what an attach refuses: then the loop stops there until it is taken back. */
export async function stopUnsupported(context: Context, { sidecar, workload }: Attached, call: Call): Promise<Omit<Applied, 'sidecar'> | undefined> {
  const { spec, state } = sidecar;
  const plan = planForm(workload.template, spec);
  if (plan.kind === 'fine') return undefined;
  const { reason } = plan;
  if (state.reason?.code !== reason.code) {
    const { sidecarId } = spec;
    context.logger.log('warn', 'the workload has come to be one that cannot have a sidecar', { sidecarId, code: reason.code, path: reason.path });
  }
  if (plan.kind === 'tell') return { applied: {}, reason, stopped: true };
  if (!plan.isOut) await context.cluster.workloads.detach({ workload: spec.workload, form: spec.form, fragment: spec.fragment }, call);
  // Not applied: what brings it back is then our own change, not the repair of somebody's drift.
  return { applied: { applied: false }, reason, stopped: true };
}

/** Sees to it that the workload carries the stored fragment. Nothing is written where it does. */
export async function ensureApplied(context: Context, attached: Attached, call: Call): Promise<Applied> {
  const { sidecar, workload } = attached;
  const isIn = carries(workload.template, sidecar.spec.fragment);
  if (sidecar.spec.mode === 'inject') return verified(context, attached, isIn);
  if (isIn) return inPlace(sidecar);
  const isOwnChange = sidecar.state.applied !== true || sidecar.state.appliedFragment !== fragmentHash(sidecar.spec.fragment);
  if (!isOwnChange) return repairDrift(context, attached, call);
  // What was ours already and somebody has changed meanwhile does not hinder a change of ours.
  return inPlace(await putIn(context, sidecar, { ...call, repair: sidecar.state.applied === true }));
}

function inPlace(sidecar: StoredSidecar, repairs: readonly Repair[] = sidecar.state.repairs ?? []): Applied {
  const applied = { applied: true, appliedFragment: fragmentHash(sidecar.spec.fragment), ...(repairs.length === 0 ? {} : { repairs }) };
  return { sidecar, applied };
}

/** Where the owner has added init containers of their own since, ours must be put before them: an apply cannot do that. */
async function putIn(context: Context, read: StoredSidecar, call: Call & { readonly repair?: boolean }): Promise<StoredSidecar> {
  const sidecar = await proveSidecar(context, read, call);
  const { workload, form, fragment } = sidecar.spec;
  const after = await context.cluster.workloads.attach({ workload, form, fragment }, call);
  context.observed.wroteWorkload(sidecar.key, after.version);
  if (form === 'prepend' || carries(after.template, fragment)) return sidecar;
  const respecified = await respecSidecar(context, sidecar, { spec: { ...sidecar.spec, form: 'prepend' }, signal: call.signal });
  const prepended = await context.cluster.workloads.attach({ workload, form: 'prepend', fragment }, call);
  context.observed.wroteWorkload(sidecar.key, prepended.version);
  return respecified;
}

/** Somebody changed what is ours: put right once per cause, so that two controllers do not fight for ever. */
async function repairDrift(context: Context, { sidecar, workload }: Attached, call: Call): Promise<Applied> {
  const manager = workload.lastWriter ?? 'unknown';
  const { clock, settings } = context;
  const plan = planRepair(sidecar.state.repairs ?? [], { manager, nowMs: clock.nowMs(), windowMs: settings.driftWindowMs });
  if (plan.kind === 'leave') {
    const reason: Reason = {
      code: 'DRIFT_REPEATED',
      message: `${JSON.stringify(manager)} has changed the sidecar again after it was put right: stop it there, then call repairSidecar.`,
    };
    if (sidecar.state.reason?.code !== reason.code) tellDrift(context, sidecar, { manager, repaired: false });
    return { ...inPlace(sidecar), reason, recheckMs: plan.againMs };
  }
  const repaired = await putIn(context, sidecar, { ...call, repair: true });
  tellDrift(context, sidecar, { manager, repaired: true });
  context.logger.log('warn', 'drift was put right', { sidecarId: sidecar.spec.sidecarId, manager });
  return inPlace(repaired, plan.repairs);
}

function tellDrift(context: Context, { spec }: StoredSidecar, drift: { readonly manager: string; readonly repaired: boolean }): void {
  const { sidecarId, tailnetName, customerId, bookDeploymentId } = spec;
  context.events.emit('sidecar:drifted', { sidecarId, tailnetName, customerId, bookDeploymentId, ...drift, atMs: context.clock.nowMs() });
}

/** The creator's own fields: Bifrost looks, and says what differs. */
function verified(context: Context, { sidecar, workload }: Attached, isIn: boolean): Applied {
  if (isIn) return inPlace(sidecar);
  const reason: Reason = {
    code: 'OWNED_BY_CREATOR',
    message: 'The workload no longer has the sidecar that was rendered for it: create it anew from what injectSidecar gives.',
  };
  if (sidecar.state.reason?.code !== reason.code) tellDrift(context, sidecar, { manager: workload.lastWriter ?? 'unknown', repaired: false });
  return { sidecar, applied: { applied: false }, reason };
}
