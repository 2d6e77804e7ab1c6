import { createHash } from 'node:crypto';
import { type AttachSidecarInput, attachSidecarRequestSchema, parseOrThrow } from '@bifrost/types';
import { type AttachSidecarRequest, type AttachSidecarResponse, BifrostError, type Sidecar, type WorkloadReference } from '@bifrost/types/core';
import { checkTemplate, chooseForm, withFragment } from '../domain/attach-plan.ts';
import type { AttachForm, SidecarSpec, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { attachmentKey } from '../domain/names.ts';
import type { PodTemplateShape, SidecarFragment } from '../domain/pod-shape.ts';
import { renderSidecar } from '../domain/render-sidecar.ts';
import { servedPorts } from '../domain/served-ports.ts';
import type { Workload } from '../ports/index.ts';
import { audited, nameForRecord } from './audited.ts';
import type { Call, Context } from './context.ts';
import { sameJson } from './same-json.ts';
import { DEFAULT_ACTOR, gone, requireTailnet } from './tailnet-calls.ts';

/** What an attach would do, exactly: nothing of it has been written. */
export interface AttachPlan {
  readonly sidecarId: string;
  readonly workload: WorkloadReference;
  /** Server-side apply, or prepended by JSON Patch where the pod has init containers of its own. */
  readonly form: AttachForm;
  /** What is added to the pod template. */
  readonly fragment: SidecarFragment;
  /** The pod template as it would then be. */
  readonly template: PodTemplateShape;
  /** True when it is attached already: the call would change nothing. */
  readonly attached: boolean;
}

/** One id per (workload, tailnet): a plan and the attach that follows it agree, and a repeated attach after a crash finds its own traces. */
export function sidecarIdOf(workload: WorkloadReference, tailnetId: string): string {
  const bytes = createHash('sha256').update(`${workload.uid}/${tailnetId}`).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80; // version 8: made by hash
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

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
    instances: sidecar.state.instances.map(({ podName, podUid, status, ipAddress: address, deviceId }) => {
      const heardAtMs = seen.get(podUid);
      return {
        podName,
        podUid,
        status,
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

const response = (context: Context, sidecar: StoredSidecar): AttachSidecarResponse => {
  const { sidecarId, status, tailnetName, createdAt } = sidecarView(context, sidecar);
  return { sidecarId, status, tailnetName, createdAt };
};

interface Checked {
  readonly request: AttachSidecarRequest;
  readonly workload: Workload;
  readonly spec: SidecarSpec;
  readonly present: StoredSidecar | undefined;
}

/** The same wish is answered with what is there; any other is a conflict that says what to do. */
function agreeing(present: StoredSidecar, wanted: Pick<SidecarSpec, 'tailnetName' | 'config' | 'workload'>): StoredSidecar {
  if (present.spec.workload.uid !== wanted.workload.uid)
    throw new BifrostError({
      code: 'SIDECAR_EXISTS',
      message: 'The sidecar of an earlier workload of this name is being taken away: attach again when it is gone.',
      details: { sidecarId: present.spec.sidecarId },
      issues: [{ path: 'bookDeploymentId', message: 'its predecessor of the same name is still being released' }],
    });
  if (present.deleting)
    throw new BifrostError({
      code: 'SIDECAR_EXISTS',
      message: 'The sidecar of this workload is being detached: attach again when it is gone.',
      details: { sidecarId: present.spec.sidecarId },
      issues: [{ path: 'bookDeploymentId', message: 'its sidecar is being detached' }],
    });
  if (present.spec.tailnetName !== wanted.tailnetName) {
    throw new BifrostError({
      code: 'SIDECAR_EXISTS',
      message: 'The workload is attached to another tailnet: detach it first.',
      issues: [{ path: 'tailnetName', message: 'is not the one it is attached to' }],
    });
  }
  if (!sameJson(present.spec.config, wanted.config)) {
    throw new BifrostError({
      code: 'SIDECAR_EXISTS',
      message: 'The workload is attached with another configuration: detach it first, then attach it anew.',
      issues: [{ path: 'config', message: 'differs from what is attached' }],
    });
  }
  return present;
}

async function requireFreeHostname(
  context: Context,
  tailnet: StoredTailnet,
  { spec, signal }: { readonly spec: Pick<SidecarSpec, 'config' | 'workload'> } & Call,
): Promise<void> {
  const { hostname } = spec.config;
  const others = context.observed.complete
    ? await Promise.all(context.observed.keysOfHostname(hostname).map((key) => context.store.sidecars.get(key, { signal })))
    : await context.store.sidecars.list({ signal });
  for (const found of others) {
    const other = found?.spec;
    if (other === undefined || other.config.hostname !== hostname || other.workload.uid === spec.workload.uid) continue;
    if (other.tailnetName !== tailnet.key && !(await sharesControl(context, tailnet, { other, signal }))) continue;
    throw new BifrostError({
      code: 'HOSTNAME_TAKEN',
      message: 'Another sidecar in this tailnet has this hostname: choose another.',
      issues: [{ path: 'config.hostname', message: 'is taken' }],
    });
  }
}

/** Two of one customer's tailnets may lead to the same one at the control plane: a device there is told by its hostname. */
async function sharesControl(context: Context, tailnet: StoredTailnet, { other, signal }: { readonly other: SidecarSpec } & Call): Promise<boolean> {
  if (other.customerId !== tailnet.spec.customerId) return false;
  const another = await context.store.tailnets.get(other.tailnetName, { signal });
  if (another === undefined) return false;
  const sameControl = another.state.controlId !== undefined && another.state.controlId === tailnet.state.controlId;
  return sameControl || another.spec.credentialSecretName === tailnet.spec.credentialSecretName;
}

async function render(
  context: Context,
  tailnet: StoredTailnet,
  { request, workload, signal }: { readonly request: AttachSidecarRequest; readonly workload: Workload } & Call,
): Promise<SidecarFragment> {
  const { settings } = context;
  const ranges = settings.clusterRanges ?? (await context.cluster.topology.ranges({ signal }));
  if (ranges === undefined) {
    throw new BifrostError({
      code: 'CLUSTER_RANGES_UNKNOWN',
      message: "Tell the manager the cluster's ranges (option clusterRanges): without them customer routes could swallow the cluster.",
      issues: [{ path: 'clusterRanges', message: 'is needed, since the cluster does not tell its ranges' }],
    });
  }
  return renderSidecar({
    sidecarId: sidecarIdOf(workload.reference, tailnet.spec.tailnetId),
    tailnetName: tailnet.key,
    network: tailnet.spec.config,
    config: request.config,
    ranges,
    servedPorts: servedPorts(workload.template),
    images: settings.images,
    ingestUrl: settings.ingest.url,
    ingestHasOwnCa: settings.ingest.caBundle !== undefined,
    heartbeatMs: settings.heartbeatMs,
    loginServer: settings.loginServer,
  });
}

/** Everything that can be known at once, in the order that tells the caller most. Writes nothing. */
async function check(context: Context, input: AttachSidecarInput, call: Call): Promise<Checked> {
  const request: AttachSidecarRequest = parseOrThrow(attachSidecarRequestSchema, input, 'INVALID_ARGUMENT');
  const tailnet = await requireTailnet(context, request.tailnetName, call);
  if (tailnet.deleting)
    throw new BifrostError({
      code: 'TAILNET_DELETING',
      message: 'The tailnet is being deleted.',
      issues: [{ path: 'tailnetName', message: 'is being deleted' }],
    });
  const workload = await context.cluster.workloads.find(request.bookDeploymentId, call);
  if (workload.customerId !== tailnet.spec.customerId) {
    throw new BifrostError({
      code: 'CUSTOMER_MISMATCH',
      message: "The workload's namespace does not belong to the customer of this tailnet.",
      issues: [{ path: 'bookDeploymentId', message: 'lies in a namespace of another customer, or of none' }],
    });
  }
  const { reference } = workload;
  const present = await context.store.sidecars.get(attachmentKey(reference), call);
  if (present !== undefined) return { request, workload, spec: agreeing(present, { ...request, workload: reference }).spec, present };
  await requireFreeHostname(context, tailnet, { spec: { config: request.config, workload: reference }, ...call });
  const fragment = await render(context, tailnet, { request, workload, ...call });
  checkTemplate(workload.template, fragment);
  const form = chooseForm(workload.template);
  await context.cluster.workloads.attach({ workload: reference, form, fragment }, { ...call, dryRun: true });
  await context.cluster.workloads.admit(workload, fragment, call);
  const spec: SidecarSpec = {
    sidecarId: sidecarIdOf(reference, tailnet.spec.tailnetId),
    tailnetName: tailnet.key,
    customerId: tailnet.spec.customerId,
    bookDeploymentId: request.bookDeploymentId,
    workload: reference,
    config: request.config,
    form,
    fragment,
  };
  return { request, workload, spec, present: undefined };
}

/** @see NetworkManager.planAttach */
export async function planAttach(context: Context, input: AttachSidecarInput, call: Call): Promise<AttachPlan> {
  const { workload, spec, present } = await check(context, input, call);
  const attached = present !== undefined;
  const template = attached ? workload.template : withFragment(workload.template, spec.fragment);
  return { sidecarId: spec.sidecarId, workload: workload.reference, form: spec.form, fragment: spec.fragment, template, attached };
}

/** @see NetworkManager.attachSidecar */
export async function attachSidecar(
  context: Context,
  input: AttachSidecarInput,
  call: Call & { readonly actor?: string },
): Promise<AttachSidecarResponse> {
  const subject = nameForRecord(input?.bookDeploymentId);
  const hostname = JSON.stringify([input?.tailnetName, input?.config?.hostname]);
  const attach = (): Promise<StoredSidecar> =>
    audited(
      context,
      { actor: call.actor ?? DEFAULT_ACTOR, action: 'attachSidecar', subject, signal: call.signal },
      {
        check: () => check(context, input, call),
        write: async ({ spec, present }) => {
          const sidecar = present ?? (await createOrFind(context, spec, call));
          context.observed.sawSidecar(sidecar.key, sidecar); // before the next attach looks for this hostname
          context.announcer.sawSidecar(sidecar.key, sidecar);
          return sidecar;
        },
      },
    );
  const sidecar = await context.attaching.run(hostname, call, attach);
  context.touch('sidecar', sidecar.key);
  return response(context, sidecar);
}

async function createOrFind(context: Context, spec: SidecarSpec, call: Call): Promise<StoredSidecar> {
  const key = attachmentKey(spec.workload);
  try {
    return await context.store.sidecars.create(key, { spec, state: { phase: 'attaching', instances: [], keys: [], deviceIds: [] } }, call);
  } catch (error) {
    if (!BifrostError.is(error) || error.code !== 'STORE_EXISTS') throw error;
    const winner = await context.store.sidecars.get(key, call);
    if (winner === undefined) throw gone(error);
    return agreeing(winner, spec); // somebody else was quicker
  }
}

/** The stored sidecar of that id: by what the watches have seen, else by looking through all. */
export async function findSidecar(context: Context, sidecarId: string, call: Call): Promise<StoredSidecar | undefined> {
  const key = context.observed.keyOfSidecar(sidecarId);
  const stored = key === undefined ? undefined : await context.store.sidecars.get(key, call);
  if (stored?.spec.sidecarId === sidecarId) return stored;
  return (await context.store.sidecars.list(call)).find(({ spec }) => spec.sidecarId === sidecarId);
}

/** @see NetworkManager.detachSidecar */
export async function detachSidecar(context: Context, sidecarId: string, call: Call & { readonly actor?: string }): Promise<void> {
  await audited(
    context,
    { actor: call.actor ?? DEFAULT_ACTOR, action: 'detachSidecar', subject: nameForRecord(sidecarId), signal: call.signal },
    {
      check: async () => {
        const sidecar = await findSidecar(context, sidecarId, call);
        if (sidecar === undefined)
          throw new BifrostError({
            code: 'SIDECAR_NOT_FOUND',
            message: 'No sidecar of this id: look at listSidecars().',
            issues: [{ path: 'sidecarId', message: 'is not known' }],
          });
        return sidecar;
      },
      write: async ({ key }) => {
        await context.store.sidecars.remove(key, call);
        context.touch('sidecar', key);
      },
    },
  );
}
