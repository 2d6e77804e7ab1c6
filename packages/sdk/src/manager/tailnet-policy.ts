import { BifrostError } from '@bifrost/types/core';
import type { StoredTailnet, TailnetState } from '../domain/model.ts';
import { readPolicy } from '../domain/policy/judge-policy.ts';
import { mergePolicy } from '../domain/policy/policy-document.ts';
import type { TailnetControl } from '../ports/index.ts';
import { type Call, type Context, keepTailnet, type PolicyDrift } from './context.ts';
import { policyHash } from './hashes.ts';
import { managesPolicy } from './identities.ts';
import { quotingNobody } from './isolation.ts';
import { groupKeyOf, holdsParts, leaving, type Part, type PolicyGroup, policyGroupOf, tagsOf, wantedHash } from './policy-members.ts';
import { readCurrent, writeProven } from './policy-writing.ts';
import { sameJson } from './same-json.ts';
import { lacksKey } from './sidecar-keys.ts';
import { outdatedCount } from './tailnet-upgrade.ts';

interface PolicyWork extends Call {
  readonly control: TailnetControl;
}

/**
 * Keeps our entries in a tailnet's policy, where that is ours to do: they follow the configuration, and come back when somebody has changed them; what
 * others have written stays.
 *
 * Whose an entry is, the file itself says: a manager that ends between any two lines of this leaves nothing that the next does not find.
 *
 * @throws {BifrostError} `POLICY_UNREADABLE`; `POLICY_REFUSED`; `ISOLATION_VIOLATED`; `CONTROL_CONFLICT` — somebody wrote meanwhile: it is read and merged again
 */
export async function settlePolicy(context: Context, tailnet: StoredTailnet, work: PolicyWork): Promise<StoredTailnet> {
  const { spec, state } = tailnet;
  if (!managesPolicy(spec)) return state.policyWritten === true || state.policyReason !== undefined ? unmanaged(context, tailnet, work) : tailnet;
  try {
    return await keepPolicy(context, tailnet, work);
  } catch (error) {
    if (spec.tenancy !== 'customer-owned' || !BifrostError.is(error) || error.code !== 'CONTROL_DENIED') throw error;
    const message =
      'The OAuth client may not change the policy: give it the scope policy_file, or set managePolicy to false. Until then the guard alone holds what is allowed and blocked.';
    const denied: TailnetState = { ...state, policyReason: { code: 'CONTROL_DENIED', message, path: 'managePolicy' } };
    return keepTailnet(context, tailnet, { state: denied, outdated: outdatedCount(context, tailnet), signal: work.signal });
  }
}

async function keepPolicy(context: Context, tailnet: StoredTailnet, { control, ...call }: PolicyWork): Promise<StoredTailnet> {
  const group = groupKeyOf(tailnet);
  const wanted = await wantedHash(context, tailnet, call);
  return context.policies.alone(group, call, async () => {
    const sinceMs = context.clock.nowMs() - context.settings.resyncMs / 2;
    const look = tailnet.spec.tenancy === 'shared' ? context.policies.lookSince(sinceMs, { group, key: tailnet.key, hash: wanted }) : undefined;
    if (look?.error !== undefined && !(look.holds === true && isOnRecord(context, tailnet, wanted))) throw look.error;
    return look === undefined ? lookAtPolicy(context, tailnet, { control, ...call }) : recorded(context, tailnet, { wanted, ...call });
  });
}

/** Also of one that is refused or paused: nothing is compiled of it. */
export async function withdrawPolicy(context: Context, tailnet: StoredTailnet, work: PolicyWork): Promise<void> {
  const takeOut = (): Promise<void> => takeOutOfPolicy(context, tailnet, work);
  await context.policies.alone(groupKeyOf(tailnet), work, () =>
    tailnet.spec.tenancy === 'shared' ? quotingNobody(context.logger, takeOut) : takeOut(),
  );
}

async function takeOutOfPolicy(context: Context, tailnet: StoredTailnet, { control, ...call }: PolicyWork): Promise<void> {
  const current = await readCurrent(context, { tailnet, control }, call);
  const group = await policyGroupOf(context, tailnet, call);
  context.policies.forget(groupKeyOf(tailnet));
  const text = mergePolicy(current.text, group.sections, group.ownership);
  if (text !== current.text) await writeProven(context, { tailnet, control, group, text, over: current }, call);
}

/** A customer's own policy that is not to be kept any more, or that could not be. */
async function unmanaged(context: Context, tailnet: StoredTailnet, work: PolicyWork): Promise<StoredTailnet> {
  if (tailnet.state.policyWritten === true) await withdrawPolicy(context, tailnet, work);
  const { policyWritten: _, policyHash: __, policyReason: ___, ...state } = tailnet.state;
  return keepTailnet(context, tailnet, { state, outdated: outdatedCount(context, tailnet), signal: work.signal });
}

