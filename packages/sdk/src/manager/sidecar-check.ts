import { type AttachSidecarInput, attachSidecarRequestSchema, parseOrThrow } from '@bifrost/types';
import { type AttachSidecarRequest, BifrostError, type WorkloadReference } from '@bifrost/types/core';
import { chooseForm } from '../domain/attach-plan.ts';
import type { AttachOrigin, SidecarSpec, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { attachmentKey } from '../domain/names.ts';
import type { Workload } from '../ports/index.ts';
import type { Call, Context } from './context.ts';
import { networkHash } from './hashes.ts';
import { isSameControl } from './policy-members.ts';
import { requireAdmitted } from './quarantine-state.ts';
import { sameJson } from './same-json.ts';
import { type CallerScope, isVisible, unknownWorkload } from './scope.ts';
import { renderAdmitted, sidecarIdOf } from './sidecar-render.ts';
import { refusalOf } from './tailnet-acceptance.ts';
import { findTailnet, requireTailnet } from './tailnet-calls.ts';

/** An attach that may go on. */
export interface Checked {
  readonly request: AttachSidecarRequest;
  readonly workload: Workload;
  readonly tailnet: StoredTailnet;
  readonly spec: SidecarSpec;
  /** What is there already and agrees with the wish. */
  readonly present: StoredSidecar | undefined;
}

/** `workload`: the very one that asks, by its annotation; else it is looked for. */
export type AttachCall = Call & { readonly origin?: AttachOrigin; readonly workload?: WorkloadReference };

/** Everything that can be known at once, in the order that tells the caller most. Writes nothing. */
export async function checkAttach(context: Context, input: AttachSidecarInput, call: AttachCall): Promise<Checked> {
  const request: AttachSidecarRequest = parseOrThrow(attachSidecarRequestSchema, input, 'INVALID_ARGUMENT');
  const tailnet = await requireUsableTailnet(context, request.tailnetName, call);
  const workload = await theWorkload(context, { request, tailnet }, call);
  requireSameCustomer(workload, tailnet, call);
  const { reference } = workload;
  const present = await context.store.sidecars.get(attachmentKey(reference), call);
  if (present !== undefined) {
    const { spec } = agreeing(present, { ...request, workload: reference });
    // One that failed and was taken back is tried anew, as if it had never been.
    if (present.state.rolledBack === true) requireAdmitted(present);
    else return { request, workload, tailnet, spec: asAsked(spec), present };
  }
  await requireFreeHostname(context, tailnet, { spec: { config: request.config, workload: reference }, ...call });
  const sidecarId = sidecarIdOf(reference, tailnet.spec.tailnetId);
  const { fragment, networkMode } = await renderAdmitted(context, { tailnet, config: request.config, workload, sidecarId }, call);
  const form = chooseForm(workload.template);
  await context.cluster.workloads.attach({ workload: reference, form, fragment }, { ...call, dryRun: true });
  const spec: SidecarSpec = {
    sidecarId,
    tailnetName: tailnet.key,
    customerId: tailnet.spec.customerId,
    bookDeploymentId: request.bookDeploymentId,
    workload: reference,
    config: request.config,
    mode: 'apply',
    form,
    networkMode,
    fragment,
    renderedFor: networkHash(tailnet.spec.config),
    origin: call.origin ?? 'call',
  };
  return { request, workload, tailnet, spec, present };
}

async function theWorkload(
  context: Context,
  { request, tailnet }: { readonly request: AttachSidecarRequest; readonly tailnet: StoredTailnet },
  { workload, signal, scope }: AttachCall,
): Promise<Workload> {
  const { workloads } = context.cluster;
  if (workload === undefined) {
    try {
      return await workloads.find(request.bookDeploymentId, { signal, customerId: tailnet.spec.customerId });
    } catch (error) {
      throw forScope(error, scope);
    }
  }
  const found = await workloads.get(workload, { signal });
  if (found !== undefined) return found;
  throw new BifrostError({
    code: 'WORKLOAD_NOT_FOUND',
    message: 'The workload is gone.',
    issues: [{ path: 'bookDeploymentId', message: 'its workload is gone' }],
  });
}

/** One whose customers are counted is told of a Job only when it may see whose it is, and gets one answer for all that is not there for it. */
function forScope(error: unknown, scope: CallerScope | undefined): unknown {
  if (!BifrostError.is(error) || isVisible(undefined, scope)) return error;
  const isHidden = error.code === 'WORKLOAD_UNSUPPORTED' && !isVisible(error.details['customerId'], scope);
  return isHidden || error.code === 'WORKLOAD_NOT_FOUND' ? unknownWorkload() : error;
}

/** @throws {BifrostError} `TAILNET_NOT_FOUND`, `TAILNET_DELETING`, `TAILNET_NOT_ACCEPTED` */
export async function requireUsableTailnet(context: Context, tailnetName: string, call: Call): Promise<StoredTailnet> {
  const tailnet = await requireTailnet(context, tailnetName, call);
  if (tailnet.deleting)
    throw new BifrostError({
      code: 'TAILNET_DELETING',
      message: 'The tailnet is being deleted.',
      issues: [{ path: 'tailnetName', message: 'is being deleted' }],
    });
  const refused = refusalOf(tailnet);
  if (refused !== undefined)
    throw new BifrostError({
      code: 'TAILNET_NOT_ACCEPTED',
      message: `The tailnet's own specification is refused (${refused.code}): correct it, then attach.`,
      issues: [{ path: 'tailnetName', message: 'is not accepted; see its condition Accepted' }],
      details: { reason: refused.code, ...(refused.path === undefined ? {} : { path: refused.path }) },
    });
  return tailnet;
}

/** @throws {BifrostError} `CUSTOMER_MISMATCH`; `WORKLOAD_NOT_FOUND` — to a caller who may not see whose it is */
export function requireSameCustomer({ customerId }: Pick<Workload, 'customerId'>, tailnet: StoredTailnet, { scope }: Pick<Call, 'scope'>): void {
  if (customerId === tailnet.spec.customerId) return;
  if (!isVisible(customerId, scope)) throw unknownWorkload();
  throw new BifrostError({
    code: 'CUSTOMER_MISMATCH',
    message: "The workload's namespace does not belong to the customer of this tailnet.",
    issues: [{ path: 'bookDeploymentId', message: 'lies in a namespace of another customer, or of none' }],
  });
}

const exists = (message: string, path: string, { sidecarId, issue }: { readonly sidecarId: string; readonly issue: string }): BifrostError =>
  new BifrostError({ code: 'SIDECAR_EXISTS', message, details: { sidecarId }, issues: [{ path, message: issue }] });

/** Without what came later: a change on trial, an upgrade, a wish to abandon, a quarantine. */
function asAsked({
  trial: _trial,
  previous: _previous,
  reverted: _reverted,
  revertedFor: _for,
  upgradeId: _upgrade,
  abandon: _abandon,
  quarantine: _quarantine,
  ...spec
}: SidecarSpec): SidecarSpec {
  return spec;
}

/** The same wish is answered with what is there; any other is a conflict that says what to do. @throws {BifrostError} `SIDECAR_EXISTS` */
export function agreeing(
  present: StoredSidecar,
  wanted: Pick<SidecarSpec, 'tailnetName' | 'config' | 'workload'> & { readonly sidecarId?: string },
): StoredSidecar {
  const { sidecarId, workload, tailnetName, config } = present.spec;
  // A registration keeps its id while it gets the uid of its workload.
  if (workload.uid !== wanted.workload.uid && sidecarId !== wanted.sidecarId)
    throw exists('The sidecar of an earlier workload of this name is being taken away: attach again when it is gone.', 'bookDeploymentId', {
      sidecarId,
      issue: 'its predecessor of the same name is still being released',
    });
  if (present.deleting)
    throw exists('The sidecar of this workload is being detached: attach again when it is gone.', 'bookDeploymentId', {
      sidecarId,
      issue: 'its sidecar is being detached',
    });
  if (tailnetName !== wanted.tailnetName)
    throw exists('The workload is attached to another tailnet: detach it first.', 'tailnetName', {
      sidecarId,
      issue: 'is not the one it is attached to',
    });
  if (!sameJson(config, wanted.config))
    throw exists('The workload is attached with another configuration: change it with updateSidecar.', 'config', {
      sidecarId,
      issue: 'differs from what is attached',
    });
  return present;
}

/**
 * What attaches of one hostname wait for each other by: of one customer, since several of its tailnets may be one at the control plane. A stranger waits
 * for nobody and holds up nobody, and its call takes the reads that a name takes which nobody has.
 */
export async function hostnameLock(context: Context, input: Pick<AttachSidecarInput, 'tailnetName' | 'config'>, call: Call): Promise<string> {
  const name = input?.tailnetName; // not checked yet: it may be anything, and whoever checks it says what is wrong
  const seen = context.announcer.customerOf('tailnet', name);
  const known = isVisible(seen, call.scope) ? seen : undefined;
  const customer = known ?? (await findTailnet(context, name, call).catch(() => undefined))?.spec.customerId;
  const isKnown = customer !== undefined && isVisible(customer, call.scope);
  return JSON.stringify(isKnown ? [customer, input?.config?.hostname] : [null, name]);
}

/** @throws {BifrostError} `HOSTNAME_TAKEN` */
export async function requireFreeHostname(
  context: Context,
  tailnet: StoredTailnet,
  { spec, signal }: { readonly spec: Pick<SidecarSpec, 'config' | 'workload'> } & Call,
): Promise<void> {
  const { hostname } = spec.config;
  const own = attachmentKey(spec.workload);
  const others = context.observed.complete
    ? await Promise.all(context.observed.keysOfHostname(hostname).map((key) => context.store.sidecars.get(key, { signal })))
    : await context.store.sidecars.list({ signal });
  for (const found of others) {
    const other = found?.spec;
    if (other === undefined || other.config.hostname !== hostname || found?.key === own) continue;
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
  // Where several customers are, tags tell the devices of each tailnet.
  if (other.customerId !== tailnet.spec.customerId || tailnet.spec.tenancy === 'shared') return false;
  const another = await context.store.tailnets.get(other.tailnetName, { signal });
  return another !== undefined && isSameControl(tailnet, another);
}
