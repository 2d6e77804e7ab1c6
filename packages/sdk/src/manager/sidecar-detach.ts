import type { StoredSidecar } from '../domain/model.ts';
import type { TailnetControl } from '../ports/index.ts';
import { type Call, type Context, controlOf, keepSidecar } from './context.ts';
import { belongsTo, podsOf } from './sidecar-devices.ts';
import { attachmentSecret, revokeKeys } from './sidecar-keys.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/**
 * Takes everything away, in the only order that leaves nothing: out of the pod template, wait until the pods are gone, revoke the key
 * (a reusable one would let a deleted device rejoin), delete the devices, look again, delete the Secret.
 */
export async function detachSidecarFully(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const marked = await markDetaching(context, sidecar, call);
  await context.cluster.workloads.detach({ workload: marked.spec.workload, form: marked.spec.form, fragment: marked.spec.fragment }, call);
  const pods = await podsOf(context, marked, call);
  if (pods.length > 0) return { kind: 'waiting', recheckMs: 1_000 };
  const tailnet = await context.store.tailnets.get(marked.spec.tailnetName, call);
  if (tailnet !== undefined) {
    const control = await controlOf(context, tailnet, call);
    await revokeKeys(marked.spec.sidecarId, marked.state, { control, ...call });
    await deleteDevices(context, marked, { control, ...call });
    const left = (await control.listDevices(call)).filter((device) => belongsTo(context, marked, device));
    if (left.length > 0) return { kind: 'waiting', recheckMs: 500 };
  }
  await context.cluster.secrets.remove(attachmentSecret(marked), call);
  await context.store.sidecars.finalize(marked, call);
  context.instances.forget(marked.key);
  context.announcer.sawSidecar(marked.key, undefined);
  context.touch('tailnet', marked.spec.tailnetName);
  return SETTLED;
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
