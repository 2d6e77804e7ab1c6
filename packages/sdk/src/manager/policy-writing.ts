import type { StoredTailnet } from '../domain/model.ts';
import type { TailnetControl } from '../ports/index.ts';
import { requireIntended } from './before-writing.ts';
import type { Call, Context } from './context.ts';
import { policyHash } from './hashes.ts';
import { requireIsolated } from './isolation.ts';
import { groupKeyOf, type PolicyGroup, provenOf } from './policy-members.ts';

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
  readonly etag: string;
  /** Before the write, when the proof holds. */
  readonly begin?: () => Promise<void>;
}

/**
 * Nothing of a policy is written but by this. It is proven first: no entry of ours reaches beyond its customer's intent, and where customers share the
 * tailnet no entry of anybody's lets one reach another.
 *
 * @throws {BifrostError} `ISOLATION_VIOLATED`; `POLICY_REFUSED`; `CONTROL_CONFLICT`
 */
export async function writeProven(context: Context, { tailnet, control, group, text, etag, begin }: PolicyWrite, call: Call): Promise<void> {
  try {
    requireIntended(text, group);
    if (tailnet.spec.tenancy === 'shared') requireIsolated(text, provenOf(group, await control.listDevices(call)), context.logger);
  } catch (error) {
    context.proofDue.soon(); // what is there now is as open, or it is not: who listens is told
    throw error;
  }
  await begin?.();
  await control.writePolicy(text, etag, call);
  context.proofDue.wrote(groupKeyOf(tailnet), policyHash(text));
}
