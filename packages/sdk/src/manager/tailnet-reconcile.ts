import { BifrostError, Secret } from '@bifrost/types/core';
import { OF_POLICY } from '../domain/conditions.ts';
import type { StoredSidecar, StoredTailnet, TailnetState } from '../domain/model.ts';
import { LABELS, tailnetSecretName } from '../domain/names.ts';
import type { ControlCredential } from '../ports/index.ts';
import { leaveAtControl } from './abandon.ts';
import {
  type Call,
  type Context,
  CREDENTIAL_KEYS,
  controlOf,
  interruptSidecars,
  keepTailnet,
  proveTailnet,
  sawTailnet,
  secondLookAt,
} from './context.ts';
import { enforcedNow } from './revocations.ts';
import { sameJson } from './same-json.ts';
import { sweepDevices } from './sidecar-devices.ts';
import { reasonOf, refusalOf } from './tailnet-acceptance.ts';
import { forgetPolicy, settlePolicy } from './tailnet-policy.ts';
import { removeOwn } from './tailnet-removal.ts';
import { driveUpgrade, outdatedCount } from './tailnet-upgrade.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/** Name of a tailnet that we make: carries our id, so that a lost create reply is found again and no stranger's tailnet is taken for ours. */
export const displayNameOf = (tailnet: StoredTailnet): string => `${tailnet.key.slice(0, 40)}-${tailnet.spec.tailnetId.slice(0, 8)}`;

/** Brings the control plane to what the stored tailnet wants. Level-triggered: reads both sides every time. */
export async function reconcileTailnet(context: Context, key: string, call: Call): Promise<Outcome> {
  const tailnet = await context.store.tailnets.get(key, call);
  context.outdated.refuse('tailnet', tailnet);
  const again = secondLookAt(context, 'tailnet', { key, found: tailnet });
  if (again !== undefined) return again;
  sawTailnet(context, key, tailnet);
  if (tailnet === undefined) context.hearing.pausedAtMs.delete(key);
  if (tailnet === undefined || context.readOnly()) return SETTLED;
  try {
    if (tailnet.spec.paused === true) return await hold(context, tailnet, call);
    if (tailnet.deleting) return await removeTailnet(context, tailnet, call);
    const refused = refusalOf(tailnet);
    if (refused !== undefined) return await refuse(context, tailnet, call);
    return await establish(context, tailnet, call);
  } catch (error) {
    if (!BifrostError.is(error) || call.signal.aborted) throw error;
    return await recordFailure(context, key, { error, ...call });
  }
}

