import { type InjectSidecarInput, injectSidecarRequestSchema, parseOrThrow } from '@bifrost/types';
import { BifrostError, type InjectSidecarRequest, type SidecarStatus, type WorkloadKind, type WorkloadReference } from '@bifrost/types/core';
import { injectSidecar as inject, type WorkloadManifest } from '../domain/inject-sidecar.ts';
import type { SidecarSpec, StoredSidecar } from '../domain/model.ts';
import { attachmentKey } from '../domain/names.ts';
import type { PodTemplateShape } from '../domain/pod-shape.ts';
import type { Workload } from '../ports/index.ts';
import { audited } from './audited.ts';
import { type Call, type Context, type Found, respecSidecar, sawSidecar } from './context.ts';
import type { Change } from './etags.ts';
import { membersOf, requireObject } from './given.ts';
import { networkHash } from './hashes.ts';
import { registrationLeftMs } from './inject-binding.ts';
import { sameJson } from './same-json.ts';
import { createOrFind } from './sidecar-calls.ts';
import { agreeing, hostnameLock, requireFreeHostname, requireSameCustomer, requireUsableTailnet } from './sidecar-check.ts';
import { renderAdmitted, sidecarIdOf } from './sidecar-render.ts';

/** A workload with its sidecar in it, ready to be created, and the registration that waits for it. */
export interface Injected<Manifest> {
  readonly sidecarId: string;
  readonly status: SidecarStatus;
  /** False: it was registered already; at most its time to wait began anew. */
  readonly created: boolean;
  /** The caller's manifest with the sidecar in it; the caller's own object is unchanged. */
  readonly manifest: Manifest;
}

