import type { AttachSidecarRequest, WorkloadReference } from '@bifrost/types/core';
import { WORKLOAD_ANNOTATIONS } from './names.ts';

/** What a workload's annotations ask for, unchecked: the schema of the call judges it. Undefined: nothing. */
export function annotatedWish(
  { kind, namespace, name, uid }: WorkloadReference,
  annotations: Readonly<Record<string, string>>,
): AttachSidecarRequest | undefined {
  const tailnetName = annotations[WORKLOAD_ANNOTATIONS.tailnet];
  // Jobs and CronJobs get their sidecar before they are created.
  if (tailnetName === undefined || kind === 'Job' || kind === 'CronJob') return undefined;
  const text = (member: keyof typeof WORKLOAD_ANNOTATIONS): string | undefined => annotations[WORKLOAD_ANNOTATIONS[member]];
  const networkMode = text('networkMode');
  return {
    bookDeploymentId: uid || `${namespace}/${name}`,
    tailnetName,
    config: {
      hostname: text('hostname') ?? name,
      advertiseRoutes: (text('advertiseRoutes') ?? '')
        .split(',')
        .map((route) => route.trim())
        .filter((route) => route !== ''),
      acceptRoutes: flag(text('acceptRoutes')),
      enableSsh: flag(text('enableSsh')),
      ...(networkMode === undefined ? {} : { networkMode }),
    },
  } as AttachSidecarRequest;
}

/** `true` and `false`; anything else stays as it is, for the schema to refuse. */
const flag = (text: string | undefined): unknown => (text === undefined || text === 'false' ? false : text === 'true' ? true : text);
