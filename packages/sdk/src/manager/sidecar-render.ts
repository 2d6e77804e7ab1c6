import { createHash } from 'node:crypto';
import { BifrostError, type NetworkMode, type SidecarConfiguration, type WorkloadReference } from '@bifrost/types/core';
import { checkTemplate } from '../domain/attach-plan.ts';
import { clearEgress } from '../domain/clear-egress.ts';
import { TAILNET_NETWORKS } from '../domain/guard.ts';
import type { ClusterRanges, StoredTailnet } from '../domain/model.ts';
import { LABELS } from '../domain/names.ts';
import type { SidecarFragment } from '../domain/pod-shape.ts';
import { shapeOf } from '../domain/policy/network-policies.ts';
import { renderSidecar } from '../domain/render-sidecar.ts';
import { servedPorts } from '../domain/served-ports.ts';
import type { Workload } from '../ports/index.ts';
import { requireGuarded } from './before-writing.ts';
import type { Call, Context } from './context.ts';
import { networkHash } from './hashes.ts';
import { manifestsFor } from './network-policy-manifests.ts';

/** One id per (workload, tailnet): a plan and the attach that follows it agree, and a repeated attach after a crash finds its own traces. */
export function sidecarIdOf(workload: WorkloadReference, tailnetId: string): string {
  // One that is yet to be created has no uid: then its place tells it.
  const identity = workload.uid || `${workload.namespace}/${workload.kind}/${workload.name}`;
  const bytes = createHash('sha256').update(`${identity}/${tailnetId}`).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80; // version 8: made by hash
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

export interface RenderWish {
  readonly tailnet: StoredTailnet;
  readonly config: SidecarConfiguration;
  readonly workload: Workload;
  readonly sidecarId: string;
}

export interface Rendered {
  readonly fragment: SidecarFragment;
  readonly networkMode: NetworkMode;
}

/**
 * Renders the sidecar in the form that the workload's namespace admits. Writes nothing.
 *
 * @throws {BifrostError} `CLUSTER_RANGES_UNKNOWN`, `POD_SECURITY_FORBIDDEN`, `EGRESS_NOT_DENIED`, and what `checkTemplate` refuses
 */
export async function renderAdmitted(context: Context, wish: RenderWish, call: Call): Promise<Rendered> {
  const mode = wish.config.networkMode ?? 'auto';
  if (mode === 'userspace') {
    await requireDeniedEgress(context, wish, call);
    return renderAndAdmit(context, { ...wish, networkMode: mode }, call);
  }
  try {
    return await renderAndAdmit(context, { ...wish, networkMode: 'kernel' }, call);
  } catch (error) {
    if (mode === 'kernel' || !BifrostError.is(error) || error.code !== 'POD_SECURITY_FORBIDDEN') throw error;
    if (await isEgressDenied(context, wish, call)) return renderAndAdmit(context, { ...wish, networkMode: 'userspace' }, call);
    throw withAdvice(error);
  }
}

/** @throws {BifrostError} `EGRESS_NOT_DENIED` */
async function requireDeniedEgress(context: Context, wish: RenderWish, call: Call): Promise<void> {
  if (await isEgressDenied(context, wish, call)) return;
  throw new BifrostError({
    code: 'EGRESS_NOT_DENIED',
    message: `Userspace mode has no guard: ${ADVICE}.`,
    issues: [{ path: 'config.networkMode', message: 'needs a NetworkPolicy that denies clear egress to the allowed and blocked networks' }],
  });
}

const ADVICE =
  'deny egress to the allowed and blocked networks by a NetworkPolicy that selects the pods, and tell the manager that the cluster enforces it (networkPolicyEnforced); with networkPolicies set to enforce it writes that policy itself';

const withAdvice = (error: BifrostError): BifrostError =>
  new BifrostError({
    code: error.code,
    message: `${error.message.replace(`[${error.code}] `, '')} For the form that needs no privileges ${ADVICE}.`,
    issues: error.issues,
    details: error.details,
    cause: error,
  });

type ModeWish = RenderWish & { readonly networkMode: NetworkMode };

async function renderAndAdmit(context: Context, wish: ModeWish, call: Call): Promise<Rendered> {
  const fragment = await render(context, wish, call);
  await context.cluster.workloads.admit(wish.workload, fragment, call);
  return { fragment, networkMode: wish.networkMode };
}

/**
 * What an attached workload would get in the network mode that it has, whether it is admitted or not: what was judged once is judged again.
 *
 * @throws {BifrostError} `CLUSTER_RANGES_UNKNOWN`, `EGRESS_NOT_DENIED`, and what `checkTemplate` refuses
 */
export async function renderChecked(context: Context, wish: ModeWish, call: Call): Promise<SidecarFragment> {
  if (wish.networkMode === 'userspace') await requireDeniedEgress(context, wish, call);
  return render(context, wish, call);
}

/** @throws {BifrostError} `CLUSTER_RANGES_UNKNOWN`, `ISOLATION_VIOLATED`, and what `checkTemplate` refuses */
async function render(context: Context, { tailnet, config, workload, sidecarId, networkMode }: ModeWish, { signal }: Call): Promise<SidecarFragment> {
  const { settings } = context;
  const ranges = await rangesOf(context, { signal });
  const fragment = renderSidecar({
    sidecarId,
    tailnetName: tailnet.key,
    network: tailnet.spec.config,
    networkHash: networkHash(tailnet.spec.config),
    config,
    networkMode,
    ranges,
    template: workload.template,
    servedPorts: servedPorts(workload.template),
    images: settings.images,
    ingestUrl: settings.ingest.url,
    ingestHasOwnCa: settings.ingest.caBundle !== undefined,
    heartbeatMs: settings.heartbeatMs,
    loginServer: settings.loginServer,
  });
  checkTemplate(workload.template, fragment);
  if (networkMode === 'kernel') requireGuarded(fragment, { tailnet, ranges, settings });
  return fragment;
}

/** The cluster's ranges, where anybody tells them. */
export const knownRanges = async ({ settings, cluster }: Context, call: Call): Promise<ClusterRanges | undefined> =>
  settings.clusterRanges ?? cluster.topology.ranges(call);

/** @throws {BifrostError} `CLUSTER_RANGES_UNKNOWN` */
export async function rangesOf(context: Context, call: Call): Promise<ClusterRanges> {
  const ranges = await knownRanges(context, call);
  if (ranges !== undefined) return ranges;
  throw new BifrostError({
    code: 'CLUSTER_RANGES_UNKNOWN',
    message: "Tell the manager the cluster's ranges (option clusterRanges): without them customer routes could swallow the cluster.",
    issues: [{ path: 'clusterRanges', message: 'is needed, since the cluster does not tell its ranges' }],
  });
}

/** Whether nothing of the book can leave in clear for the networks that are meant for the tunnel, or that are blocked. Ours are written before its pods come. */
async function isEgressDenied(context: Context, { tailnet, workload, sidecarId }: RenderWish, call: Call): Promise<boolean> {
  if (!context.settings.networkPolicyEnforced) return false;
  const { namespace } = workload.reference;
  const { config } = tailnet.spec;
  const { allowedNetworks, blockedNetworks } = config;
  const clusterRanges = await rangesOf(context, call);
  const isOurs = context.settings.networkPolicies === 'enforce';
  const subject = { sidecarId, namespace, networkMode: 'userspace', config } as const;
  const ours = isOurs ? (await manifestsFor(context, subject, { ...call, ranges: clusterRanges, isPlan: true })).map(shapeOf) : [];
  const names = new Set(ours.map(({ name }) => name));
  const others = (await context.cluster.topology.networkPolicies(namespace, call)).filter(({ name }) => !names.has(name));
  const networks = [...allowedNetworks, ...blockedNetworks, ...TAILNET_NETWORKS];
  const labels = { ...workload.template.metadata?.labels, [LABELS.sidecarId]: sidecarId };
  return clearEgress([...others, ...ours], { labels, networks, clusterRanges }) === 'denied';
}
