import { BifrostError } from '@bifrost/types/core';
import type { Reason, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { planRelease, planRoutes } from '../domain/reconcile-plan.ts';
import type { Device, Pod, TailnetControl } from '../ports/index.ts';
import { type Call, type Context, keepSidecar } from './context.ts';
import { marksOf, ownDevices } from './identities.ts';

/** In the namespace of the workload: what a pod elsewhere says of its owner is nobody's word. */
const isOf =
  ({ spec: { workload } }: StoredSidecar) =>
  ({ namespace, workloadUid }: Pod): boolean =>
    workloadUid !== undefined && workloadUid === workload.uid && namespace === workload.namespace;

/** Whose a pod of that namespace is cannot be told now. */
const hasUnsettled = (pods: readonly Pod[], { spec: { workload } }: StoredSidecar): boolean =>
  pods.some(({ namespace, unsettled }) => unsettled === true && namespace === workload.namespace);

/**
 * Pods of the workload that carry this sidecar, by the owner walk.
 *
 * @throws {BifrostError} `CLUSTER_UNAVAILABLE` — whose a pod is cannot be told now: it would be taken for gone, and its device deleted
 */
export async function podsOf(context: Context, sidecar: StoredSidecar, call: Call): Promise<readonly Pod[]> {
  const pods = await context.cluster.pods.list({ ...call, namespace: sidecar.spec.workload.namespace });
  if (hasUnsettled(pods, sidecar))
    throw new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: 'Whose a pod of this namespace is cannot be told now; it is asked again.' });
  return pods.filter(isOf(sidecar));
}

/** A pod that has come to its end stays to be looked at; its device does not. */
export const isFinished = ({ phase }: Pod): boolean => phase === 'Succeeded' || phase === 'Failed';

/** Pods of the workload that carry this sidecar and still run, or are to. */
export const activePodsOf = async (context: Context, sidecar: StoredSidecar, call: Call): Promise<readonly Pod[]> =>
  (await podsOf(context, sidecar, call)).filter((pod) => !isFinished(pod));

interface Attached {
  readonly sidecar: StoredSidecar;
  readonly tailnet: Pick<StoredTailnet, 'spec'>;
}

/**
 * Our devices of one attachment at the control plane: they carry our tags, of their customer where several share a tailnet, and asked for its hostname,
 * which is unique among the customer's there.
 */
export function belongsTo(context: Context, { sidecar, tailnet }: Attached, device: Device): boolean {
  if (device.hostname !== sidecar.spec.config.hostname) return false;
  return marksOf(context, sidecar, tailnet.spec.tenancy).every((tag) => device.tags.includes(tag));
}

/**
 * Deletes the devices that no present pod holds, at once: ephemeral devices would linger for half an hour and more. Only those on record that carry
 * our marks: the ids come from reports, and a wrong one must not cost the customer a device.
 */
export async function releaseDevices(
  context: Context,
  sidecar: StoredSidecar,
  { tailnet, control, pods, signal }: { readonly tailnet: StoredTailnet; readonly control: TailnetControl; readonly pods: readonly Pod[] } & Call,
): Promise<StoredSidecar> {
  const present = new Set(pods.filter((pod) => !isFinished(pod)).map(({ uid }) => uid));
  const known = context.instances.of(sidecar.key);
  const gone = planRelease(known, present);
  const held = new Set(known.filter((instance) => !gone.includes(instance)).map(({ deviceId }) => deviceId));
  const recorded = [...sidecar.state.deviceIds, ...[...sidecar.state.instances, ...gone].flatMap(({ deviceId }) => deviceId ?? [])];
  const free = new Set(recorded.filter((deviceId) => !held.has(deviceId)));
  if (free.size > 0) {
    for (const device of await control.listDevices({ signal })) {
      if (free.has(device.deviceId) && belongsTo(context, { sidecar, tailnet }, device)) await control.deleteDevice(device.deviceId, { signal });
    }
  }
  forgetGone(context, sidecar, gone);
  const deviceIds = sidecar.state.deviceIds.filter((deviceId) => !free.has(deviceId));
  const instances = sidecar.state.instances.filter(({ podUid }) => present.has(podUid));
  const state = { ...sidecar.state, deviceIds, instances };
  return keepSidecar(context, sidecar, { state, signal });
}

