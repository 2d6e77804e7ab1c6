import { BifrostError } from '@bifrost/types/core';
import type { SidecarState, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { TailnetControl } from '../ports/index.ts';
import { type Call, type Context, controlOf, keepSidecar, sawSidecar, tailnetOf } from './context.ts';
import { activePodsOf, belongsTo } from './sidecar-devices.ts';
import { attachmentSecret, revokeKeys } from './sidecar-keys.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/** Takes everything away, and the stored sidecar last. */
export async function detachSidecarFully(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const marked = await markDetaching(context, sidecar, call);
  const unfinished = await releaseOutside(context, marked, call);
  if (unfinished !== undefined) return unfinished;
  await context.store.sidecars.finalize(marked, call);
  context.abandoning.delete(sidecar.spec.sidecarId);
  context.instances.forget(marked.key);
  sawSidecar(context, marked.key, undefined);
  context.touch('tailnet', marked.spec.tailnetName);
  // An annotation may ask for it again.
  context.touch('workload', marked.key);
  return SETTLED;
}

/** A failed attach: the workload is given back as it was. The stored sidecar stays and says why. */
export async function takeBack(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const { state } = sidecar;
  const isClean = state.applied !== true && state.keys.length === 0 && state.deviceIds.length === 0 && state.instances.length === 0;
  if (isClean) {
    context.instances.forget(sidecar.key);
    return SETTLED;
  }
  const unfinished = await releaseOutside(context, sidecar, call);
  if (unfinished !== undefined) return unfinished;
  const { applied: _, appliedFragment: __, ...rest } = state;
  const clean: SidecarState = { ...rest, keys: [], deviceIds: [], instances: [] };
  context.instances.forget(sidecar.key);
  await keepSidecar(context, sidecar, { state: clean, ...call });
  return SETTLED;
}

/**
 * What lies outside goes in the only order that leaves nothing: out of the pod template, wait until the pods are gone, revoke the key (a reusable one
 * would let a deleted device rejoin), delete the devices, look again, delete the Secret. Undefined: nothing is left.
 */
async function releaseOutside(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome | undefined> {
  const { workload, form, fragment, mode = 'apply' } = sidecar.spec;
  // What its creator put in is not ours to take out: its pods stay, without a key.
  if (mode === 'apply') {
    await context.cluster.workloads.detach({ workload, form, fragment }, call);
    const pods = await activePodsOf(context, sidecar, call);
    if (pods.length > 0) return { kind: 'waiting', recheckMs: 1_000 };
  }
  const tailnet = await tailnetOf(context, sidecar, call);
  if (tailnet !== undefined) {
    const unfinished = await releaseControl(context, sidecar, { tailnet, ...call });
    if (unfinished !== undefined) return unfinished;
  }
  await context.cluster.secrets.remove(attachmentSecret(sidecar), call);
  return undefined;
}

interface Release extends Call {
  readonly tailnet: StoredTailnet;
}

/** Keys and devices at the control plane. With `abandon` what cannot be reached there is left, and that is recorded. */
async function releaseControl(context: Context, sidecar: StoredSidecar, { tailnet, ...call }: Release): Promise<Outcome | undefined> {
  try {
    const control = await controlOf(context, tailnet, call);
    await revokeKeys(sidecar.spec.sidecarId, sidecar.state, { control, ...call });
    await deleteDevices(context, sidecar, { control, ...call });
    const left = (await control.listDevices(call)).filter((device) => belongsTo(context, sidecar, device));
    return left.length > 0 ? { kind: 'waiting', recheckMs: 500 } : undefined;
  } catch (error) {
    if (sidecar.spec.abandon !== true && tailnet.spec.abandon !== true) throw error;
    await recordAbandoned(context, { error, subject: sidecar.spec.sidecarId, customerId: sidecar.spec.customerId }, call);
    return undefined;
  }
}

/** So long a trouble that may pass is waited for, before it counts as one that stays. */
const MAY_PASS_MS = 60_000;

/**
 * Only what the control plane does not let us do may be abandoned: at once what it refuses, later what it does not answer. Ids of what may be left are in
 * the stored object until now.
 */
export async function recordAbandoned(
  context: Context,
  { error, subject, customerId }: { readonly error: unknown; readonly subject: string; readonly customerId: string },
  call: Call,
): Promise<void> {
  if (!BifrostError.is(error) || !error.code.startsWith('CONTROL_') || call.signal.aborted) throw error;
  const { code, retry } = error;
  const nowMs = context.clock.nowMs();
  const sinceMs = context.abandoning.get(subject) ?? nowMs;
  context.abandoning.set(subject, sinceMs);
  if (retry === 'backoff' && nowMs - sinceMs < MAY_PASS_MS) throw error;
  context.logger.log('warn', 'abandoned at the control plane: keys or devices may be left there', { subject, code });
  await context.audit.append({ atMs: nowMs, actor: 'manager', action: 'abandon', subject, customerId, outcome: code }, call);
}

/** A reason that a failed round left stays until something changes: taking it out and putting it back would be two hints for the next round. */
async function markDetaching(context: Context, sidecar: StoredSidecar, call: Call): Promise<StoredSidecar> {
  if (sidecar.state.phase === 'detaching') return sidecar;
  const { reason: _, ...rest } = sidecar.state;
  return keepSidecar(context, sidecar, { state: { ...rest, phase: 'detaching' }, ...call });
}

/** What carries our marks and nothing else: the ids on record come from reports, and a wrong one must not cost the customer a device. */
async function deleteDevices(
  context: Context,
  sidecar: StoredSidecar,
  { control, signal }: { readonly control: TailnetControl } & Call,
): Promise<void> {
  for (const device of await control.listDevices({ signal })) {
    if (belongsTo(context, sidecar, device)) await control.deleteDevice(device.deviceId, { signal });
  }
}
