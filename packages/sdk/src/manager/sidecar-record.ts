import type { BifrostError } from '@bifrost/types/core';
import { isUp, statusOfInstances } from '../domain/connectivity.ts';
import type { InstanceState, Reason, SidecarState, StoredSidecar } from '../domain/model.ts';
import { planPhase, planWaiting } from '../domain/reconcile-plan.ts';
import type { Workload } from '../ports/index.ts';
import { type Call, type Context, judgedFromMs, keepSidecar } from './context.ts';
import { instanceState } from './instances.ts';
import type { Applied } from './sidecar-apply.ts';
import { eventOf, withdrawTrial } from './sidecar-trial.ts';
import { reasonOf } from './tailnet-acceptance.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

interface Round {
  readonly sidecar: StoredSidecar;
  readonly workload: Workload;
  readonly told: Omit<Applied, 'sidecar'>;
}

/** Writes what a round has found; a first attach that did not work in time is marked to be taken back. */
export async function recordState(
  context: Context,
  { sidecar, workload, told }: Round,
  call: Call,
): Promise<{ readonly sidecar: StoredSidecar; readonly outcome: Outcome }> {
  const { clock, settings } = context;
  const { instances, deviceIds } = seen(context, sidecar);
  const { reason: _reason, waitingSinceMs: _since, quarantinedSinceMs: _quarantined, ...rest } = sidecar.state;
  const deadlineMs = settings.attachDeadlineMs;
  const nowMs = clock.nowMs();
  const everConnected = sidecar.state.everConnected === true || instances.some(({ status }) => isUp(status));
  const { waitingSinceMs = nowMs } = sidecar.state;
  const wholeMs = Math.max(deadlineMs, judgedFromMs(context, sidecar.spec.tailnetName, deadlineMs) - waitingSinceMs);
  const wanted = everConnected || told.stopped ? 0 : workload.replicas;
  const waiting = planWaiting(sidecar.state.waitingSinceMs, { wanted, nowMs, deadlineMs: wholeMs });
  const { phase, reason: late, recheckMs } = planPhase(instances, { nowMs, deadlineMs });
  const state: SidecarState = {
    ...rest,
    ...told.applied,
    instances,
    deviceIds,
    phase: told.stopped ? 'failed' : phase,
    ...(everConnected ? { everConnected } : {}),
    ...(waiting.sinceMs === undefined ? {} : { waitingSinceMs: waiting.sinceMs }),
  };
  if (waiting.isOver && sidecar.spec.mode !== 'inject') return giveUp(context, sidecar, { state, ...call });
  const reason = told.reason ?? late;
  const kept = await keepSidecar(context, sidecar, { state: reason === undefined ? state : { ...state, reason }, ...call });
  const again = Math.min(
    recheckMs ?? Number.POSITIVE_INFINITY,
    waiting.recheckMs ?? Number.POSITIVE_INFINITY,
    told.recheckMs ?? Number.POSITIVE_INFINITY,
  );
  return { sidecar: kept, outcome: Number.isFinite(again) ? { kind: 'waiting', recheckMs: again } : SETTLED };
}

const TAKEN_BACK: Reason = {
  code: 'ATTACH_TIMEOUT',
  message: 'No pod connected before the deadline: the workload is as it was. Correct what hinders it, then attach again.',
};

/** The decision is written before anything is taken back: a crash in between goes on from here. */
async function giveUp(context: Context, sidecar: StoredSidecar, { state, ...call }: { readonly state: SidecarState } & Call) {
  const cause = state.instances.find((instance) => instance.cause !== undefined)?.cause;
  const reason = cause === undefined ? TAKEN_BACK : { ...TAKEN_BACK, message: `${TAKEN_BACK.message} Cause: ${cause}.` };
  const kept = await keepSidecar(context, sidecar, { state: { ...state, phase: 'failed', rolledBack: true, reason }, ...call });
  context.events.emit('sidecar:reverted', { ...eventOf(context, sidecar), code: reason.code });
  return { sidecar: kept, outcome: { kind: 'waiting', recheckMs: 0 } as const };
}

export function seen(
  context: Context,
  sidecar: StoredSidecar,
): { readonly instances: readonly InstanceState[]; readonly deviceIds: readonly string[] } {
  const instances = context.instances
    .of(sidecar.key)
    .map(instanceState)
    .sort((a, b) => (a.podUid < b.podUid ? -1 : 1));
  const joined = instances.flatMap(({ deviceId }) => (deviceId === undefined ? [] : [deviceId]));
  return { instances, deviceIds: [...new Set([...sidecar.state.deviceIds, ...joined])].sort() };
}

/** What agents say, and nothing that would be decided from it. */
export async function recordInstances(context: Context, sidecar: StoredSidecar, call: Call): Promise<void> {
  const { instances, deviceIds } = seen(context, sidecar);
  const { phase: before } = sidecar.state;
  const phase = before === 'failed' ? before : statusOfInstances(instances.map(({ status }) => status));
  await keepSidecar(context, sidecar, { state: { ...sidecar.state, instances, deviceIds, phase }, ...call });
}

/** Keeps what went wrong in the state. Ordinary races are nobody's trouble: the next round reads again. */
export async function recordFailure(context: Context, key: string, { error, signal }: { readonly error: BifrostError } & Call): Promise<Outcome> {
  const outcome: Outcome = error.retry === 'backoff' ? { kind: 'retry', error } : { kind: 'stopped', error };
  if (error.code === 'STORE_CONFLICT' || error.code === 'CLUSTER_CONFLICT') return outcome;
  if (error.code === 'STORE_NOT_FOUND') return { kind: 'retry', error };
  const sidecar = await context.store.sidecars.get(key, { signal });
  if (sidecar === undefined) return outcome;
  // A passing trouble says nothing new of what has failed already.
  if (outcome.kind === 'retry' && sidecar.state.phase === 'failed' && !sidecar.deleting) return outcome;
  const phase = sidecar.deleting ? 'detaching' : outcome.kind === 'stopped' ? 'failed' : sidecar.state.phase;
  const state: SidecarState = { ...sidecar.state, phase, reason: reasonOf(error) };
  const kept = await keepSidecar(context, sidecar, { state, signal });
  return outcome.kind === 'stopped' && !kept.deleting ? ((await withdrawTrial(context, kept, { signal })) ?? outcome) : outcome;
}