/** Whether that part is what was written of it last, by the record and by what is known here. */
const isOnRecord = ({ policies }: Context, { key, state }: StoredTailnet, hash: string): boolean =>
  state.policyHash === hash && !policies.hasOther(key, hash);

const writtenOf = (context: Context, parts: readonly Part[]): readonly Part[] =>
  parts.filter(({ tailnet, hash }) => isOnRecord(context, tailnet, hash));

/** Reads, merges and writes for all that have entries there, and records it for this one; the others' rounds record theirs. */
async function lookAtPolicy(context: Context, tailnet: StoredTailnet, { control, ...call }: PolicyWork): Promise<StoredTailnet> {
  const current = await readCurrent(context, { tailnet, control }, call);
  const group = await policyGroupOf(context, tailnet, call);
  const hashes = new Map(group.parts.map(({ tailnet: { key }, hash }) => [key, hash]));
  const atMs = context.clock.nowMs();
  const isShared = tailnet.spec.tenancy === 'shared';
  const saw = (trouble: { readonly error?: BifrostError; readonly holds?: boolean } = {}): void => {
    // Nobody else comes with a wish of the others'.
    if (isShared) context.policies.saw(groupKeyOf(tailnet), { atMs, hashes, ...trouble });
  };
  context.policies.forget(groupKeyOf(tailnet));
  let begun = tailnet;
  const begin = async (): Promise<void> => {
    begun = await beginning(context, tailnet, call);
  };
  const brought = () => bring(context, { tailnet, group, current, control, begin }, call);
  try {
    const isLeft = (await (isShared ? quotingNobody(context.logger, brought) : brought())) === 'left';
    saw();
    if (isLeft) return tailnet;
    for (const part of group.parts) context.policies.isInForce(part.tailnet.key, { hash: part.hash, tags: new Set(tagsOf(part)) });
  } catch (error) {
    // What passes by itself is tried by each; what a person must mend is told to each.
    if (!BifrostError.is(error) || error.retry !== 'never' || call.signal.aborted) throw error;
    const holds = isForOthers(context, { tailnet, group, current }, error);
    saw({ error, holds });
    if (!holds || !isOnRecord(context, tailnet, hashes.get(tailnet.key) ?? '')) throw error; // else its own part is in force
  }
  for (const { tailnet: part, hash } of group.parts)
    if (part.key !== tailnet.key && part.state.policyHash !== hash) context.touch('tailnet', part.key);
  return recorded(context, begun, { wanted: hashes.get(tailnet.key) ?? '', ...call });
}

interface Found {
  readonly tailnet: StoredTailnet;
  readonly group: PolicyGroup;
  readonly current: { readonly text: string; readonly etag: string };
}

/** Whether a change that is not taken is one for those alone whose part is not on record: what is, is in force all the same. */
function isForOthers(context: Context, { tailnet, group: { parts }, current }: Found, { code }: BifrostError): boolean {
  const written = writtenOf(context, parts);
  if (written.length === parts.length || code === 'POLICY_UNREADABLE') return false;
  return tailnet.spec.tenancy !== 'shared' || holdsParts(context, current.text, written);
}

interface Bringing extends Found {
  readonly control: TailnetControl;
  /** Before the first write. */
  readonly begin: () => Promise<void>;
}

/** `left`: somebody else's edit of our entries, which is not to be repaired. */
async function bring(context: Context, bringing: Bringing, call: Call): Promise<'as wanted' | 'left'> {
  const { tailnet, group, current, control, begin } = bringing;
  const { tenancy } = tailnet.spec;
  if (tenancy === 'customer-owned') requireRules(current.text);
  const merged = mergePolicy(current.text, group.sections, group.ownership);
  if (merged === current.text) {
    tellRepaired(context, tailnet);
    return 'as wanted';
  }
  if (tenancy === 'organization' && tailnet.state.policyWritten !== true) {
    await writeFirst(context, bringing, call);
    return 'as wanted';
  }
  const changed = changedGroup(context, bringing);
  const drift = (repaired: boolean): void => {
    if (changed.isEdited) tellDrift(context, tailnet, { repaired, foundHash: policyHash(current.text) });
  };
  if (changed.group !== group) drift(false);
  if (changed.group === undefined) return 'left';
  const next = changed.group === group ? merged : mergePolicy(current.text, changed.group.sections, changed.group.ownership);
  try {
    await writeProven(context, { tailnet, control, group: changed.group, text: next, over: current, begin }, call);
  } catch (error) {
    // What has come meanwhile is looked at next.
    if (!call.signal.aborted && !(BifrostError.is(error) && error.code === 'CONTROL_CONFLICT')) drift(false);
    throw error;
  }
  if (changed.group === group) drift(true);
  else context.driftedPolicies.set(driftKeyOf(tailnet), { repaired: false, foundHash: policyHash(next) }); // with the edit in it that has been told
  return 'as wanted';
}

interface Changed {
  /** Undefined: nothing is written. */
  readonly group: PolicyGroup | undefined;
  readonly isEdited: boolean;
}

