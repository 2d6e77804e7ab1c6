import { BifrostError, Secret } from '@bifrost/types/core';
import { initialPolicy } from '../domain/initial-policy.ts';
import type { StoredTailnet, TailnetState } from '../domain/model.ts';
import { LABELS, tailnetSecretName } from '../domain/names.ts';
import type { ControlCredential, TailnetControl } from '../ports/index.ts';
import { type Call, type Context, CREDENTIAL_KEYS, controlOf, reasonOf } from './context.ts';
import { sameJson } from './same-json.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/** Name of a tailnet that we make: carries our id, so that a lost create reply is found again and no stranger's tailnet is taken for ours. */
export const displayNameOf = (tailnet: StoredTailnet): string => `${tailnet.key.slice(0, 40)}-${tailnet.spec.tailnetId.slice(0, 8)}`;

/** Brings the control plane to what the stored tailnet wants. Level-triggered: reads both sides every time. */
export async function reconcileTailnet(context: Context, key: string, call: Call): Promise<Outcome> {
  const tailnet = await context.store.tailnets.get(key, call);
  saw(context, key, tailnet);
  if (tailnet === undefined) return SETTLED;
  try {
    return await (tailnet.deleting ? removeTailnet : establish)(context, tailnet, call);
  } catch (error) {
    if (!BifrostError.is(error) || call.signal.aborted) throw error;
    return await recordFailure(context, key, { error, ...call });
  }
}

/** Tells listeners what is new, and its sidecars when it has become active: they wait for it. */
function saw(context: Context, key: string, tailnet: StoredTailnet | undefined): void {
  if (!context.announcer.sawTailnet(key, tailnet)) return;
  for (const sidecarKey of context.announcer.sidecarsOf(key)) context.touch('sidecar', sidecarKey);
}

async function establish(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome> {
  const found = tailnet.spec.tenancy === 'organization' ? await ensureMade(context, tailnet, call) : tailnet;
  const control = await controlOf(context, found, call);
  const { controlId, dnsName } = await control.describe(call);
  const policyWritten =
    found.state.policyWritten === true || (found.spec.tenancy === 'organization' && (await writeInitialPolicy(context, found, { control, ...call })));
  const state: TailnetState = {
    phase: 'active',
    controlId,
    ...(dnsName === undefined ? {} : { dnsName }),
    ...(policyWritten ? { policyWritten } : {}),
  };
  if (sameJson(state, found.state)) return SETTLED;
  saw(context, tailnet.key, await context.store.tailnets.replaceState(found, state, call));
  return SETTLED;
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
    const made = await context.controlPlane.createTailnet(displayName, call);
    context.unstored.set(tailnetId, made.credential); // so that a cluster that does not answer now does not cost us the only copy
    await storeCredential(context, tailnetId, { credential: made.credential, ...call });
    controlId = made.controlId;
  }
  const made = await context.store.tailnets.replaceState(tailnet, { ...tailnet.state, controlId }, call);
  saw(context, made.key, made);
  return made;
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

/** A new tailnet allows everything: its policy is written before its first key. A policy that somebody else wrote is left alone. */
async function writeInitialPolicy(
  context: Context,
  tailnet: StoredTailnet,
  { control, signal }: { readonly control: TailnetControl } & Call,
): Promise<boolean> {
  const { deviceTags, routerTag } = context.settings;
  const text = initialPolicy({ config: tailnet.spec.config, bookTags: deviceTags, routerTag });
  const current = await control.readPolicy({ signal });
  // Ours already: the reply of an earlier write was lost.
  if (current.text !== text) await control.writePolicy(text, 'ts-default', { signal });
  return true;
}

async function recordFailure(context: Context, key: string, { error, signal }: { readonly error: BifrostError } & Call): Promise<Outcome> {
  const outcome: Outcome = error.retry === 'backoff' ? { kind: 'retry', error } : { kind: 'stopped', error };
  if (error.code === 'STORE_CONFLICT') return outcome; // an ordinary race, nobody's trouble
  const tailnet = await context.store.tailnets.get(key, { signal });
  if (tailnet === undefined) return outcome;
  const state: TailnetState = { ...tailnet.state, phase: failedPhase(tailnet, error), reason: reasonOf(error) };
  if (!sameJson(state, tailnet.state)) saw(context, key, await context.store.tailnets.replaceState(tailnet, state, { signal }));
  return outcome;
}

/** A passing trouble does not unmake a tailnet that works. */
function failedPhase({ deleting, state }: StoredTailnet, error: BifrostError): TailnetState['phase'] {
  if (deleting) return 'deleting';
  if (error.retry === 'never') return 'failed';
  return state.phase === 'failed' ? 'creating' : state.phase;
}

async function removeTailnet(context: Context, tailnet: StoredTailnet, call: Call): Promise<Outcome> {
  const sidecars = (await context.store.sidecars.list(call)).filter(({ spec }) => spec.tailnetName === tailnet.key);
  if (sidecars.length > 0) {
    const reason = { code: 'TAILNET_IN_USE', message: `Waits for ${sidecars.length} sidecars to be detached.`, path: 'tailnetName' };
    const state: TailnetState = { ...tailnet.state, phase: 'deleting', reason };
    if (!sameJson(state, tailnet.state)) saw(context, tailnet.key, await context.store.tailnets.replaceState(tailnet, state, call));
    // The call that deletes may have ended between its writes: a sidecar of a deleting tailnet removes itself.
    for (const { key, deleting } of sidecars) if (!deleting) context.touch('sidecar', key);
    return { kind: 'waiting', recheckMs: 5_000 };
  }
  if (tailnet.spec.tenancy === 'organization') {
    await deleteMade(context, tailnet, call);
    await context.cluster.secrets.remove({ namespace: context.settings.systemNamespace, name: tailnetSecretName(tailnet.spec.tailnetId) }, call);
    context.unstored.delete(tailnet.spec.tailnetId);
  }
  await context.store.tailnets.finalize(tailnet, call);
  saw(context, tailnet.key, undefined);
  return SETTLED;
}

/** Deletes a tailnet that we made, also one whose create reply never reached the store. */
async function deleteMade(context: Context, tailnet: StoredTailnet, call: Call): Promise<void> {
  const displayName = displayNameOf(tailnet);
  const present = await context.controlPlane.listTailnets(call);
  const listed = present.find((candidate) => candidate.displayName === displayName);
  // An empty list may also mean that no organization client is configured any more: then only its own client knows.
  if (listed === undefined && present.length > 0) return;
  const controlId = listed?.controlId ?? tailnet.state.controlId;
  if (controlId === undefined) return;
  const control = await controlOf(context, { ...tailnet, state: { ...tailnet.state, controlId } }, call);
  await control.deleteTailnet(call);
}
