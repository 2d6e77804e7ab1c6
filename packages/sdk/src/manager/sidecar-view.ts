import type { AttachSidecarResponse, Sidecar } from '@bifrost/types/core';
import type { StoredSidecar } from '../domain/model.ts';
import type { Context } from './context.ts';

/** A stored sidecar as callers see it, with what this manager has heard from its pods. */
export const sidecarView = (context: Context, sidecar: StoredSidecar): Sidecar => {
  const seen = new Map(context.instances.of(sidecar.key).map((instance) => [instance.podUid, instance.reported ? instance.heardAtMs : undefined]));
  const connected = sidecar.state.instances
    .filter(({ status }) => status === 'connected' || status === 'degraded')
    .sort((a, b) => a.sinceMs - b.sinceMs);
  const ipAddress = connected.find((instance) => instance.ipAddress !== undefined)?.ipAddress;
  return {
    sidecarId: sidecar.spec.sidecarId,
    status: sidecar.deleting ? 'detaching' : sidecar.state.phase,
    tailnetName: sidecar.spec.tailnetName,
    createdAt: new Date(sidecar.createdAtMs),
    bookDeploymentId: sidecar.spec.bookDeploymentId,
    workload: sidecar.spec.workload,
    config: sidecar.spec.config,
    ...(ipAddress === undefined ? {} : { ipAddress }),
    instances: sidecar.state.instances.map(({ podName, podUid, status, cause, ipAddress: address, deviceId }) => {
      const heardAtMs = seen.get(podUid);
      return {
        podName,
        podUid,
        status,
        ...(cause === undefined ? {} : { cause }),
        ...(address === undefined ? {} : { ipAddress: address }),
        ...(deviceId === undefined ? {} : { deviceId }),
        ...(heardAtMs === undefined ? {} : { lastReportAt: new Date(heardAtMs) }),
      };
    }),
    mode: sidecar.spec.mode ?? 'apply',
    networkMode: sidecar.spec.networkMode ?? 'kernel',
    conditions: sidecar.state.conditions ?? [],
    ...(sidecar.state.reason === undefined ? {} : { reason: sidecar.state.reason }),
  };
};

/** The specification's answer to an attach. */
export const attachResponse = (context: Context, sidecar: StoredSidecar): AttachSidecarResponse => {
  const { sidecarId, status, tailnetName, createdAt } = sidecarView(context, sidecar);
  return { sidecarId, status, tailnetName, createdAt };
};
