import { initialPolicy } from '../domain/initial-policy.ts';
import type { StoredTailnet, TailnetState } from '../domain/model.ts';
import type { TailnetControl } from '../ports/index.ts';
import type { Call, Context } from './context.ts';
import { policyHash } from './hashes.ts';

/**
 * The policy of a tailnet that we made. A new tailnet allows everything: its policy is written before its first key. Later it follows the
 * configuration, as long as what is there is what we wrote last: a policy that somebody else wrote is left alone.
 */
export async function keepPolicy(
  context: Context,
  tailnet: StoredTailnet,
  { control, signal }: { readonly control: TailnetControl } & Call,
): Promise<Pick<TailnetState, 'policyWritten' | 'policyHash'>> {
  const { deviceTags, routerTag } = context.settings;
  const text = initialPolicy({ config: tailnet.spec.config, bookTags: deviceTags, routerTag });
  const { policyWritten = false, policyHash: written } = tailnet.state;
  if (written === policyHash(text)) return { policyWritten: true, policyHash: written };
  const current = await control.readPolicy({ signal });
  // Ours already: the reply of an earlier write was lost.
  if (current.text === text) return { policyWritten: true, policyHash: policyHash(text) };
  if (!policyWritten) await control.writePolicy(text, 'ts-default', { signal });
  else if (written === policyHash(current.text)) await control.writePolicy(text, current.etag, { signal });
  else {
    context.logger.log('debug', 'the policy has been edited by somebody else and is left as it is', { tailnet: tailnet.key });
    return { policyWritten: true, ...(written === undefined ? {} : { policyHash: written }) };
  }
  return { policyWritten: true, policyHash: policyHash(text) };
}
