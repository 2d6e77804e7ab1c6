import { BifrostError } from '@bifrost/types/core';
import type { StoredTailnet } from '../domain/model.ts';
import { isNoWorse } from '../domain/policy/isolation-change.ts';
import { mergePolicy } from '../domain/policy/policy-document.ts';
import type { ProvenCustomer } from '../domain/policy/prove-isolation.ts';
import type { TailnetControl } from '../ports/index.ts';
import { requireIntended } from './before-writing.ts';
import type { Call, Context } from './context.ts';
import { policyHash } from './hashes.ts';
import { requireIsolated } from './isolation.ts';
import { groupKeyOf, leaving, type PolicyGroup, provenOf } from './policy-members.ts';

interface Place {
  readonly tailnet: StoredTailnet;
  readonly control: TailnetControl;
}

/** Reads a policy. Somebody's edit of one that a proof judges has isolation proven soon. */
export async function readCurrent({ proofDue }: Context, { tailnet, control }: Place, call: Call): ReturnType<TailnetControl['readPolicy']> {
  const current = await control.readPolicy(call);
  if (tailnet.spec.tenancy !== 'customer-owned') proofDue.read(groupKeyOf(tailnet), policyHash(current.text));
  return current;
}

/** What is written, for whom, and over which state. */
export interface PolicyWrite extends Place {
  readonly group: PolicyGroup;
  readonly text: string;
  readonly over: { readonly text: string; readonly etag: string };
  /** Before the write, when the proof holds. */
  readonly begin?: () => Promise<void>;
}

/**
 * Nothing of a policy is written but by this. It is proven first: no entry of ours reaches beyond its customer's intent, and where customers share the
 * tailnet no entry of anybody's lets one reach another. What is refused for others' entries is written without whoever would be new there: nobody joins
 * what is open, but what is to be taken away goes.
 *
 * @throws {BifrostError} `ISOLATION_VIOLATED`; `POLICY_REFUSED`; `CONTROL_CONFLICT`
 */
export async function writeProven(context: Context, write: PolicyWrite, call: Call): Promise<void> {
  const { tailnet, control, group, text, over } = write;
  try {
    requireIntended(text, group);
    if (tailnet.spec.tenancy === 'shared') await requireApart(context, write, call);
  } catch (error) {
    if (BifrostError.is(error) && error.code === 'ISOLATION_VIOLATED') context.proofDue.refused(groupKeyOf(tailnet), policyHash(over.text));
    throw error;
  }
  await write.begin?.();
  await control.writePolicy(text, over.etag, call);
  context.proofDue.wrote(groupKeyOf(tailnet), policyHash(text));
}

async function requireApart(context: Context, write: PolicyWrite, call: Call): Promise<void> {
  const customers = provenOf(write.group, await write.control.listDevices(call));
  try {
    requireIsolated(write.text, customers, context.logger);
  } catch (error) {
    await writeLess(context, { ...write, customers }, call).catch((refusal: unknown) => {
      if (!BifrostError.is(refusal) || call.signal.aborted) throw refusal; // else why this was tried at all is what there is to tell
    });
    throw error;
  }
}

/** For those alone that are in the policy already, if that makes nothing worse. The server may refuse it: our tests fail on what is open. */
async function writeLess(
  context: Context,
  { tailnet, control, group, over, customers }: PolicyWrite & { readonly customers: readonly ProvenCustomer[] },
  call: Call,
): Promise<void> {
  const known = leaving(
    context,
    group,
    group.parts.filter((part) => part.tailnet.state.policyHash === undefined),
  );
  const less = mergePolicy(over.text, known.sections, known.ownership);
  if (less === over.text || !isNoWorse(less, over.text, customers)) return;
  requireIntended(less, known);
  await control.writePolicy(less, over.etag, call);
  context.proofDue.wrote(groupKeyOf(tailnet), policyHash(less));
}
