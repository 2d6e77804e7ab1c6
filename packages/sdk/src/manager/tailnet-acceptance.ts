import { createTailnetRequestSchema, parseOrThrow } from '@bifrost/types';
import { BifrostError, type CreateTailnetRequest } from '@bifrost/types/core';
import type { Reason, StoredTailnet, TailnetSpec } from '../domain/model.ts';
import { tailnetSecretName } from '../domain/names.ts';

/** @throws {BifrostError} `INVALID_ARGUMENT` */
export function refuseOfCustomers({ tenancy, ...request }: Pick<CreateTailnetRequest, 'tenancy' | 'credential' | 'managePolicy'>): void {
  if (tenancy === undefined || tenancy === 'customer-owned') return;
  const given = (['credential', 'managePolicy'] as const).filter((member) => request[member] !== undefined);
  if (given.length === 0) return;
  throw new BifrostError({
    code: 'INVALID_ARGUMENT',
    message: `Only for a customer's own tailnet: leave ${given.join(' and ')} out. Any other has a credential, and its policy is kept.`,
    issues: given.map((path) => ({ path, message: 'must be absent' })),
  });
}

/** Why a stored tailnet is refused, as a call with the same content would be; undefined when it is accepted. */
export function refusalOf({ key, spec }: Pick<StoredTailnet, 'key' | 'spec'>): Reason | undefined {
  try {
    const { customerId, config, tags, tenancy, managePolicy } = spec;
    const request: CreateTailnetRequest = parseOrThrow(
      createTailnetRequestSchema,
      { customerId, tailnetName: key, config, tags, tenancy, ...(managePolicy === undefined ? {} : { managePolicy }), ...credentialOf(spec) },
      'INVALID_ARGUMENT',
    );
    refuseOfCustomers(request);
    return undefined;
  } catch (error) {
    if (!BifrostError.is(error)) throw error;
    return reasonOf(error);
  }
}

/** What is not the customer's has no Secret of anybody's choice: another one is what a call refuses as `credential`. */
const credentialOf = ({ tenancy, tailnetId, credentialSecretName }: TailnetSpec): object =>
  tenancy !== 'customer-owned' && credentialSecretName === tailnetSecretName(tailnetId) ? {} : { credential: { secretName: credentialSecretName } };

/** A reason as it is stored: the code, our own sentence without the code in front of it twice, and the first field at fault. */
export const reasonOf = ({ code, message, issues }: BifrostError): Reason => ({
  code,
  message: message.replace(`[${code}] `, ''),
  ...(issues[0]?.path ? { path: issues[0].path } : {}), // an empty path is the whole: it says nothing
});
