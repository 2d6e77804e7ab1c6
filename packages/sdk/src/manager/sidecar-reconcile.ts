import { BifrostError } from '@bifrost/types/core';
import type { SidecarState, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { planPhase } from '../domain/reconcile-plan.ts';
import type { Pod } from '../ports/index.ts';
import { type Call, type Context, controlOf, keepSidecar, reasonOf } from './context.ts';
import { instanceState } from './instances.ts';
import { sameJson } from './same-json.ts';
import { detachSidecarFully } from './sidecar-detach.ts';
import { podsOf, releaseDevices, settleRoutes } from './sidecar-devices.ts';
import { attachmentSecret, ensureKey, revokeKeys } from './sidecar-keys.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/** Brings workload, keys and devices of one attachment to what is wanted. Level-triggered: reads both sides every time. */
export async function reconcileSidecar(context: Context, key: string, call: Call): Promise<Outcome> {
  const sidecar = await context.store.sidecars.get(key, call);
  context.announcer.sawSidecar(key, sidecar);
  if (sidecar === undefined) {
    context.instances.forget(key);
    return SETTLED;
  }
  try {
    if (sidecar.deleting) return await detachSidecarFully(context, sidecar, call);
    return await keepAttached(context, sidecar, call);
  } catch (error) {
    if (!BifrostError.is(error) || call.signal.aborted) throw error;
    return await recordFailure(context, key, { error, ...call });
  }
}

async function keepAttached(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const workload = await context.cluster.workloads.get(sidecar.spec.workload, call);
  // The workload is gone, or another of its name has come: everything made for it is released.
  if (workload === undefined) return release(context, sidecar, call);
  const tailnet = await context.store.tailnets.get(sidecar.spec.tailnetName, call);
  if (tailnet === undefined || tailnet.deleting) return release(context, sidecar, call);
  if (workload.customerId !== sidecar.spec.customerId) return stopEnrolment(context, { sidecar, tailnet }, call);
  if (tailnet.state.phase !== 'active') return SETTLED; // its activation is a hint for its sidecars
  const control = await controlOf(context, tailnet, call);
  const keyed = await ensureKey(context, sidecar, { tailnet, control, ...call });
  await context.cluster.workloads.attach({ workload: sidecar.spec.workload, form: sidecar.spec.form, fragment: sidecar.spec.fragment }, call);
  const pods = await podsOf(context, keyed, call);
  noticePods(context, keyed, pods);
  const released = await releaseDevices(context, keyed, { control, pods, ...call });
  const routes = await settleRoutes(context, { sidecar: released, tailnet, control }, call);
  return recordState(context, released, { reason: routes, ...call });
}

/** The namespace has changed hands: its key dies and its Secret goes, so that no further pod joins. Who has joined is for a person to judge. */
async function stopEnrolment(
  context: Context,
  { sidecar, tailnet }: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet },
  call: Call,
): Promise<never> {
  const control = await controlOf(context, tailnet, call);
  await revokeKeys(sidecar.spec.sidecarId, sidecar.state, { control, ...call });
  await context.cluster.secrets.remove(attachmentSecret(sidecar), call);
  if (sidecar.state.keys.length > 0) await keepSidecar(context, sidecar, { state: { ...sidecar.state, keys: [] }, ...call });
  throw new BifrostError({
    code: 'CUSTOMER_MISMATCH',
    message: 'The namespace has been given to another customer: enrolment has stopped. Detach the sidecar.',
    issues: [{ path: 'bookDeploymentId', message: 'lies in a namespace of another customer, or of none' }],
  });
}

/** The loop's own decision to detach, recorded as such. */
async function release(context: Context, { key, spec }: StoredSidecar, call: Call): Promise<Outcome> {
  const { sidecarId: subject, customerId } = spec;
  await context.audit.append(
    { atMs: context.clock.nowMs(), actor: 'manager', action: 'detachSidecar', subject, customerId, outcome: 'accepted' },
    call,
  );
  await context.store.sidecars.remove(key, call);
  return { kind: 'waiting', recheckMs: 0 };
}

function noticePods(context: Context, sidecar: StoredSidecar, pods: readonly Pod[]): void {
  const nowMs = context.clock.nowMs();
  for (const pod of pods) if (!pod.deleting && pod.phase !== 'Succeeded' && pod.phase !== 'Failed') context.instances.ensure(sidecar, pod, nowMs);
}

async function recordState(
  context: Context,
  sidecar: StoredSidecar,
  { reason, signal }: { readonly reason: SidecarState['reason'] } & Call,
): Promise<Outcome> {
  const instances = context.instances
    .of(sidecar.key)
    .map(instanceState)
    .sort((a, b) => (a.podUid < b.podUid ? -1 : 1));
  const { reason: _, ...rest } = sidecar.state;
  const deviceIds = [
    ...new Set([...sidecar.state.deviceIds, ...instances.flatMap(({ deviceId }) => (deviceId === undefined ? [] : [deviceId]))]),
  ].sort();
  const { phase, reason: late, recheckMs } = planPhase(instances, { nowMs: context.clock.nowMs(), deadlineMs: context.settings.attachDeadlineMs });
  const told = late ?? reason;
  const state: SidecarState = { ...rest, applied: true, phase, instances, deviceIds, ...(told === undefined ? {} : { reason: told }) };
  if (!sameJson(state, sidecar.state)) await keepSidecar(context, sidecar, { state, signal });
  return recheckMs === undefined ? SETTLED : { kind: 'waiting', recheckMs };
}

async function recordFailure(context: Context, key: string, { error, signal }: { readonly error: BifrostError } & Call): Promise<Outcome> {
  const outcome: Outcome = error.retry === 'backoff' ? { kind: 'retry', error } : { kind: 'stopped', error };
  // Ordinary races, nobody's trouble: the next round reads again.
  if (error.code === 'STORE_CONFLICT' || error.code === 'CLUSTER_CONFLICT') return outcome;
  const sidecar = await context.store.sidecars.get(key, { signal });
  if (sidecar === undefined) return outcome;
  // A passing trouble says nothing new of what has failed already.
  if (outcome.kind === 'retry' && sidecar.state.phase === 'failed' && !sidecar.deleting) return outcome;
  const phase = sidecar.deleting ? 'detaching' : outcome.kind === 'stopped' ? 'failed' : sidecar.state.phase;
  const state: SidecarState = { ...sidecar.state, phase, reason: reasonOf(error) };
  if (!sameJson(state, sidecar.state)) await keepSidecar(context, sidecar, { state, signal });
  return outcome;
}
