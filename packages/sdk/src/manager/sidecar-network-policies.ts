import { BifrostError, type NetworkConfiguration, type NetworkPolicyPlan } from '@bifrost/types/core';
import type { SidecarSpec, SidecarState, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { LABELS } from '../domain/names.ts';
import type { PodTemplateShape } from '../domain/pod-shape.ts';
import { type NetworkPolicyManifest, shapeOf } from '../domain/policy/network-policies.ts';
import { cutBy } from '../domain/policy/network-policy-cuts.ts';
import type { OwnNetworkPolicy } from '../ports/index.ts';
import { recordLeft } from './abandon.ts';
import { requireApart } from './before-writing.ts';
import { type Call, type Context, keepSidecar } from './context.ts';
import { wishHash } from './hashes.ts';
import { manifestsFor } from './network-policy-manifests.ts';
import { sameJson } from './same-json.ts';
import { rangesOf } from './sidecar-render.ts';

type Subject = Pick<SidecarSpec, 'sidecarId' | 'workload' | 'networkMode' | 'previous'>;

/** While a change is on trial, pods of both forms run: what one of them must not do, none does. */
const modeOf = ({ networkMode, previous }: Subject) =>
  networkMode === 'userspace' || previous?.networkMode === 'userspace' ? 'userspace' : 'kernel';

/** @throws {BifrostError} `CLUSTER_RANGES_UNKNOWN` */
const wantedFor = async (
  context: Context,
  spec: Subject,
  { config, ...call }: Call & { readonly config: NetworkConfiguration; readonly isPlan?: boolean },
) =>
  manifestsFor(
    context,
    { sidecarId: spec.sidecarId, namespace: spec.workload.namespace, networkMode: modeOf(spec), config },
    { ...call, ranges: await rangesOf(context, call) },
  );

/**
 * The first ones of a book are refused; those that follow are not, since they may take away what the ones before them let through: a proof tells then.
 *
 * @throws {BifrostError} `ISOLATION_VIOLATED`
 */
async function requireProven(
  context: Context,
  { sidecarId, workload }: Pick<Subject, 'sidecarId' | 'workload'>,
  { manifests, isFirst, ...call }: Call & { readonly manifests: readonly NetworkPolicyManifest[]; readonly isFirst: boolean },
): Promise<void> {
  try {
    requireApart(manifests, { sidecarId, namespace: workload.namespace, ranges: await rangesOf(context, call) });
  } catch (error) {
    if (isFirst || !BifrostError.is(error) || error.code !== 'ISOLATION_VIOLATED') throw error;
    context.logger.log('error', 'a NetworkPolicy lets a book reach pods of other customers', { code: error.code, sidecarId, ...error.details });
    context.proofDue.soon();
  }
}

const ofSidecar = ({ spec: { sidecarId, workload } }: StoredSidecar) => ({ of: { sidecarId, namespace: workload.namespace } });

/** Whether what was read back says what was to be written. */
const says = ({ namespace: _namespace, labels: _labels, ...shape }: OwnNetworkPolicy, manifest: NetworkPolicyManifest): boolean =>
  sameJson(shape, shapeOf(manifest));

/**
 * Sees to it that a book's NetworkPolicies are there, and are what is wanted: before its sidecar goes in, since they select only pods that have one. What
 * somebody else made of them is put right in the round that sees it, in one step, and told. That there are some is on record before they are written.
 *
 * With another setting than `enforce` they go again; but not from under a book in userspace mode, where they are what keeps it from sending in clear.
 *
 * @throws {BifrostError} `CLUSTER_RANGES_UNKNOWN`; `ISOLATION_VIOLATED`; `FIELD_CONFLICT` — one of our name is there and is not ours
 */
export async function keepNetworkPolicies(
  context: Context,
  { sidecar, tailnet }: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet },
  call: Call,
): Promise<StoredSidecar> {
  const { networkPolicies } = context.cluster;
  if (context.settings.networkPolicies !== 'enforce') return withdrawn(context, sidecar, call);
  const wanted = await wantedNow(context, { sidecar, tailnet }, call);
  if (wanted === undefined) return sidecar;
  const hash = wishHash(wanted);
  const found = await networkPolicies.list({ ...call, ...ofSidecar(sidecar) });
  const differing = wanted.filter((manifest) => !found.some((each) => says(each, manifest)));
  const surplus = found.filter(({ name }) => !wanted.some(({ metadata }) => metadata.name === name));
  const { networkPolicies: before } = sidecar.state;
  const isOnRecord = before?.hash === hash && before.written;
  if (differing.length + surplus.length === 0) return isOnRecord ? sidecar : record(context, sidecar, { hash, written: true, ...call });
  if (isOnRecord)
    for (const name of [...differing.map(({ metadata }) => metadata.name), ...surplus.map((each) => each.name)]) tellDrift(context, sidecar, name);
  if (differing.length > 0) await requireProven(context, sidecar.spec, { ...call, manifests: wanted, isFirst: before === undefined });
  const intended = isOnRecord ? sidecar : await record(context, sidecar, { hash, written: false, ...call });
  for (const manifest of differing) await networkPolicies.put(manifest, call);
  for (const policy of surplus) await networkPolicies.remove(policy, call);
  return record(context, intended, { hash, written: true, ...call });
}

