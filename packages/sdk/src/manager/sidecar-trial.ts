import { isUp } from '../domain/connectivity.ts';
import type { Reason, StoredSidecar, Trial } from '../domain/model.ts';
import { LABELS } from '../domain/names.ts';
import { planTrial } from '../domain/reconcile-plan.ts';
import type { Pod, Workload } from '../ports/index.ts';
import { type Call, type Context, judgedFromMs, keepSidecar, respecSidecar } from './context.ts';
import { configHash, fragmentHash } from './hashes.ts';
import { isFinished } from './sidecar-devices.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

interface Look {
  readonly sidecar: StoredSidecar;
  readonly workload: Workload;
  readonly pods: readonly Pod[];
}

/** Ends the trial of a changed fragment when it has proved itself, or when its time is up. */
export async function judgeTrial(context: Context, look: Look, call: Call): Promise<Outcome> {
  const { sidecar, workload } = look;
  const { trial, ...spec } = sidecar.spec;
  if (trial === undefined) return SETTLED;
  const plan = planTrial({
    trial: { ...trial, deadlineMs: deadlineOf(context, sidecar, trial) },
    wanted: workload.replicas,
    pods: podsOnTrial(context, look),
    nowMs: context.clock.nowMs(),
  });
  if (plan.kind === 'wait') return { kind: 'waiting', recheckMs: plan.recheckMs };
  if (plan.kind === 'revert') return revert(context, sidecar, call);
  const { reverted: _, ...proved } = spec;
  const written = await respecSidecar(context, sidecar, { spec: proved, ...call });
  try {
    // Its conditions too: that may be the last round for long, and whoever hears of it looks.
    await keepSidecar(context, written, { state: written.state, ...call });
  } finally {
    if (plan.kind === 'prove') context.events.emit('sidecar:updated', eventOf(context, sidecar));
    context.touch('tailnet', sidecar.spec.tailnetName); // the next wave of an upgrade waits for it
  }
  return SETTLED;
}

const deadlineOf = (context: Context, { spec: { tailnetName } }: StoredSidecar, { sinceMs, deadlineMs }: Trial): number =>
  Math.max(deadlineMs, judgedFromMs(context, tailnetName, deadlineMs - sinceMs));

/** Takes back a change that could not even be put in before its deadline, which costs no pod anything. Undefined: there is none. */
export async function withdrawTrial(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome | undefined> {
  const { spec, state } = sidecar;
  if (spec.trial === undefined || state.appliedFragment === fragmentHash(spec.fragment)) return undefined;
  return context.clock.nowMs() < deadlineOf(context, sidecar, spec.trial) ? undefined : revert(context, sidecar, call);
}

function podsOnTrial(context: Context, { sidecar, pods }: Look) {
  const hash = sidecar.spec.fragment.annotations[LABELS.fragment];
  return pods
    .filter((pod) => !pod.deleting && !isFinished(pod))
    .map(({ uid, annotations }) => {
      const state = context.instances.get(uid)?.connection.state;
      return { isNew: annotations[LABELS.fragment] === hash, connected: isUp(state) };
    });
}

/** One write takes the change back and says so: a crash on either side of it loses nothing. */
async function revert(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const { trial: _trial, previous, networkMode: _mode, renderedFor: _for, ...spec } = sidecar.spec;
  const reverted: Reason = {
    code: 'UPGRADE_ROLLED_BACK',
    message: 'Its pods did not all connect with the changed sidecar in time; what was there before is back.',
  };
  await respecSidecar(context, sidecar, { spec: { ...spec, ...previous, reverted, revertedFor: configHash(spec.config) }, ...call });
  context.events.emit('sidecar:reverted', { ...eventOf(context, sidecar), code: reverted.code });
  context.touch('tailnet', spec.tailnetName);
  return { kind: 'waiting', recheckMs: 0 };
}

export const eventOf = (context: Context, { spec: { sidecarId, tailnetName, customerId, bookDeploymentId } }: StoredSidecar) => ({
  sidecarId,
  tailnetName,
  customerId,
  bookDeploymentId,
  atMs: context.clock.nowMs(),
});
