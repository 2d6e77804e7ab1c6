import type { StoredTailnet } from '../domain/model.ts';
import type { TailnetControl } from '../ports/index.ts';
import { leaveAtControl } from './abandon.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { customerTags } from './identities.ts';
import { withdrawPolicy } from './tailnet-policy.ts';

/**
 * Takes what is ours out of a tailnet that stays: entries of its policy, and, where several customers are in it, this one's keys and machines, routers
 * too. Keys go first: with one a machine that was deleted would come back.
 */
export async function removeOwn(context: Context, tailnet: StoredTailnet, call: Call): Promise<void> {
  const { spec, state } = tailnet;
  const isShared = spec.tenancy === 'shared';
  if (!isShared && state.policyWritten !== true) return;
  try {
    const control = await controlOf(context, tailnet, call);
    if (isShared) await cut(tailnet, control, call);
    await withdrawPolicy(context, tailnet, { control, ...call });
  } catch (error) {
    if (spec.abandon !== true) throw error;
    await leaveAtControl(context, { error, key: tailnet.key, subject: tailnet.key, customerId: spec.customerId }, call);
  }
}

async function cut(tailnet: StoredTailnet, control: TailnetControl, call: Call): Promise<void> {
  const own = Object.values<string>({ ...customerTags(tailnet) });
  const isOwn = ({ tags }: { readonly tags: readonly string[] }): boolean => tags.some((tag) => own.includes(tag));
  for (const { keyId } of (await control.listKeys(call)).filter(isOwn)) await control.revokeKey(keyId, call);
  for (const { deviceId } of (await control.listDevices(call)).filter(isOwn)) await control.deleteDevice(deviceId, call);
}