const KINDS: readonly WorkloadKind[] = ['Deployment', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob'];

/** @see NetworkManager.injectSidecar */
export async function injectSidecar<Manifest extends WorkloadManifest>(
  context: Context,
  given: InjectSidecarInput & { readonly manifest: Manifest },
  call: Change,
): Promise<Injected<Manifest>> {
  const { manifest, ...input } = membersOf(given);
  const subject = `${manifest?.metadata?.namespace}/${manifest?.metadata?.name}`;
  const register = (): Promise<Found<StoredSidecar>> =>
    audited(
      context,
      { call, action: 'injectSidecar', subject },
      {
        check: async () => {
          requireObject(requireObject(given).manifest, 'manifest');
          return check(context, { manifest, input }, call);
        },
        write: async (spec) => {
          const { stored: found, created } = await createOrFind(context, spec, call);
          const stored = await renewed(context, found, call);
          sawSidecar(context, stored.key, stored);
          return { stored, created };
        },
      },
    );
  const { stored: sidecar, created } = await context.attaching.run(await hostnameLock(context, input, call), call, register);
  context.touch('sidecar', sidecar.key);
  return { sidecarId: sidecar.spec.sidecarId, status: sidecar.state.phase, created, manifest: inject(manifest, sidecar.spec.fragment) };
}

async function check(
  context: Context,
  { manifest, input }: { readonly manifest: WorkloadManifest; readonly input: InjectSidecarInput },
  call: Call,
): Promise<SidecarSpec> {
  const request: InjectSidecarRequest = parseOrThrow(injectSidecarRequestSchema, input, 'INVALID_ARGUMENT');
  const reference = referenceOf(manifest);
  const tailnet = await requireUsableTailnet(context, request.tailnetName, call);
  const workload = await unborn(context, { manifest, reference }, call);
  requireSameCustomer(workload, tailnet, call);
  const present = await context.store.sidecars.get(attachmentKey(reference), call);
  const sidecarId = sidecarIdOf(reference, tailnet.spec.tailnetId);
  if (present !== undefined && present.spec.sidecarId === sidecarId && !present.deleting && sameJson(present.spec.config, request.config)) {
    await requireStaying(context, present, call);
    return present.spec;
  }
  if (present !== undefined) agreeing(present, { ...request, workload: reference });
  await requireFreeHostname(context, tailnet, { spec: { config: request.config, workload: reference }, ...call });
  const { fragment, networkMode } = await renderAdmitted(context, { tailnet, config: request.config, workload, sidecarId }, call);
  return {
    sidecarId,
    tailnetName: tailnet.key,
    customerId: tailnet.spec.customerId,
    bookDeploymentId: request.bookDeploymentId ?? `${reference.namespace}/${reference.name}`,
    workload: reference,
    config: request.config,
    mode: 'inject',
    form: 'prepend',
    networkMode,
    fragment,
    renderedFor: networkHash(tailnet.spec.config),
    origin: 'call',
  };
}

/** One whose workload has gone or ended is about to be released, and its key with it. @throws {BifrostError} `SIDECAR_EXISTS` */
async function requireStaying(context: Context, { spec }: StoredSidecar, call: Call): Promise<void> {
  const { workload: reference, sidecarId } = spec;
  if (reference.uid === '') return;
  const workload = await context.cluster.workloads.get(reference, call);
  if (workload !== undefined && !workload.finished) return;
  throw new BifrostError({
    code: 'SIDECAR_EXISTS',
    message: 'The sidecar of an earlier workload of this name is being released: inject again when it is gone.',
    details: { sidecarId },
    issues: [{ path: 'manifest.metadata.name', message: 'its predecessor of the same name is still being released' }],
  });
}

/** Whoever is answered has at least half of the time that a registration lasts to create the workload. */
async function renewed(context: Context, sidecar: StoredSidecar, call: Call): Promise<StoredSidecar> {
  const { spec } = sidecar;
  if (spec.workload.uid !== '' || registrationLeftMs(context, sidecar) * 2 > context.settings.registrationMs) return sidecar;
  return respecSidecar(context, sidecar, { spec: { ...spec, registeredAtMs: context.clock.nowMs() }, ...call });
}

/** @throws {BifrostError} `INVALID_ARGUMENT` — it has no place of its own yet; `WORKLOAD_UNSUPPORTED` — no kind that carries a sidecar */
function referenceOf({ kind, metadata }: WorkloadManifest): WorkloadReference {
  const known = KINDS.find((each) => each === kind);
  if (known === undefined)
    throw new BifrostError({
      code: 'WORKLOAD_UNSUPPORTED',
      message: `Only ${KINDS.join(', ')} can be given a sidecar.`,
      issues: [{ path: 'manifest.kind', message: 'is no kind that carries a sidecar' }],
    });
  const missing = (['namespace', 'name'] as const).filter((member) => !metadata?.[member]);
  if (missing.length > 0)
    throw new BifrostError({
      code: 'INVALID_ARGUMENT',
      message: 'The manifest must say its namespace and name: the sidecar is registered for them.',
      issues: missing.map((member) => ({ path: `manifest.metadata.${member}`, message: 'is needed (generateName is not enough)' })),
    });
  return { kind: known, namespace: metadata?.namespace ?? '', name: metadata?.name ?? '', uid: '' };
}

/** The workload as it will be, as far as checks need it. */
async function unborn(
  context: Context,
  { manifest, reference }: { readonly manifest: WorkloadManifest; readonly reference: WorkloadReference },
  call: Call,
): Promise<Workload> {
  const customerId = await context.cluster.workloads.customerOf(reference.namespace, call);
  return {
    reference,
    customerId,
    labels: {},
    annotations: {},
    template: templateOf(manifest),
    replicas: 1,
    finished: false,
    lastWriter: undefined,
    version: '',
  };
}

/** @throws {BifrostError} `INVALID_ARGUMENT` — there is no pod template in it */
function templateOf({ spec }: WorkloadManifest): PodTemplateShape {
  // Of the caller's own making: any part of it may be missing.
  const { jobTemplate, template = jobTemplate?.spec?.template }: Partial<WorkloadManifest['spec']> = spec ?? {};
  if (template !== undefined) return template;
  throw new BifrostError({
    code: 'INVALID_ARGUMENT',
    message: 'The manifest has no pod template.',
    issues: [{ path: 'manifest.spec.template', message: 'is needed' }],
  });
}
