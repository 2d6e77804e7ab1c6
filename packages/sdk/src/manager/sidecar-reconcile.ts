import { BifrostError } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { isUsable } from '../domain/reconcile-plan.ts';
import type { Workload } from '../ports/index.ts';
import { type Call, type Context, controlOf, keepSidecar, proveTailnet, sawSidecar, secondLookAt, tailnetOf } from './context.ts';
import { bindInjected, tellExpired } from './inject-binding.ts';
import { cutRevoked } from './revocations.ts';
import { ensureApplied, stopUnsupported } from './sidecar-apply.ts';
import { detachSidecarFully, takeBack } from './sidecar-detach.ts';
import { noticePods, podsOf, releaseDevices, settleRoutes } from './sidecar-devices.ts';
import { attachmentSecret, ensureKey, revokeKeys } from './sidecar-keys.ts';
import { keepNetworkPolicies } from './sidecar-network-policies.ts';
import { cutBeforeDetach, keepQuarantined, startWaitingAnew } from './sidecar-quarantine.ts';
import { recordFailure, recordInstances, recordState } from './sidecar-record.ts';
import { judgeTrial } from './sidecar-trial.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/** Until the policy owns a new book's tags; what writes it tells at once. */
const POLICY_RECHECK_MS = 5_000;

/** What a sidecar may miss. */
const parts = (key: string) => ({ tailnet: `tailnet of ${key}`, workload: `workload of ${key}` });

/** Brings workload, keys and devices of one attachment to what is wanted. Level-triggered: reads both sides every time. */
export async function reconcileSidecar(context: Context, key: string, call: Call): Promise<Outcome> {
  const sidecar = await context.store.sidecars.get(key, call);
  context.outdated.refuse('sidecar', sidecar);
  const again = secondLookAt(context, 'sidecar', { key, found: sidecar });
  if (again !== undefined) return again;
  sawSidecar(context, key, sidecar);
  if (sidecar === undefined) {
    context.instances.forget(key);
    for (const part of Object.values(parts(key))) context.missing.forget(part);
    context.hindrances.forget(key);
    // An annotation may ask for it again.
    context.touch('workload', key);
    return SETTLED;
  }
  if (context.readOnly()) {
    noticePods(context, sidecar, await podsOf(context, sidecar, call));
    return SETTLED;
  }
  try {
    const tailnet = await tailnetOf(context, sidecar, call);
    const isQuarantined = sidecar.spec.quarantine !== undefined;
    // A pause must not keep open what is to be shut.
    if (tailnet?.spec.paused === true)
      return await (isQuarantined ? keepQuarantined(context, { sidecar, tailnet }, call) : observe(context, sidecar, call));
    if (sidecar.deleting) return await detach(context, { sidecar, tailnet }, call);
    return await keepAttached(context, { sidecar, tailnet }, call);
  } catch (error) {
    if (!BifrostError.is(error) || call.signal.aborted) throw error;
    return await recordFailure(context, key, { error, ...call });
  }
}

