import { BifrostError } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { AuditedRequest } from '../ports/index.ts';
import type { Call } from './context.ts';
import { wishHash } from './hashes.ts';
import { sameJson } from './same-json.ts';

/** What is wanted, as callers can change it, in one form for every store: nothing of the status, nothing that only the loop writes. */
function wishOf({ spec, deleting }: StoredTailnet | StoredSidecar): object {
  const { customerId, config, abandon = false } = spec;
  if ('sidecarId' in spec) {
    // Left out where there is none: no etag of before it was known changes.
    const quarantine = spec.quarantine === undefined ? {} : { quarantine: spec.quarantine };
    return { sidecarId: spec.sidecarId, customerId, config, abandon, deleting, ...quarantine };
  }
  const { tailnetId, tags, tenancy, credentialSecretName, managePolicy, paused = false, rollout = 'ask', upgrade } = spec;
  const own = { tailnetId, tags, tenancy, credentialSecretName, managePolicy, paused, rollout, upgradeId: upgrade?.upgradeId };
  return { ...own, customerId, config, abandon, deleting };
}

/** @see Tailnet.etag */
export const etagOf = (stored: StoredTailnet | StoredSidecar): string => wishHash(wishOf(stored));

/** What a call that changes something is given: by whom, and of which wish. */
export interface Change extends Call {
  readonly actor?: string;
  readonly ifMatch?: string;
  readonly request?: AuditedRequest;
}

/** For the very version that is then written or removed. @throws {BifrostError} `ETAG_MISMATCH` */
export function requireMatch(stored: StoredTailnet | StoredSidecar, { ifMatch }: Pick<Change, 'ifMatch'>): void {
  if (ifMatch === undefined || ifMatch === etagOf(stored)) return;
  throw new BifrostError({
    code: 'ETAG_MISMATCH',
    message: 'What is wanted has changed since it was read: read it again, and decide anew.',
    issues: [{ path: 'ifMatch', message: 'is not the etag of what is stored' }],
  });
}

interface Readable<Kept> {
  readonly get: (key: string, call: Call) => Promise<Kept | undefined>;
}

/** The loop writes what it sees into the same object at any moment: each try but the first is one such write. */
const MOST_TRIES = 5;

interface MatchedWrite<Kept> extends Change {
  readonly write: (current: Kept) => Promise<Kept>;
  /** Whether the write is to be made of what is stored now. @default where no more than the state is another */
  readonly goesOn?: (before: Kept, now: Kept) => boolean;
}

/**
 * Makes a write of a version that matched. When another came first, it is told for what it is: a change of the wish as `ETAG_MISMATCH`, and where no etag
 * was given as `STORE_CONFLICT`. What the loop has told meanwhile is no change of the wish: the write is made again, of what is stored now.
 */
export async function writeMatched<Kept extends StoredTailnet | StoredSidecar>(
  collection: Readable<Kept>,
  looked: Kept,
  { write, goesOn = isOnlyTold, ...change }: MatchedWrite<Kept>,
): Promise<Kept> {
  for (let current = looked, tries = 1; ; tries += 1) {
    try {
      return await write(current);
    } catch (error) {
      if (!BifrostError.is(error) || error.code !== 'STORE_CONFLICT') throw error;
      const now = await collection.get(looked.key, change);
      if (now !== undefined) requireMatch(now, change);
      if (tries === MOST_TRIES || now === undefined || !goesOn(current, now)) throw error;
      current = now;
    }
  }
}

/** The specification names the object by its id as well: another one of its name has another. */
const isOnlyTold = (before: StoredTailnet | StoredSidecar, now: StoredTailnet | StoredSidecar): boolean =>
  now.version !== before.version && now.deleting === before.deleting && sameJson(now.spec, before.spec);