/** Undefined: the control plane cannot tell its relays now, and what has been written stays as it is. */
async function wantedNow(context: Context, { sidecar, tailnet }: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet }, call: Call) {
  try {
    return await wantedFor(context, sidecar.spec, { ...call, config: tailnet.spec.config });
  } catch (error) {
    const isAway = BifrostError.is(error) && error.code.startsWith('CONTROL_');
    if (isAway && sidecar.state.networkPolicies?.written === true) return undefined;
    throw error;
  }
}

const record = (
  context: Context,
  sidecar: StoredSidecar,
  { hash, written, signal }: NonNullable<SidecarState['networkPolicies']> & Call,
): Promise<StoredSidecar> => keepSidecar(context, sidecar, { state: { ...sidecar.state, networkPolicies: { hash, written } }, signal });

function tellDrift(context: Context, { spec }: StoredSidecar, networkPolicy: string): void {
  const { sidecarId, tailnetName, customerId, bookDeploymentId } = spec;
  context.logger.log('warn', 'a NetworkPolicy of ours was changed by somebody else, and is put right', { sidecarId, networkPolicy });
  context.events.emit('sidecar:drifted', {
    ...{ sidecarId, tailnetName, customerId, bookDeploymentId, networkPolicy },
    ...{ manager: 'unknown', repaired: true, atMs: context.clock.nowMs() },
  });
}

async function withdrawn(context: Context, sidecar: StoredSidecar, call: Call): Promise<StoredSidecar> {
  if (sidecar.state.networkPolicies === undefined || modeOf(sidecar.spec) === 'userspace') return sidecar;
  await removeAll(context, sidecar, call);
  const { networkPolicies: _, ...state } = sidecar.state;
  return keepSidecar(context, sidecar, { state, ...call });
}

async function removeAll({ cluster }: Context, sidecar: StoredSidecar, call: Call): Promise<void> {
  for (const policy of await cluster.networkPolicies.list({ ...call, ...ofSidecar(sidecar) })) await cluster.networkPolicies.remove(policy, call);
}

/** Whoever answers so has judged the removal, and will judge it so again. */
const REFUSALS: ReadonlySet<string> = new Set(['CLUSTER_DENIED', 'CLUSTER_REJECTED']);

/** The last of what is taken away: no pod of the book runs any more. With `abandon` what is refused is left, and that is recorded. */
export async function releaseNetworkPolicies(
  context: Context,
  { sidecar, isAbandoned }: { readonly sidecar: StoredSidecar; readonly isAbandoned: boolean },
  call: Call,
): Promise<void> {
  if (sidecar.state.networkPolicies === undefined) return;
  try {
    await removeAll(context, sidecar, call);
  } catch (error) {
    if (!isAbandoned || !BifrostError.is(error) || !REFUSALS.has(error.code) || call.signal.aborted) throw error;
    const { key, spec } = sidecar;
    context.hindrances.since(key, 'policies', context.clock.nowMs());
    await recordLeft(context, { hindrance: 'policies', code: error.code, key, subject: spec.sidecarId, customerId: spec.customerId }, call);
  }
}

/** What they would say of a book, and what its pods would lose by them. Undefined: they are not used. Nothing is written. */
export async function planNetworkPolicies(
  context: Context,
  { spec, template }: { readonly spec: Subject; readonly template: PodTemplateShape },
  call: Call & { readonly config: NetworkConfiguration },
): Promise<NetworkPolicyPlan | undefined> {
  if (context.settings.networkPolicies === 'off') return undefined;
  const wanted = await wantedFor(context, spec, { ...call, isPlan: true });
  await requireProven(context, spec, { ...call, manifests: wanted, isFirst: true });
  const existing = await context.cluster.topology.networkPolicies(spec.workload.namespace, call);
  return { sidecarId: spec.sidecarId, manifests: wanted, cuts: cutBy(existing, wanted.map(shapeOf), labelsOf(template, spec.sidecarId)) };
}

interface Wish {
  readonly spec: Subject;
  readonly config: NetworkConfiguration;
}

/** Of those sidecars whose NetworkPolicies a change would change: what they would say then, and what that cuts beside what is wanted now. */
export async function planPolicyChanges(
  context: Context,
  changes: readonly { readonly before: Wish; readonly now: Wish }[],
  call: Call,
): Promise<readonly NetworkPolicyPlan[]> {
  if (context.settings.networkPolicies === 'off') return [];
  const plans: NetworkPolicyPlan[] = [];
  const plan = { ...call, isPlan: true };
  for (const { before, now } of changes) {
    const [old, wanted] = [await wantedFor(context, before.spec, { ...plan, ...before }), await wantedFor(context, now.spec, { ...plan, ...now })];
    if (sameJson(old, wanted)) continue;
    const { sidecarId, workload } = now.spec;
    const existing = await context.cluster.topology.networkPolicies(workload.namespace, call);
    const template = (await context.cluster.workloads.get(workload, call))?.template;
    const names = new Set(wanted.map(({ metadata }) => metadata.name));
    const standing = [...existing.filter(({ name }) => !names.has(name)), ...old.map(shapeOf)];
    plans.push({ sidecarId, manifests: wanted, cuts: cutBy(standing, wanted.map(shapeOf), labelsOf(template, sidecarId)) });
  }
  return plans;
}

/** Of its pods, once they have a sidecar. */
const labelsOf = (template: PodTemplateShape | undefined, sidecarId: string) => ({ ...template?.metadata?.labels, [LABELS.sidecarId]: sidecarId });
