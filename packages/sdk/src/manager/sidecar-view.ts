import type { AttachSidecarResponse, Made, Sidecar, SidecarInstance, SidecarStatus } from '@bifrost/types/core';
import { isUp, statusOfInstances } from '../domain/connectivity.ts';
import type { InstanceState, SidecarSpec, StoredSidecar } from '../domain/model.ts';
import type { Context, Found } from './context.ts';
import { etagOf } from './etags.ts';
import { guardStateOf } from './guard-orders.ts';
import { instanceState } from './instances.ts';

/** What the loop has yet to store is shown all the same: who looks after an event must not see what was before it. */
function shownInstances(context: Context, { key, state }: StoredSidecar): readonly InstanceState[] {
  const live = context.instances.of(key).filter(({ reported }) => reported);
  const stored = state.instances.filter(({ podUid }) => !live.some((instance) => instance.podUid === podUid));
  return [...stored, ...live.map(instanceState)].sort((a, b) => (a.podUid < b.podUid ? -1 : 1));
}

/** Failed and detaching are the loop's own words; the others are the instances'. */
function shownStatus({ deleting, state }: StoredSidecar, instances: readonly InstanceState[]): SidecarStatus {
  if (deleting) return 'detaching';
  return state.phase === 'failed' || state.phase === 'detaching' ? state.phase : statusOfInstances(instances.map(({ status }) => status));
}

/** How a sidecar's instances are, and what that makes of it. `ipAddress` is the one that has been up for longest. */
export function connectivityOf(context: Context, sidecar: StoredSidecar) {
  const instances = shownInstances(context, sidecar);
  const oldest = [...instances].sort((a, b) => a.sinceMs - b.sinceMs).find((instance) => isUp(instance.status) && instance.ipAddress !== undefined);
  return { instances, status: shownStatus(sidecar, instances), ipAddress: oldest?.ipAddress };
}

/** A stored sidecar as callers see it, with what this manager has heard from its pods. */
export function sidecarView(context: Context, sidecar: StoredSidecar): Sidecar {
  const { spec, state } = sidecar;
  const { instances, status, ipAddress } = connectivityOf(context, sidecar);
  return {
    sidecarId: spec.sidecarId,
    status,
    tailnetName: spec.tailnetName,
    customerId: spec.customerId,
    createdAt: new Date(sidecar.createdAtMs),
    bookDeploymentId: spec.bookDeploymentId,
    workload: spec.workload,
    config: { ...spec.config, networkMode: spec.config.networkMode ?? 'auto' },
    etag: etagOf(sidecar),
    ...(ipAddress === undefined ? {} : { ipAddress }),
    instances: instances.map((instance) => instanceView(context, sidecar, instance)),
    mode: spec.mode ?? 'apply',
    networkMode: spec.networkMode ?? 'kernel',
    ...quarantineView(spec),
    conditions: state.conditions ?? [],
    ...(state.reason === undefined ? {} : { reason: state.reason }),
  };
}

function quarantineView({ quarantine }: SidecarSpec): Pick<Sidecar, 'quarantine'> {
  if (quarantine === undefined) return {};
  const { sinceMs, reason } = quarantine;
  return { quarantine: { since: new Date(sinceMs), ...(reason === undefined ? {} : { reason }) } };
}

function instanceView(
  context: Context,
  sidecar: StoredSidecar,
  { podName, podUid, status, cause, ipAddress, deviceId }: InstanceState,
): SidecarInstance {
  const live = context.instances.get(podUid);
  const guard = live?.reported ? guardStateOf(context, sidecar, live) : undefined;
  return {
    podName,
    podUid,
    status,
    ...(cause === undefined ? {} : { cause }),
    ...(ipAddress === undefined ? {} : { ipAddress }),
    ...(deviceId === undefined ? {} : { deviceId }),
    ...(live?.reported ? { lastReportAt: new Date(live.heardAtMs) } : {}),
    ...(live === undefined || live.signs.length === 0 ? {} : { signs: live.signs }),
    ...(guard === undefined ? {} : { guard }),
  };
}

/** The specification's answer to an attach, and whether it was one. */
export const attachResponse = (context: Context, { stored, created }: Found<StoredSidecar>): Made<AttachSidecarResponse> => {
  const { sidecarId, status, tailnetName, createdAt } = sidecarView(context, stored);
  return { sidecarId, status, tailnetName, createdAt, created };
};
