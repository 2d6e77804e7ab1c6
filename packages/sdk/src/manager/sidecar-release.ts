import { BifrostError } from '@bifrost/types/core';
import type { StoredSidecar } from '../domain/model.ts';
import { podRecheckMs, podsRemain } from '../domain/pod-wait.ts';
import type { Pod } from '../ports/index.ts';
import { type Abandoned, mayPassMs, recordLeft } from './abandon.ts';
import { type Call, type Context, keepSidecar } from './context.ts';
import { activePodsOf } from './sidecar-devices.ts';
import { reasonOf } from './tailnet-acceptance.ts';
import type { Outcome } from './work-queue.ts';

/** A sidecar that is taken away, and whether what does not let it go may be left. */
export interface Released {
  readonly sidecar: StoredSidecar;
  readonly isAbandoned: boolean;
}

/** Whoever answers so has judged the change, and will judge it so again: RBAC, a webhook, a policy, a quota. */
const REFUSALS: ReadonlySet<string> = new Set(['CLUSTER_DENIED', 'CLUSTER_REJECTED', 'FIELD_CONFLICT', 'POD_SECURITY_FORBIDDEN']);

/** Out of the pod template, and then until the pods are gone. Undefined: they are, or they are left. */
export async function releaseWorkload(context: Context, released: Released, call: Call): Promise<Outcome | undefined> {
  const { sidecar } = released;
  const { workload, form, fragment, mode = 'apply' } = sidecar.spec;
  // What its creator put in is not ours to take out: its pods stay, without a key.
  if (mode === 'inject') return undefined;
  try {
    await context.cluster.workloads.detach({ workload, form, fragment }, call);
  } catch (error) {
    return await leaveTemplate(context, { ...released, error }, call);
  }
  context.hindrances.passed(sidecar.key, 'template');
  const pods = await activePodsOf(context, sidecar, call);
  if (pods.length > 0) return awaitPods(context, { ...released, pods }, call);
  context.hindrances.passed(sidecar.key, 'pods');
  if (sidecar.state.applied !== true) return undefined;
  // Told before the control plane is asked, which may take its time. What follows goes by what is stored then.
  await keepSidecar(context, sidecar, { state: { ...sidecar.state, applied: false }, ...call });
  return { kind: 'waiting', recheckMs: 0 };
}

/**
 * Pods of an injected sidecar stay, without a key, until its creator or their grace ends them: the NetworkPolicies that keep them in must outlast them.
 * Undefined: they are gone, or they are left, or nothing was written for them.
 */
export async function awaitInjectedPods(context: Context, released: Released, call: Call): Promise<Outcome | undefined> {
  const { spec, state, key } = released.sidecar;
  if (spec.mode !== 'inject' || state.networkPolicies === undefined) return undefined;
  const pods = await activePodsOf(context, released.sidecar, call);
  if (pods.length > 0) return awaitPods(context, { ...released, pods }, call);
  context.hindrances.passed(key, 'pods');
  return undefined;
}

const nameOf = ({ key, spec: { sidecarId: subject, customerId } }: StoredSidecar): Abandoned => ({ key, subject, customerId });

/** The change was refused: that is the reason, and with `abandon` the sidecar stays where it is once that has lasted. */
async function leaveTemplate(
  context: Context,
  { sidecar, isAbandoned, error }: Released & { readonly error: unknown },
  call: Call,
): Promise<Outcome | undefined> {
  if (!BifrostError.is(error) || !REFUSALS.has(error.code) || call.signal.aborted) throw error;
  const recheckMs = mayPassMs(context, sidecar.key, 'template');
  if (!isAbandoned) throw error;
  const reason = reasonOf(error);
  if (recheckMs === 0) return void (await recordLeft(context, { ...reason, hindrance: 'template', ...nameOf(sidecar) }, call));
  await keepSidecar(context, sidecar, { state: { ...sidecar.state, reason }, ...call });
  return { kind: 'waiting', recheckMs };
}

/** A pod may take its grace, or lie on a node that is dead. A failed attach keeps the reason that it has. */
async function awaitPods(
  context: Context,
  { sidecar, isAbandoned, pods }: Released & { readonly pods: readonly Pod[] },
  call: Call,
): Promise<Outcome | undefined> {
  const { clock, hindrances } = context;
  const nowMs = clock.nowMs();
  const recheckMs = podRecheckMs(nowMs - hindrances.since(sidecar.key, 'pods', nowMs));
  const passMs = mayPassMs(context, sidecar.key, 'pods');
  const reason = podsRemain(pods.map(({ name }) => name));
  if (isAbandoned && passMs === 0) return void (await recordLeft(context, { ...reason, hindrance: 'pods', ...nameOf(sidecar) }, call));
  const told = sidecar.deleting ? { reason } : {};
  await keepSidecar(context, sidecar, { state: { ...sidecar.state, applied: false, ...told }, ...call });
  return { kind: 'waiting', recheckMs: isAbandoned ? Math.min(recheckMs, passMs) : recheckMs };
}