async function detach(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<Outcome> {
  if (tailnet !== undefined) await cutBeforeDetach(context, { sidecar, tailnet }, call);
  return detachSidecarFully(context, { sidecar, tailnet }, call);
}

/** While the tailnet is paused nothing is changed; what agents say is kept all the same. */
async function observe(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  context.hearing.pausedAtMs.set(sidecar.spec.tailnetName, context.clock.nowMs());
  noticePods(context, sidecar, await podsOf(context, sidecar, call));
  if (!sidecar.deleting) await recordInstances(context, sidecar, call);
  return SETTLED;
}

interface Found {
  readonly sidecar: StoredSidecar;
  readonly tailnet: StoredTailnet | undefined;
}

async function keepAttached(context: Context, { sidecar, tailnet }: Found, call: Call): Promise<Outcome> {
  const { tailnet: itsTailnet, workload: itsWorkload } = parts(sidecar.key);
  if (tailnet === undefined) return context.missing.secondLook(itsTailnet) ?? release(context, sidecar, call);
  context.missing.forget(itsTailnet);
  if (tailnet.deleting) {
    await proveTailnet(context, tailnet, call); // another may have come under its name
    return release(context, sidecar, call);
  }
  const workload = await context.cluster.workloads.get(sidecar.spec.workload, call);
  const isAwaited = sidecar.spec.workload.uid === '';
  if (workload !== undefined || isAwaited) context.missing.forget(itsWorkload);
  if (isAwaited) {
    const unbound = await bindInjected(context, { sidecar, workload }, call);
    if (unbound === 'expired') return expire(context, sidecar, call);
    if (unbound === 'bound') return { kind: 'waiting', recheckMs: 0 };
    if (sidecar.spec.quarantine !== undefined) return sooner(await keepQuarantined(context, { sidecar, tailnet }, call), waiting(unbound.recheckMs));
    const { workload: place, customerId } = sidecar.spec;
    if ((await context.cluster.workloads.customerOf(place.namespace, call)) !== customerId) return stopEnrolment(context, { sidecar, tailnet }, call);
    return prepare(context, { sidecar, tailnet, recheckMs: unbound.recheckMs }, call);
  }
  // The workload is gone, another of its name has come, or the Job has ended: everything made for it is released.
  if (workload === undefined)
    return context.missing.secondLook(itsWorkload, { isToldGone: isToldGone(context, sidecar) }) ?? release(context, sidecar, call);
  if (workload.finished) return release(context, sidecar, call);
  if (sidecar.spec.quarantine !== undefined) return keepQuarantined(context, { sidecar, tailnet }, call);
  if (workload.customerId !== sidecar.spec.customerId) return stopEnrolment(context, { sidecar, tailnet }, call);
  if (sidecar.state.rolledBack === true) return takeBack(context, { sidecar, tailnet }, call);
  if (!isUsable(tailnet.state.phase)) return SETTLED; // its activation is a hint for its sidecars
  return settle(context, { sidecar, tailnet, workload }, call);
}

function isToldGone({ observed }: Context, { key, spec }: StoredSidecar): boolean {
  const hint = observed.workloadOf(key);
  return hint !== undefined && (hint.gone || hint.workload.uid !== spec.workload.uid);
}

interface Attached {
  readonly sidecar: StoredSidecar;
  readonly tailnet: StoredTailnet;
  readonly workload: Workload;
}

async function settle(context: Context, { sidecar, tailnet, workload }: Attached, call: Call): Promise<Outcome> {
  startWaitingAnew(context, sidecar);
  context.hindrances.forget(sidecar.key); // of a failed attach that was being taken back when it was asked for again
  const stopped = await stopUnsupported(context, { sidecar, workload }, call); // first: it must not wait for the control plane
  // Before the sidecar: its pods come under them from their first packet on.
  const guarded = stopped ? sidecar : await keepNetworkPolicies(context, { sidecar, tailnet }, call);
  const control = await controlOf(context, tailnet, call);
  const keyed = await ensureKey(context, guarded, { tailnet, control, ...call });
  if (keyed === undefined) return { kind: 'waiting', recheckMs: POLICY_RECHECK_MS };
  const { sidecar: applied, ...told } = stopped ? { sidecar: keyed, ...stopped } : await ensureApplied(context, { sidecar: keyed, workload }, call);
  const pods = await podsOf(context, applied, call);
  noticePods(context, applied, pods);
  const cut = await cutRevoked(context, { sidecar: applied, tailnet, control }, call);
  const released = await releaseDevices(context, cut.sidecar, { tailnet, control, pods, ...call });
  const routes = await settleRoutes(context, { sidecar: released, tailnet, control }, call);
  const reason = told.reason ?? routes;
  const recorded = await recordState(context, { sidecar: released, workload, told: { ...told, ...(reason === undefined ? {} : { reason }) } }, call);
  const trial = await judgeTrial(context, { sidecar: recorded.sidecar, workload, pods }, call);
  return sooner(sooner(trial, recorded.outcome), cut.recheckMs === undefined ? SETTLED : waiting(cut.recheckMs));
}

/** Key and NetworkPolicies of a workload that is yet to be created are made beforehand: its pods must not wait for us. */
async function prepare(
  context: Context,
  { sidecar, tailnet, recheckMs }: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet; readonly recheckMs: number },
  call: Call,
): Promise<Outcome> {
  if (isUsable(tailnet.state.phase)) {
    const guarded = await keepNetworkPolicies(context, { sidecar, tailnet }, call);
    const control = await controlOf(context, tailnet, call);
    const keyed = await ensureKey(context, guarded, { tailnet, control, ...call });
    if (keyed === undefined) return { kind: 'waiting', recheckMs: Math.min(recheckMs, POLICY_RECHECK_MS) };
    await keepSidecar(context, keyed, { state: keyed.state, ...call });
  }
  return { kind: 'waiting', recheckMs };
}

const waiting = (recheckMs: number): Outcome => ({ kind: 'waiting', recheckMs });

function sooner(one: Outcome, other: Outcome): Outcome {
  if (one.kind === 'retry' || one.kind === 'stopped') return one;
  const [first, second] = [one, other].map((outcome) => (outcome.kind === 'waiting' ? outcome.recheckMs : Number.POSITIVE_INFINITY));
  const recheckMs = Math.min(first ?? 0, second ?? 0);
  return Number.isFinite(recheckMs) ? { kind: 'waiting', recheckMs } : SETTLED;
}

/** The namespace has changed hands: its key dies and its Secret goes, so that no further pod joins. Who has joined is for a person to judge. */
async function stopEnrolment(
  context: Context,
  { sidecar, tailnet }: { readonly sidecar: StoredSidecar; readonly tailnet: StoredTailnet },
  call: Call,
): Promise<never> {
  await context.cluster.secrets.remove(attachmentSecret(sidecar), call); // first: it must not wait for the control plane
  const control = await controlOf(context, tailnet, call);
  await revokeKeys(sidecar.spec.sidecarId, sidecar.state, { control, ...call });
  if (sidecar.state.keys.length > 0) await keepSidecar(context, sidecar, { state: { ...sidecar.state, keys: [] }, ...call });
  throw new BifrostError({
    code: 'CUSTOMER_MISMATCH',
    message: 'The namespace has been given to another customer: enrolment has stopped. Detach the sidecar.',
    issues: [{ path: 'bookDeploymentId', message: 'lies in a namespace of another customer, or of none' }],
  });
}

/** The loop's own decision to detach, recorded as such. It is about the sidecar as it was looked at: a registration may have been renewed meanwhile. */
async function release(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const { key, spec } = sidecar;
  const { sidecarId: subject, customerId } = spec;
  await context.audit.append(
    { atMs: context.clock.nowMs(), actor: 'manager', action: 'detachSidecar', subject, customerId, outcome: 'accepted' },
    call,
  );
  await context.store.sidecars.remove(key, { ...call, current: sidecar });
  return { kind: 'waiting', recheckMs: 0 };
}

async function expire(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const outcome = await release(context, sidecar, call);
  tellExpired(context, sidecar);
  return outcome;
}
