import { BifrostError } from '@bifrost/types/core';
import type { Stored, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { Collection } from '../ports/index.ts';
import type { Call } from './context.ts';

/** The loop writes what it sees into the same object: each conflict is one such write. */
const MOST_CONFLICTS = 10;

/**
 * Marks for removal what was looked at, however it has changed since; never a successor that has come under its key. One that is gone is success.
 * Gives that successor: what was looked at may have been gone already, in an answer that was old.
 *
 * @throws what `check` does, of each version before it is removed
 * @throws {BifrostError} `STORE_CONFLICT` — it changes faster than it can be removed
 */
export async function removeSame<Spec, State>(
  collection: Collection<Spec, State>,
  looked: Stored<Spec, State>,
  {
    isSame,
    check = () => {},
    signal,
  }: Call & { readonly isSame: (found: Stored<Spec, State>) => boolean; readonly check?: (found: Stored<Spec, State>) => void },
): Promise<Stored<Spec, State> | undefined> {
  let current: Stored<Spec, State> | undefined = looked;
  for (let conflicts = 0; current !== undefined && isSame(current); conflicts += 1) {
    check(current);
    try {
      await collection.remove(looked.key, { current, signal });
      return undefined;
    } catch (error) {
      if (!BifrostError.is(error) || error.code !== 'STORE_CONFLICT' || conflicts === MOST_CONFLICTS) throw error;
    }
    current = await collection.get(looked.key, { signal });
  }
  return current;
}

/** Who calls again and again is no reason to try again and again. */
export const isNews = ({ deleting, spec }: StoredSidecar | StoredTailnet, abandon: boolean): boolean =>
  !deleting || (abandon && spec.abandon !== true);
