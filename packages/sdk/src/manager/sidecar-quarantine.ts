import { BifrostError } from '@bifrost/types/core';
import { statusOfInstances } from '../domain/connectivity.ts';
import type { SidecarState, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { isCutOff, QUARANTINED } from '../domain/quarantine.ts';
import { planRelease } from '../domain/reconcile-plan.ts';
import { type Call, type Context, controlOf, keepSidecar } from './context.ts';
import { clearControl } from './sidecar-detach.ts';
import { forgetGone, isFinished, noticePods, podsOf } from './sidecar-devices.ts';
import { attachmentLabels, attachmentSecret } from './sidecar-keys.ts';
import { keepNetworkPolicies } from './sidecar-network-policies.ts';
import { seen } from './sidecar-record.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

interface Found {
  readonly sidecar: StoredSidecar;
  readonly tailnet: StoredTailnet;
}

/** One that was deleted by ourselves may still be listed for a moment. */
const LEFT_MS = 500;

/**
 * Keeps a sidecar out of its tailnet, its pods as they are: nobody can join, and nobody is joined. What is there is read each time, so that a manager that
 * ends between any two lines leaves nothing that the next does not find.
 */
export async function keepQuarantined(context: Context, found: Found, call: Call): Promise<Outcome> {
  const { sidecar, tailnet } = found;
  const isClear = await cutOff(context, found, call);
  const pods = await podsOf(context, sidecar, call);
  noticePods(context, sidecar, pods);
  const present = new Set(pods.filter((pod) => !isFinished(pod)).map(({ uid }) => uid));
  forgetGone(context, sidecar, planRelease(context.instances.of(sidecar.key), present));
  const recorded = await record(context, sidecar, { isClear, ...call });
  const outcome = await keepOutOfCluster(context, { sidecar: recorded, tailnet }, call);
  return isClear ? outcome : { kind: 'waiting', recheckMs: LEFT_MS };
}

/**
 * What its guard lets through to the cluster, its NetworkPolicies alone keep in: they are kept as ever, which replaces no pod. After the cut, whose outcome
 * a failure here must not change: it is tried again, and written nowhere. Nothing is taken away, whatever the setting has become: that would open it.
 */
async function keepOutOfCluster(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<Outcome> {
  if (context.settings.networkPolicies !== 'enforce' || tailnet.spec.paused === true || sidecar.deleting) return SETTLED;
  try {
    const { workload, customerId } = sidecar.spec;
    // In what is another's namespace by now nothing is written any more.
    if ((await context.cluster.workloads.customerOf(workload.namespace, call)) === customerId)
      await keepNetworkPolicies(context, { sidecar, tailnet }, call);
    return SETTLED;
  } catch (error) {
    if (!BifrostError.is(error) || call.signal.aborted) throw error;
    return { kind: error.retry === 'backoff' ? 'retry' : 'stopped', error };
  }
}

/** Before a detach goes its long way by the pods: that of one in quarantine must not open it for so long. */
export async function cutBeforeDetach(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<void> {
  const isAbandoned = sidecar.spec.abandon === true || tailnet.spec.abandon === true;
  if (sidecar.spec.quarantine !== undefined && !isCutOff(sidecar) && !isAbandoned) await keepQuarantined(context, { sidecar, tailnet }, call);
}

/** Both at once, and each whatever comes of the other: neither cluster nor control plane may hold up what the other can do. */
async function cutOff(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<boolean> {
  const [secret, control] = await Promise.allSettled([
    emptySecret(context, { sidecar, tailnet }, call),
    cutAtControl(context, { sidecar, tailnet }, call),
  ]);
  if (control.status === 'rejected') throw control.reason;
  if (secret.status === 'rejected') throw secret.reason;
  return control.value;
}

/** The key goes; what the agents of its pods need to be heard stays. */
async function emptySecret(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<void> {
  const data = await context.cluster.secrets.get(attachmentSecret(sidecar), call);
  if (data === undefined || !(data.has('authkey') || data.has('keyid'))) return;
  const kept = new Map([...data].filter(([name]) => name !== 'authkey' && name !== 'keyid'));
  await context.cluster.secrets.put(
    { ...attachmentSecret(sidecar), labels: attachmentLabels(tailnet, sidecar), data: kept },
    { ...call, seen: data },
  );
}

async function cutAtControl(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<boolean> {
  const { keys, deviceIds } = sidecar.state;
  const isUnknownThere = tailnet.state.controlId === undefined && keys.length === 0 && deviceIds.length === 0;
  if (isUnknownThere) return true; // the tailnet is yet to be made; its activation is a hint for its sidecars
  return clearControl(context, { sidecar, tailnet }, { control: await controlOf(context, tailnet, call), ...call });
}

async function record(context: Context, sidecar: StoredSidecar, { isClear, signal }: { readonly isClear: boolean } & Call) {
  const { waitingSinceMs: _since, quarantinedSinceMs: _before, ...rest } = sidecar.state;
  const { instances } = seen(context, sidecar);
  const sinceMs = sidecar.spec.quarantine?.sinceMs;
  const phase = sidecar.deleting ? rest.phase : statusOfInstances(instances.map(({ status }) => status));
  const state: SidecarState = { ...rest, instances, phase, reason: QUARANTINED };
  const isDone = isClear && sinceMs !== undefined;
  const done = isDone ? { keys: [], deviceIds: [], quarantinedSinceMs: sinceMs } : {};
  return keepSidecar(context, sidecar, { state: { ...state, ...done }, signal });
}

/** It is let in again: what waited for its network all the while is given its time anew. Once, since the round that follows forgets the quarantine. */
export function startWaitingAnew(context: Context, { key, state }: StoredSidecar): void {
  if (state.quarantinedSinceMs === undefined) return;
  const nowMs = context.clock.nowMs();
  for (const instance of context.instances.of(key)) if (instance.connection.state === 'attaching') instance.sinceMs = nowMs;
}
