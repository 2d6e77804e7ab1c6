import { BifrostError } from '@bifrost/types/core';
import type { SidecarState, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { TailnetControl } from '../ports/index.ts';
import { leaveAtControl } from './abandon.ts';
import { type Call, type Context, controlOf, keepSidecar, proveSidecar, sawSidecar } from './context.ts';
import { belongsTo } from './sidecar-devices.ts';
import { attachmentSecret, revokeKeys } from './sidecar-keys.ts';
import { releaseNetworkPolicies } from './sidecar-network-policies.ts';
import { awaitInjectedPods, type Released, releaseWorkload } from './sidecar-release.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

interface Found {
  readonly sidecar: StoredSidecar;
  readonly tailnet: StoredTailnet | undefined;
}

/** Takes everything away, and the stored sidecar last. */
export async function detachSidecarFully(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<Outcome> {
  const marked = await markDetaching(context, sidecar, call);
  const unfinished = await releaseOutside(context, { sidecar: marked, tailnet }, call);
  if (unfinished !== undefined) return unfinished;
  await context.store.sidecars.finalize(marked, call);
  context.outdated.end('sidecar', marked);
  context.hindrances.forget(sidecar.key);
  context.instances.forget(marked.key);
  sawSidecar(context, marked.key, undefined);
  context.touch('tailnet', marked.spec.tailnetName);
  // An annotation may ask for it again.
  context.touch('workload', marked.key);
  return SETTLED;
}

/** A failed attach: the workload is given back as it was. The stored sidecar stays and says why. */
export async function takeBack(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<Outcome> {
  const { state } = sidecar;
  const isClean = state.applied === undefined && state.keys.length === 0 && state.deviceIds.length === 0 && state.instances.length === 0;
  if (isClean) {
    context.instances.forget(sidecar.key);
    return SETTLED;
  }
  await proveReleased(context, sidecar, call);
  const unfinished = await releaseOutside(context, { sidecar, tailnet }, call);
  if (unfinished !== undefined) return unfinished;
  const { applied: _, appliedFragment: __, networkPolicies: ___, ...rest } = state;
  const clean: SidecarState = { ...rest, keys: [], deviceIds: [], instances: [] };
  context.hindrances.forget(sidecar.key);
  context.instances.forget(sidecar.key);
  await keepSidecar(context, sidecar, { state: clean, ...call });
  return SETTLED;
}

/**
 * What lies outside goes in the only order that leaves nothing: out of the pod template, wait until the pods are gone, revoke the key (a reusable one
 * would let a deleted device rejoin), delete the devices, look again, delete NetworkPolicies and Secret. Undefined: nothing is left, or nothing that is not to be abandoned.
 */
async function releaseOutside(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<Outcome | undefined> {
  const isAbandoned = sidecar.spec.abandon === true || tailnet?.spec.abandon === true;
  const unfinished =
    (await releaseWorkload(context, { sidecar, isAbandoned }, call)) ??
    (tailnet && (await releaseControl(context, { sidecar, isAbandoned }, { tailnet, ...call }))) ??
    (await awaitInjectedPods(context, { sidecar, isAbandoned }, call));
  if (unfinished !== undefined) return unfinished;
  await releaseNetworkPolicies(context, { sidecar, isAbandoned }, call);
  await context.cluster.secrets.remove(attachmentSecret(sidecar), call);
  return undefined;
}

/** Keys and devices at the control plane. With `abandon` what cannot be reached there is left, and that is recorded. */
async function releaseControl(
  context: Context,
  { sidecar, isAbandoned }: Released,
  { tailnet, ...call }: Call & { readonly tailnet: StoredTailnet },
): Promise<Outcome | undefined> {
  const { sidecarId, customerId } = sidecar.spec;
  try {
    const isClear = await clearControl(context, { sidecar, tailnet }, { control: await controlOf(context, tailnet, call), ...call });
    return isClear ? undefined : { kind: 'waiting', recheckMs: 500 };
  } catch (error) {
    if (!isAbandoned) throw error;
    await leaveAtControl(context, { error, key: sidecar.key, subject: sidecarId, customerId }, call);
    return undefined;
  }
}

/** Revokes the keys first, since a reusable one would let a deleted device rejoin. True when none of its devices is there any more. */
export async function clearControl(
  context: Context,
  { sidecar, tailnet }: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet },
  { control, signal }: { readonly control: TailnetControl } & Call,
): Promise<boolean> {
  await revokeKeys(sidecar.spec.sidecarId, sidecar.state, { control, signal });
  await deleteDevices(context, { sidecar, tailnet }, { control, signal });
  return !(await control.listDevices({ signal })).some((device) => belongsTo(context, { sidecar, tailnet }, device));
}

/** A reason that a failed round left stays until something changes: taking it out and putting it back would be two hints for the next round. */
async function markDetaching(context: Context, sidecar: StoredSidecar, call: Call): Promise<StoredSidecar> {
  if (sidecar.state.phase === 'detaching') return proveReleased(context, sidecar, call);
  const { reason: _, ...rest } = sidecar.state;
  return keepSidecar(context, sidecar, { state: { ...rest, phase: 'detaching' }, ...call });
}

/** It may be an old read of one whose like has come anew. Not again and again, while this manager waits for what it has begun to take away. */
const proveReleased = async (context: Context, sidecar: StoredSidecar, call: Call): Promise<StoredSidecar> =>
  context.hindrances.isHindered(sidecar.key) ? sidecar : proveSidecar(context, sidecar, call);

/** Of an id that is asked for: those of Tailscale's are such. Others would be a path, and are some pod's invention. */
const DEVICE_ID = /^[A-Za-z0-9]{1,64}$/;

/**
 * What carries our marks and nothing else: the ids on record come from reports, and a wrong one must not cost the customer a device. Those that are not
 * listed are asked for by their ids, since a list may be older than a machine that has just joined; last, and whatever is answered to one of them hinders
 * nothing but the next round.
 */
async function deleteDevices(
  context: Context,
  attached: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet },
  { control, signal }: { readonly control: TailnetControl } & Call,
): Promise<void> {
  const listed = await control.listDevices({ signal });
  for (const device of listed) if (belongsTo(context, attached, device)) await control.deleteDevice(device.deviceId, { signal });
  const { deviceIds, instances } = attached.sidecar.state;
  const unlisted = new Set([...deviceIds, ...instances.flatMap(({ deviceId }) => deviceId ?? [])].filter((deviceId) => DEVICE_ID.test(deviceId)));
  for (const { deviceId } of listed) unlisted.delete(deviceId);
  const asked = await Promise.allSettled([...unlisted].map((deviceId) => control.findDevice(deviceId, { signal })));
  for (const answer of asked) {
    if (answer.status === 'fulfilled' && answer.value !== undefined && belongsTo(context, attached, answer.value))
      await control.deleteDevice(answer.value.deviceId, { signal });
  }
  const failures = asked.flatMap((answer): unknown[] => (answer.status === 'rejected' ? [answer.reason] : []));
  // What is refused for good is not a device of this tailnet, or nothing that another round would learn more of.
  const [unsure] = failures.filter((reason) => !BifrostError.is(reason) || reason.retry === 'backoff');
  if (unsure !== undefined) throw unsure;
}
