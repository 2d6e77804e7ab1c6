import { type AttachSidecarRequest, BifrostError, type WorkloadReference } from '@bifrost/types/core';
import { annotatedWish } from '../domain/annotated-wish.ts';
import type { StoredSidecar } from '../domain/model.ts';
import type { WorkloadHint } from '../ports/index.ts';
import { type Call, type Context, respecSidecar } from './context.ts';
import { configHash } from './hashes.ts';
import { sameJson } from './same-json.ts';
import { attachSidecar } from './sidecar-calls.ts';
import { respecified } from './sidecar-update-calls.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/** Who asks, in the audit record. */
const ACTOR = 'annotation';

/** Brings the attachment of one workload to what its annotations say. Level-triggered, like all of the loop. */
export async function reconcileWorkload(context: Context, key: string, call: Call): Promise<Outcome> {
  if (context.readOnly()) return SETTLED;
  const hint = context.observed.workloadOf(key);
  const sidecar = await context.store.sidecars.get(key, call);
  const wish = wishOf(hint);
  if (wish === undefined) {
    context.observed.unrefused(key);
    context.observed.forgetWorkload(key);
    // One in quarantine stays: who may annotate the workload could end it otherwise.
    const isOver = sidecar?.spec.origin === 'annotation' && !sidecar.deleting && sidecar.spec.quarantine === undefined && hint !== undefined;
    return isOver ? withdraw(context, sidecar, call) : SETTLED;
  }
  try {
    const outcome = sidecar === undefined ? await attach(context, wish, call) : await follow(context, { sidecar, wish }, call);
    context.observed.unrefused(key);
    return outcome;
  } catch (error) {
    if (!BifrostError.is(error) || call.signal.aborted || hint === undefined) throw error;
    return refuse(context, { key, hint, tailnetName: wish.request.tailnetName, error }, call);
  }
}

/** Who asks, and for what. */
interface Wish {
  readonly workload: WorkloadReference;
  readonly request: AttachSidecarRequest;
}

function wishOf(hint: WorkloadHint | undefined): Wish | undefined {
  const request = hint && !hint.gone ? annotatedWish(hint.workload, hint.annotations) : undefined;
  return hint && request && { workload: hint.workload, request };
}

async function attach(context: Context, { workload, request }: Wish, call: Call): Promise<Outcome> {
  await attachSidecar(context, request, { ...call, actor: ACTOR, origin: 'annotation', workload });
  return SETTLED;
}

/** It is attached: another configuration is an update, another tailnet a new attachment. What a call attached is a call's to change. */
async function follow(context: Context, { sidecar, wish }: { readonly sidecar: StoredSidecar; readonly wish: Wish }, call: Call): Promise<Outcome> {
  const { spec, state, deleting } = sidecar;
  const { tailnetName, config } = wish.request;
  if (deleting || spec.quarantine !== undefined) return SETTLED; // its end is a hint for this workload
  const isSame = spec.tailnetName === tailnetName && sameJson(spec.config, config);
  if (state.rolledBack === true && !isSame) return withdraw(context, sidecar, call);
  if (isSame || (spec.reverted !== undefined && spec.revertedFor === configHash(config))) return SETTLED;
  if (spec.origin !== 'annotation' || spec.mode === 'inject') return attach(context, wish, call); // refused with what differs
  if (spec.tailnetName !== tailnetName || spec.config.hostname !== config.hostname) return withdraw(context, sidecar, call);
  await respecSidecar(context, sidecar, { spec: await respecified(context, { sidecar, config }, call), ...call });
  context.touch('sidecar', sidecar.key);
  return SETTLED;
}

/** The annotation is gone, or asks for another: recorded as the decision that it is. */
async function withdraw(context: Context, sidecar: StoredSidecar, call: Call): Promise<Outcome> {
  const { key, spec } = sidecar;
  const { sidecarId: subject, customerId } = spec;
  const record = { atMs: context.clock.nowMs(), actor: ACTOR, action: 'detachSidecar', subject, customerId, outcome: 'accepted' };
  await context.audit.append(record, call);
  await context.store.sidecars.remove(key, { ...call, current: sidecar });
  context.touch('sidecar', key);
  return SETTLED;
}

interface Refusal {
  readonly key: string;
  readonly hint: WorkloadHint;
  readonly tailnetName: string;
  readonly error: BifrostError;
}

/** There is nobody to answer: it is an event and a log line, once per code. Looked at again with backoff, since what hinders it may pass. */
async function refuse(context: Context, { key, hint, tailnetName, error }: Refusal, call: Call): Promise<Outcome> {
  if (error.retry === 'backoff') return { kind: 'retry', error };
  if (!context.observed.refused(key, error.code)) return { kind: 'stopped', error };
  const { kind, namespace, name } = hint.workload;
  const workload = `${kind} ${namespace}/${name}`;
  context.logger.log('warn', 'an annotated workload cannot be attached', { workload, tailnet: tailnetName, code: error.code });
  const customerId = (await context.cluster.workloads.customerOf(namespace, call)) ?? '';
  context.events.emit('workload:refused', { tailnetName, customerId, workload, code: error.code, atMs: context.clock.nowMs() });
  return { kind: 'stopped', error };
}