/** Paused: only its conditions are told. When that is news, rounds of its sidecars may still go by what was before. */
async function hold(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome> {
  const kept = await keepTailnet(context, tailnet, { state: tailnet.state, ...call });
  if (kept !== tailnet) interruptSidecars(context, tailnet.key);
  return SETTLED;
}

/** What a call would have refused has no effect; what was there before the specification became wrong stays. */
async function refuse(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome> {
  const { state } = tailnet;
  const reason = refusalOf(tailnet);
  const isNew = state.phase === 'creating' || state.phase === 'failed';
  const refused: TailnetState = { ...state, ...(isNew ? { phase: 'failed' } : {}), ...(reason === undefined ? {} : { reason }) };
  await keepTailnet(context, tailnet, { state: refused, ...call });
  return SETTLED;
}

async function establish(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome> {
  const found = tailnet.spec.tenancy === 'organization' ? await ensureMade(context, tailnet, call) : tailnet;
  const control = await controlOf(context, found, call);
  const { controlId, dnsName } = await control.describe(call);
  // Which one it is, is known before it is on record: by that it is told who else has entries in its policy.
  const described: StoredTailnet = { ...found, state: { ...found.state, controlId } };
  const settled = await settlePolicy(context, described, { control, ...call });
  const ruled = settled === described ? found : settled; // else what was told would pass for written
  const { reason: _, ...rest } = ruled.state;
  const enforced = enforcedNow(ruled, context.clock.nowMs());
  const state: TailnetState = { ...rest, phase: 'active', controlId, ...(dnsName === undefined ? {} : { dnsName }), ...enforced };
  const active = await keepTailnet(context, ruled, { state, outdated: outdatedCount(context, ruled), ...call });
  // Those that stand by a connection which nothing allows any more.
  if (!sameJson(active.state.revoked, ruled.state.revoked))
    for (const { key } of context.observed.sidecarsOf(active.key)) context.touch('sidecar', key);
  await sweepDevices(context, control, { tailnet: active, ...call });
  return driveUpgrade(context, active, call);
}

/** Finds or makes the tailnet. The client secret that comes once is stored before anything else. */
async function ensureMade(context: Context, tailnet: StoredTailnet, call: Call): Promise<StoredTailnet> {
  const { tailnetId } = tailnet.spec;
  const kept = context.unstored.get(tailnetId);
  if (kept !== undefined) await storeCredential(context, tailnetId, { credential: kept, ...call });
  if (tailnet.state.controlId !== undefined) return tailnet;
  const displayName = displayNameOf(tailnet);
  const existing = (await context.controlPlane.listTailnets(call)).find((candidate) => candidate.displayName === displayName);
  let controlId = existing?.controlId;
  if (controlId === undefined) {
    await proveTailnet(context, tailnet, call);
    const made = await context.controlPlane.createTailnet(displayName, call);
    context.unstored.set(tailnetId, made.credential); // so that a cluster that does not answer now does not cost us the only copy
    await storeCredential(context, tailnetId, { credential: made.credential, ...call });
    controlId = made.controlId;
  }
  return keepTailnet(context, tailnet, { state: { ...tailnet.state, controlId }, ...call });
}

async function storeCredential(
  context: Context,
  tailnetId: string,
  { credential, signal }: { readonly credential: ControlCredential } & Call,
): Promise<void> {
  const { systemNamespace: namespace } = context.settings;
  const data = new Map([
    [CREDENTIAL_KEYS.clientId, new Secret(credential.clientId)],
    [CREDENTIAL_KEYS.clientSecret, credential.clientSecret],
  ]);
  await context.cluster.secrets.put({ namespace, name: tailnetSecretName(tailnetId), labels: { [LABELS.tailnetId]: tailnetId }, data }, { signal });
  context.unstored.delete(tailnetId);
}

async function recordFailure(context: Context, key: string, { error, signal }: { readonly error: BifrostError } & Call): Promise<Outcome> {
  const outcome: Outcome = error.retry === 'backoff' ? { kind: 'retry', error } : { kind: 'stopped', error };
  if (error.code === 'STORE_CONFLICT') return outcome; // an ordinary race, nobody's trouble
  if (error.code === 'STORE_NOT_FOUND') return { kind: 'retry', error };
  const tailnet = await context.store.tailnets.get(key, { signal });
  if (tailnet === undefined) return outcome;
  await keepTailnet(context, tailnet, { state: { ...tailnet.state, phase: failedPhase(tailnet, error), reason: reasonOf(error) }, signal });
  return outcome;
}

/** A passing trouble does not unmake a tailnet that works. */
function failedPhase({ deleting, state }: StoredTailnet, error: BifrostError): TailnetState['phase'] {
  if (deleting) return 'deleting';
  if (OF_POLICY.has(error.code) && (state.phase === 'active' || state.phase === 'degraded')) return 'degraded';
  if (error.retry === 'never') return 'failed';
  return state.phase === 'failed' ? 'creating' : state.phase;
}

async function removeTailnet(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome> {
  const sidecars = (await context.store.sidecars.list(call)).filter(({ spec }) => spec.tailnetName === tailnet.key);
  if (sidecars.length > 0) {
    const reason = { code: 'TAILNET_IN_USE', message: `Waits for ${sidecars.length} sidecars to be detached.`, path: 'tailnetName' };
    await keepTailnet(context, tailnet, { state: { ...tailnet.state, phase: 'deleting', reason }, ...call });
    // The call that deletes may have ended between its writes: a sidecar of a deleting tailnet removes itself.
    // One that waits for its pods hears of them, and is looked at less and less often, unless it is to be left now.
    const isQuiet = ({ state }: StoredSidecar): boolean => tailnet.spec.abandon !== true && state.reason?.code === 'PODS_REMAIN';
    for (const sidecar of sidecars) if (!isQuiet(sidecar)) context.touch('sidecar', sidecar.key);
    return { kind: 'waiting', recheckMs: 5_000 };
  }
  if (tailnet.spec.tenancy === 'organization') {
    const unsure = await deleteMade(context, tailnet, call);
    if (unsure !== undefined) return unsure;
    await context.cluster.secrets.remove({ namespace: context.settings.systemNamespace, name: tailnetSecretName(tailnet.spec.tailnetId) }, call);
    context.unstored.delete(tailnet.spec.tailnetId);
  } else await removeOwn(context, tailnet, call);
  await context.store.tailnets.finalize(tailnet, call);
  context.hindrances.forget(tailnet.key);
  forgetPolicy(context, tailnet);
  sawTailnet(context, tailnet.key, undefined);
  return SETTLED;
}

/**
 * Deletes a tailnet that we made, also one whose create reply never reached the store. That it is not listed says nothing of one that is on record: the
 * list may be older, or not ours to read any more. Of one that is not on record either it is looked for twice.
 */
async function deleteMade(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome | undefined> {
  const what = `made ${tailnet.spec.tailnetId}`;
  try {
    const displayName = displayNameOf(tailnet);
    const listed = (await context.controlPlane.listTailnets(call)).find((candidate) => candidate.displayName === displayName);
    const controlId = listed?.controlId ?? tailnet.state.controlId;
    const again = controlId === undefined ? context.missing.secondLook(what) : undefined;
    if (again === undefined) context.missing.forget(what);
    if (controlId === undefined) return again;
    const control = await controlOf(context, { ...tailnet, state: { ...tailnet.state, controlId } }, call);
    await control.deleteTailnet(call);
  } catch (error) {
    context.missing.forget(what);
    if (tailnet.spec.abandon !== true) throw error;
    await leaveAtControl(context, { error, key: tailnet.key, subject: tailnet.key, customerId: tailnet.spec.customerId }, call);
  }
  return undefined;
}
