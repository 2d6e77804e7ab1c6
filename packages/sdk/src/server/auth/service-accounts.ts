import { parseOrThrow } from '@bifrost/types';
import type { Secret } from '@bifrost/types/core';
import { z } from 'zod';
import type { Authenticator } from './authenticator.ts';
import { grantsOf, roleTexts } from './grants.ts';
import { functionOption } from './options.ts';
import type { Principal } from './principal.ts';
import { MAX_TOKEN_LENGTH, peekAtToken } from './token-text.ts';

/** Options of {@link serviceAccountAuthenticator}. */
export interface ServiceAccountOptions {
  /** Asks the cluster whose a token is; undefined when it does not vouch for it. `Cluster.identities.reviewPodToken` is one. */
  readonly review: (
    token: Secret,
    options: { readonly signal: AbortSignal },
  ) => Promise<{ readonly namespace: string; readonly serviceAccount: string } | undefined>;
  /** Who may call. An account that is not here is nobody. */
  readonly accounts: readonly { readonly namespace: string; readonly name: string; readonly roles: readonly string[] }[];
}

const objectName = z.string().regex(/^(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'must be the name of a Kubernetes object');
const optionsSchema = z.strictObject({
  review: functionOption<ServiceAccountOptions['review']>(),
  accounts: z.array(z.strictObject({ namespace: objectName, name: objectName, roles: roleTexts })).max(100_000),
});

const subjectOf = (namespace: string, name: string): string => `system:serviceaccount:${namespace}:${name}`;

/**
 * Knows callers by the ServiceAccount token of their pod. Subject: `system:serviceaccount:NAMESPACE:NAME`.
 *
 * The cluster is asked only about tokens that claim to be of one of these accounts: another issuer's tokens are not shown to it, and strangers do not
 * spend its reviews. A token that does not show whose it is (none of today's Kubernetes) is asked about.
 *
 * @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field
 */
export function serviceAccountAuthenticator(options: ServiceAccountOptions): Authenticator {
  const { review, accounts } = parseOrThrow(optionsSchema, options, 'INVALID_OPTIONS');
  const known = new Map<string, Principal>();
  for (const { namespace, name, roles } of accounts) {
    const subject = subjectOf(namespace, name);
    if (!known.has(subject)) known.set(subject, Object.freeze({ subject, via: 'service-account', grants: grantsOf(roles) }));
  }
  return {
    async authenticate({ bearer }, { signal }) {
      signal.throwIfAborted();
      const text = bearer?.reveal() ?? '';
      if (bearer === undefined || text === '' || text.length > MAX_TOKEN_LENGTH) return undefined;
      if (text.startsWith('bfk_')) return undefined; // an API key is no business of the cluster's
      const claimed = peekAtToken(text)?.payload['sub'];
      if (claimed !== undefined && (typeof claimed !== 'string' || !known.has(claimed))) return undefined;
      const account = await review(bearer, { signal });
      return account === undefined ? undefined : known.get(subjectOf(account.namespace, account.serviceAccount));
    },
  };
}
