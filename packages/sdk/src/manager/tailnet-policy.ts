import { initialPolicy } from '../domain/initial-policy.ts';
import type { StoredTailnet, TailnetState } from '../domain/model.ts';
import type { TailnetControl } from '../ports/index.ts';
import { type Call, type Context, keepTailnet } from './context.ts';
import { policyHash } from './hashes.ts';
import { outdatedCount } from './tailnet-upgrade.ts';

/**
 * The policy of a tailnet that we made. A new tailnet allows everything: its policy is written before its first key. Later it follows the
 * configuration, as long as what is there is what we wrote: a policy that somebody else wrote is left alone. What is about to be written is stored
 * first. Else a manager that ends after the write, or a configuration that changes meanwhile, would make a stranger's policy of ours.
 */
export async function keepPolicy(
  context: Context,
  tailnet: StoredTailnet,
  { control, signal }: { readonly control: TailnetControl } & Call,
): Promise<StoredTailnet> {
  const { deviceTags, routerTag } = context.settings;
  const text = initialPolicy({ config: tailnet.spec.config, bookTags: deviceTags, routerTag });
  const [wanted, { policyHash: written, policyPending: pending }] = [policyHash(text), tailnet.state];
  if (written === wanted && pending === undefined) return tailnet;
  const current = await control.readPolicy({ signal });
  const there = policyHash(current.text);
  if (there === wanted) return keep(context, tailnet, { state: { policyWritten: true, policyHash: wanted }, signal });
  const isOurs = there === written || there === pending;
  if (!isOurs && tailnet.state.policyWritten === true) {
    context.logger.log('debug', 'the policy has been edited by somebody else and is left as it is', { tailnet: tailnet.key });
    return tailnet;
  }
  const known = isOurs ? { policyWritten: true, policyHash: there } : {};
  const marked = await keep(context, tailnet, { state: { ...known, policyPending: wanted }, signal });
  await control.writePolicy(text, isOurs ? current.etag : 'ts-default', { signal });
  return keep(context, marked, { state: { policyWritten: true, policyHash: wanted }, signal });
}

type PolicyState = Pick<TailnetState, 'policyWritten' | 'policyHash' | 'policyPending'>;

function keep(context: Context, tailnet: StoredTailnet, { state, signal }: { readonly state: PolicyState } & Call): Promise<StoredTailnet> {
  const { policyWritten: _written, policyHash: _hash, policyPending: _pending, ...rest } = tailnet.state;
  return keepTailnet(context, tailnet, { state: { ...rest, ...state }, outdated: outdatedCount(context, tailnet), signal });
}