/**
 * The group as it is to be written: without those whose entries somebody else has edited, where that is not to be repaired.
 *
 * What differs in the file of a part that is recorded as it is wanted, is somebody else's edit.
 */
function changedGroup(context: Context, { tailnet, group, current }: Found): Changed {
  const written = writtenOf(context, group.parts);
  const isAll = written.length === group.parts.length;
  const isEdited = isAll || (tailnet.spec.tenancy === 'shared' && !holdsParts(context, current.text, written));
  if (!isEdited || context.settings.repairPolicy) return { group, isEdited };
  return { group: isAll ? undefined : leaving(context, group, written), isEdited };
}

/** From now on our entries may be in a customer's own policy: whoever ends its keeping takes them out. */
async function beginning(context: Context, tailnet: StoredTailnet, { signal }: Call): Promise<StoredTailnet> {
  const { spec, state } = tailnet;
  if (spec.tenancy !== 'customer-owned' || state.policyWritten === true) return tailnet;
  return keepTailnet(context, tailnet, { state: { ...state, policyWritten: true }, outdated: outdatedCount(context, tailnet), signal });
}

/** @throws {BifrostError} `POLICY_REFUSED` — it has no rules at all, which allows everything: with ours in it, all else of the customer's would be denied */
function requireRules(text: string): void {
  if (readPolicy(text)?.openToAll !== true) return;
  throw new BifrostError({
    code: 'POLICY_REFUSED',
    message:
      'The policy has neither grants nor acls, which allows everything; with entries of ours all else would be denied. Write the own ones first.',
    issues: [{ path: 'policy', message: 'has no rules of its own' }],
  });
}

/** In the place of the policy that a new tailnet begins with, which allows everything; where somebody has written one already, into theirs. */
async function writeFirst(context: Context, { tailnet, group, current, control }: Bringing, call: Call): Promise<void> {
  const write = (over: Bringing['current']): Promise<void> =>
    writeProven(context, { tailnet, control, group, text: mergePolicy(over.text, group.sections, group.ownership), over }, call);
  try {
    await write({ text: '{}\n', etag: 'ts-default' });
  } catch (error) {
    if (!BifrostError.is(error) || error.code !== 'CONTROL_CONFLICT') throw error;
    await write(current);
  }
}

/** By whom a drift is told once: two of one customer's tailnets may be two at the control plane. */
const driftKeyOf = (tailnet: StoredTailnet): string => (tailnet.spec.tenancy === 'shared' ? groupKeyOf(tailnet) : `tailnet ${tailnet.key}`);

/** For one that is gone: who comes under its name later has a policy of its own. */
export function forgetPolicy({ driftedPolicies, policies, proofDue }: Context, tailnet: StoredTailnet): void {
  policies.forgetTailnet(tailnet.key);
  if (tailnet.spec.tenancy === 'shared') return;
  driftedPolicies.delete(driftKeyOf(tailnet));
  proofDue.forget(groupKeyOf(tailnet));
}

/** Once for each text that is found, and once more when it is repaired after all: it is looked at again and again. */
function tellDrift(context: Context, tailnet: StoredTailnet, drift: PolicyDrift): void {
  const { key, spec } = tailnet;
  const { repaired } = drift;
  const drifted = driftKeyOf(tailnet);
  if (sameJson(context.driftedPolicies.get(drifted), drift)) return;
  context.driftedPolicies.set(drifted, drift);
  context.logger.log('warn', 'entries of ours in the policy have been changed by somebody else', { tailnet: key, repaired });
  context.events.emit('policy:drifted', { tailnetName: key, customerId: spec.customerId, repaired, atMs: context.clock.nowMs() });
}

/** What was told as one that stands, and is written over by now: by a write whose reply was lost, or by whoever made the edit. */
function tellRepaired(context: Context, tailnet: StoredTailnet): void {
  const told = context.driftedPolicies.get(driftKeyOf(tailnet));
  if (told?.repaired === false && context.settings.repairPolicy) tellDrift(context, tailnet, { ...told, repaired: true });
}

async function recorded(context: Context, tailnet: StoredTailnet, { wanted, signal }: { readonly wanted: string } & Call): Promise<StoredTailnet> {
  const { policyPending: _, policyReason: __, ...state } = tailnet.state;
  const isNew = state.policyHash !== wanted || tailnet.state.policyReason !== undefined;
  if (state.policyWritten === true && !isNew && tailnet.state.policyPending === undefined) return tailnet;
  const kept = await keepTailnet(context, tailnet, {
    state: { ...state, policyWritten: true, policyHash: wanted },
    outdated: outdatedCount(context, tailnet),
    signal,
  });
  // Their keys wait for it.
  if (isNew) for (const sidecar of context.observed.sidecarsOf(kept.key)) if (lacksKey(kept, sidecar)) context.touch('sidecar', sidecar.key);
  return kept;
}
