import { BifrostError } from '@bifrost/types/core';
import type { StoredTailnet } from '../domain/model.ts';
import { compilePolicy, type PolicySections } from '../domain/policy/compile-policy.ts';
import { mergePolicy } from '../domain/policy/policy-document.ts';
import type { TailnetControl } from '../ports/index.ts';
import { type Call, type Context, keepTailnet } from './context.ts';
import { policyHash } from './hashes.ts';
import { outdatedCount } from './tailnet-upgrade.ts';

interface PolicyWork extends Call {
  readonly control: TailnetControl;
}

/** What the policy of a tailnet is to hold of ours. */
export const sectionsOf = ({ settings: { deviceTags, routerTag } }: Context, { spec: { config } }: Pick<StoredTailnet, 'spec'>): PolicySections =>
  compilePolicy({ members: [{ sourceTags: deviceTags, routerTag, config, books: [] }], shared: false });

/** Our name space, and whatever tags this installation gives to devices instead. */
const ownTags =
  ({ settings: { deviceTags, routerTag } }: Context) =>
  (tag: string): boolean =>
    tag.startsWith('tag:bifrost-') || tag === routerTag || deviceTags.includes(tag);

/**
 * The policy of a tailnet that we made: our entries in it follow the configuration, and come back when somebody has changed them; what others have
 * written stays. A new tailnet allows everything: its policy is written before its first key.
 *
 * Whose an entry is, the file itself says: a manager that ends between any two lines of this leaves nothing that the next does not find.
 *
 * @throws {BifrostError} `POLICY_UNREADABLE`; `CONTROL_CONFLICT` — somebody wrote meanwhile: it is read and merged again
 */
export async function keepPolicy(context: Context, tailnet: StoredTailnet, { control, ...call }: PolicyWork): Promise<StoredTailnet> {
  const sections = sectionsOf(context, tailnet);
  const wanted = policyHash(JSON.stringify(sections));
  const current = await control.readPolicy(call);
  const merged = mergePolicy(current.text, sections, ownTags(context));
  if (merged === current.text) return recorded(context, tailnet, { wanted, ...call });
  if (tailnet.state.policyWritten !== true) {
    await writeFirst(context, { control, sections, merged, etag: current.etag, ...call });
    return recorded(context, tailnet, { wanted, ...call });
  }
  if (tailnet.state.policyHash === wanted) {
    const repaired = context.settings.repairPolicy;
    tellDrift(context, tailnet, { repaired, foundHash: policyHash(current.text) });
    if (!repaired) return tailnet;
  }
  await control.writePolicy(merged, current.etag, call);
  return recorded(context, tailnet, { wanted, ...call });
}

/** In the place of the policy that a new tailnet begins with, which allows everything; where somebody has written one already, into theirs. */
async function writeFirst(
  context: Context,
  { control, sections, merged, etag, ...call }: PolicyWork & { readonly sections: PolicySections; readonly merged: string; readonly etag: string },
): Promise<void> {
  try {
    await control.writePolicy(mergePolicy('{}\n', sections, ownTags(context)), 'ts-default', call);
  } catch (error) {
    if (!BifrostError.is(error) || error.code !== 'CONTROL_CONFLICT') throw error;
    await control.writePolicy(merged, etag, call);
  }
}

/** Once for each text that is found: it is looked at again and again. */
function tellDrift(
  context: Context,
  { key, spec: { customerId } }: StoredTailnet,
  { repaired, foundHash }: { readonly repaired: boolean; readonly foundHash: string },
): void {
  if (context.driftedPolicies.get(key) === foundHash) return;
  context.driftedPolicies.set(key, foundHash);
  context.logger.log('warn', 'entries of ours in the policy have been changed by somebody else', { tailnet: key, repaired });
  context.events.emit('policy:drifted', { tailnetName: key, customerId, repaired, atMs: context.clock.nowMs() });
}

async function recorded(context: Context, tailnet: StoredTailnet, { wanted, signal }: { readonly wanted: string } & Call): Promise<StoredTailnet> {
  const { policyPending: _, ...state } = tailnet.state;
  if (state.policyWritten === true && state.policyHash === wanted && tailnet.state.policyPending === undefined) return tailnet;
  return keepTailnet(context, tailnet, {
    state: { ...state, policyWritten: true, policyHash: wanted },
    outdated: outdatedCount(context, tailnet),
    signal,
  });
}
