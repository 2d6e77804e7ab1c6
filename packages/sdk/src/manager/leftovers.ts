import type { Leftover } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { LABELS, sidecarIdOfDescription } from '../domain/names.ts';
import { isCustomerTag } from '../domain/policy/identity-tags.ts';
import { isUsable } from '../domain/reconcile-plan.ts';
import type { ControlKey, Device } from '../ports/index.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { belongsTo } from './sidecar-devices.ts';
import { displayNameOf } from './tailnet-reconcile.ts';

const IN_NAMESPACES: ReadonlySet<string> = new Set(['secret', 'network-policy']);

/**
 * What lies outside is read first, its owners afterwards: an owner is stored before anything is made for it, so what is made meanwhile is not
 * mistaken for a leftover.
 *
 * @see NetworkManager.listLeftovers
 */
export async function listLeftovers(context: Context, call: Call): Promise<readonly Leftover[]> {
  const secrets = await context.cluster.secrets.list(call);
  const policies = await context.cluster.networkPolicies.list(call);
  const made = await context.controlPlane.listTailnets(call);
  const inside: Inside[] = [];
  for (const tailnet of await context.store.tailnets.list(call)) {
    if (!isUsable(tailnet.state.phase)) continue;
    // All of these are one.
    if (tailnet.spec.tenancy === 'shared' && inside.some(({ tailnet: { spec } }) => spec.tenancy === 'shared')) continue;
    const found = await look(context, tailnet, call);
    if (found !== undefined) inside.push(found);
  }
  const [tailnets, sidecars] = [await context.store.tailnets.list(call), await context.store.sidecars.list(call)];
  const owners = new Set([...sidecars.map(({ spec }) => spec.sidecarId), ...tailnets.map(({ spec }) => spec.tailnetId)]);
  const ours = new Set(tailnets.map(displayNameOf));
  const found: Leftover[] = [
    ...secrets
      .filter(({ labels }) => !owners.has(labels[LABELS.sidecarId] ?? labels[LABELS.tailnetId] ?? ''))
      .map(({ namespace, name }): Leftover => ({ kind: 'secret', id: name, place: namespace })),
    ...policies
      .filter(({ labels }) => !owners.has(labels[LABELS.sidecarId] ?? ''))
      .map(({ namespace, name }): Leftover => ({ kind: 'network-policy', id: name, place: namespace })),
    // In the organization, by the form of our names.
    ...made
      .filter(({ displayName }) => /^[a-z0-9-]+-[0-9a-f]{8}$/.test(displayName) && !ours.has(displayName))
      .map(({ controlId, displayName }): Leftover => ({ kind: 'tailnet', id: controlId, place: displayName })),
    ...inside.flatMap((each) => insideTailnet(context, each, sidecars)),
  ];
  // Two of one customer's tailnets may lead to the same one at the control plane.
  return [
    ...new Map(
      found.map((leftover) => [`${leftover.kind}/${IN_NAMESPACES.has(leftover.kind) ? leftover.place : ''}/${leftover.id}`, leftover]),
    ).values(),
  ];
}

/** What lies in one tailnet; undefined when it went while it was looked at, with all that was in it. */
async function look(context: Context, tailnet: StoredTailnet, call: Call): Promise<Inside | undefined> {
  try {
    const control = await controlOf(context, tailnet, call);
    return { tailnet, keys: await control.listKeys(call), devices: await control.listDevices(call) };
  } catch (error) {
    const now = await context.store.tailnets.get(tailnet.key, call);
    if (now !== undefined && !now.deleting) throw error;
    return undefined;
  }
}

interface Inside {
  readonly tailnet: StoredTailnet;
  readonly keys: readonly ControlKey[];
  readonly devices: readonly Device[];
}

/** Keys and devices with our marks that no attachment accounts for. A device of a pod that is gone counts, even while its attachment lives. */
function insideTailnet(context: Context, { tailnet, keys, devices }: Inside, sidecars: readonly StoredSidecar[]): Leftover[] {
  const sidecarIds = new Set(sidecars.map(({ spec }) => spec.sidecarId));
  const lostKeys = keys.filter(({ description, valid }) => {
    const sidecarId = sidecarIdOfDescription(description);
    return valid && sidecarId !== undefined && !sidecarIds.has(sidecarId);
  });
  const { deviceTags } = context.settings;
  const isShared = tailnet.spec.tenancy === 'shared';
  const marked = devices.filter(({ tags }) => (isShared ? tags.some(isCustomerTag) : deviceTags.every((tag) => tags.includes(tag))));
  const lostDevices = marked.filter((device) => !sidecars.some((sidecar) => accountsFor(context, { sidecar, tailnet }, device)));
  return [
    ...lostKeys.map(({ keyId }): Leftover => ({ kind: 'key', id: keyId, place: tailnet.key })),
    ...lostDevices.map(({ deviceId }): Leftover => ({ kind: 'device', id: deviceId, place: tailnet.key })),
  ];
}

/** A device that has just joined has yet to say so in a report. */
function accountsFor(context: Context, attached: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet }, device: Device): boolean {
  if (!belongsTo(context, attached, device)) return false;
  const { sidecar } = attached;
  const held = [...context.instances.of(sidecar.key), ...sidecar.state.instances].some(({ deviceId }) => deviceId === device.deviceId);
  return held || context.clock.nowMs() - device.createdAtMs < context.settings.silenceMs;
}
