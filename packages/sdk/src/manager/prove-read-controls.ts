import type { ProofInput } from '@bifrost/types/core';
import type { StoredTailnet } from '../domain/model.ts';
import { controlKeyOf, SHARED, unreadInput } from '../domain/policy/proof-evidence.ts';
import type { TailnetControl } from '../ports/index.ts';
import { mapBounded } from './bounded.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { networkHash } from './hashes.ts';
import { read } from './prove-read-one.ts';

/** Of those of one tailnet at the control plane; several only in tenancy `shared`. */
async function controlInputs(
  context: Context,
  [key, tailnets]: readonly [string, readonly StoredTailnet[]],
  call: Call,
): Promise<readonly ProofInput[]> {
  const tailnet = tailnets.find(({ state }) => state.phase === 'active') ?? tailnets[0];
  const isManaged = tailnets.some(
    ({ spec, state }) => (state.policyWritten === true && spec.tenancy !== 'customer-owned') || spec.tenancy === SHARED,
  );
  // One that is yet to be made has nothing in it.
  if (tailnet === undefined || (tailnet.state.controlId === undefined && tailnet.state.phase !== 'active')) return [];
  let control: Promise<TailnetControl> | undefined;
  const opened = (): Promise<TailnetControl> => {
    control ??= controlOf(context, tailnet, call);
    return control;
  };
  const devices = await read({ kind: 'devices', key, ...call }, async () =>
    (await (await opened()).listDevices(call)).map(({ deviceId, name, tags, addresses, enabledRoutes }) => ({
      ...{ deviceId, name, tags, addresses, routes: enabledRoutes },
    })),
  );
  if (!isManaged) return [devices];
  return [devices, await read({ kind: 'policy', key, ...call }, async () => (await (await opened()).readPolicy(call)).text)];
}

const groupsOf = (tailnets: readonly StoredTailnet[]): ReadonlyMap<string, readonly StoredTailnet[]> =>
  Map.groupBy(tailnets, ({ key, spec }) => controlKeyOf(key, spec));

/** What a policy is judged by. */
const intentsOf = (tailnets: readonly StoredTailnet[] = []): string =>
  JSON.stringify(tailnets.map(({ key, spec }) => [key, spec.tailnetId, networkHash(spec.config)]).sort());

/**
 * Of all tailnets at the control plane. Where something else is wanted of one by the time that all are read, its policy is no evidence: nobody says which of
 * the two was read first, and one that has just been widened would look open beyond what is meant.
 */
export async function controlsInputs(context: Context, tailnets: readonly StoredTailnet[], call: Call): Promise<readonly ProofInput[]> {
  const groups = groupsOf(tailnets);
  const inputs = await mapBounded([...groups], context.settings.concurrency, async (group) => ({
    key: group[0],
    found: await controlInputs(context, group, call),
  }));
  const later = groupsOf((await context.store.tailnets.list(call)).filter(({ deleting }) => !deleting));
  return inputs.flatMap(({ key, found }) => {
    if (intentsOf(groups.get(key)) === intentsOf(later.get(key))) return found;
    const moved = unreadInput('policy', key, 'STORE_CONFLICT');
    return found.map((input) => (input.name === moved.name ? moved : input));
  });
}