/** Instances whose pods are gone: their bytes stay counted, and listeners are told. */
export function forgetGone(context: Context, sidecar: StoredSidecar, gone: readonly { readonly podName: string; readonly podUid: string }[]): void {
  for (const instance of gone) {
    context.instances.remove(instance.podUid);
    context.announcer.lostInstance(sidecar, instance);
  }
}

/** Each pod that carries the sidecar and has not ended has an instance from now on. */
export function noticePods(context: Context, sidecar: StoredSidecar, pods: readonly Pod[]): void {
  const nowMs = context.clock.nowMs();
  for (const pod of pods) if (!pod.deleting && !isFinished(pod)) context.instances.ensure(sidecar, pod, nowMs);
}

/**
 * Deletes devices of our attachments that no pod holds: of a pod, say, that joined and was gone before its first report, while no manager ran. Only
 * where every pod there is has said which device is its own, so that one which has just joined is never taken for an orphan.
 */
export async function sweepDevices(
  context: Context,
  control: TailnetControl,
  { tailnet, signal }: { readonly tailnet: StoredTailnet } & Call,
): Promise<void> {
  const sidecars = context.observed.sidecarsOf(tailnet.key).filter(({ deleting }) => !deleting);
  if (sidecars.length === 0) return;
  const pods = await context.cluster.pods.list({ signal });
  const told = sidecars.filter(
    (sidecar) =>
      !hasUnsettled(pods, sidecar) &&
      pods.filter((pod) => isOf(sidecar)(pod) && !isFinished(pod)).every(({ uid }) => context.instances.get(uid)?.deviceId !== undefined),
  );
  if (told.length === 0) return;
  const nowMs = context.clock.nowMs();
  for (const device of await control.listDevices({ signal })) {
    const owner = told.find((sidecar) => belongsTo(context, { sidecar, tailnet }, device));
    // One that is connected runs somewhere: in a pod, say, that our watch has not told of yet.
    if (owner === undefined || device.connected || nowMs - device.createdAtMs < context.settings.silenceMs) continue;
    const held = [...context.instances.of(owner.key), ...owner.state.instances].some(({ deviceId }) => deviceId === device.deviceId);
    if (held) continue;
    context.logger.log('info', 'a device that no pod holds is deleted', { sidecarId: owner.spec.sidecarId, deviceId: device.deviceId });
    await control.deleteDevice(device.deviceId, { signal });
  }
}

/** Approves the routes that the book offers; answers with the reason when some must not be approved. */
export async function settleRoutes(
  context: Context,
  { sidecar, tailnet, control }: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet; readonly control: TailnetControl },
  { signal }: Call,
): Promise<Reason | undefined> {
  const wanted = sidecar.spec.config.advertiseRoutes;
  if (wanted.length === 0) return undefined;
  const devices = ownDevices(tailnet, await control.listDevices({ signal }));
  const ours = devices.filter((device) => belongsTo(context, { sidecar, tailnet }, device));
  const otherRoutes = devices.filter((device) => !ours.includes(device)).flatMap(({ enabledRoutes }) => enabledRoutes);
  const { approvals, refused } = planRoutes({ wanted, allowedNetworks: tailnet.spec.config.allowedNetworks, ours, otherRoutes });
  for (const { deviceId, routes } of approvals) await control.approveRoutes(deviceId, routes, { signal });
  if (refused.length === 0) return undefined;
  const message = `Not approved, because it overlaps an allowed network or another router: ${refused.join(', ')}.`;
  return { code: 'ROUTE_CONFLICT', message, path: 'config.advertiseRoutes' };
}
