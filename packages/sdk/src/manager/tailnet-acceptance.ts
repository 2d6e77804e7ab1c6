import { createTailnetRequestSchema, parseOrThrow } from '@bifrost/types';
import { BifrostError, type CreateTailnetRequest } from '@bifrost/types/core';
import type { Reason, StoredTailnet, TailnetSpec } from '../domain/model.ts';
import { tailnetSecretName } from '../domain/names.ts';

/** @throws {BifrostError} `INVALID_ARGUMENT` */
export function refuseCredentialOfOurs({ tenancy, credential }: Pick<CreateTailnetRequest, 'tenancy' | 'credential'>): void {
  if (tenancy !== 'organization' || credential === undefined) return;
  throw new BifrostError({
    code: 'INVALID_ARGUMENT',
    message: 'A tailnet in our organization gets its own credential: leave credential out.',
    issues: [{ path: 'credential', message: 'must be absent' }],
  });
}

/** Why a stored tailnet is refused, as a call with the same content would be; undefined when it is accepted. */
export function refusalOf({ key, spec }: Pick<StoredTailnet, 'key' | 'spec'>): Reason | undefined {
  try {
    const { customerId, config, tags, tenancy } = spec;
    const request: CreateTailnetRequest = parseOrThrow(
      createTailnetRequestSchema,
      { customerId, tailnetName: key, config, tags, tenancy, ...credentialOf(spec) },
      'INVALID_ARGUMENT',
    );
    refuseCredentialOfOurs(request);
    return undefined;
  } catch (error) {
    if (!BifrostError.is(error)) throw error;
    return reasonOf(error);
  }
}

/** A tailnet in our organization has a Secret of its own making: another one is what a call refuses as `credential`. */
const credentialOf = ({ tenancy, tailnetId, credentialSecretName }: TailnetSpec): object =>
  tenancy === 'organization' && credentialSecretName === tailnetSecretName(tailnetId) ? {} : { credential: { secretName: credentialSecretName } };

/** A reason as it is stored: the code, our own sentence without the code in front of it twice, and the first field at fault. */
export const reasonOf = ({ code, message, issues }: BifrostError): Reason => ({
  code,
  message: message.replace(`[${code}] `, ''),
  ...(issues[0]?.path ? { path: issues[0].path } : {}), // an empty path is the whole: it says nothing
});
