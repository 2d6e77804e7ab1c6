import { BifrostError } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { AuditedRequest } from '../ports/index.ts';
import type { Call } from './context.ts';
import { wishHash } from './hashes.ts';

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

interface Readable {
  readonly get: (key: string, call: Call) => Promise<StoredTailnet | StoredSidecar | undefined>;
}

/**
 * Makes a write of a version that matched. When another came first, it is told for what it is: a change of the wish as `ETAG_MISMATCH`; one of the loop
 * stays a conflict, and the same call again goes through.
 */
export async function writeMatched<Written>(
  collection: Readable,
  key: string,
  { write, ...change }: Change & { readonly write: () => Promise<Written> },
): Promise<Written> {
  try {
    return await write();
  } catch (error) {
    if (change.ifMatch === undefined || !BifrostError.is(error) || error.code !== 'STORE_CONFLICT') throw error;
    const now = await collection.get(key, change);
    if (now !== undefined) requireMatch(now, change);
    throw error;
  }
}
