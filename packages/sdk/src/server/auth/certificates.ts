import { parseOrThrow } from '@bifrost/types';
import { z } from 'zod';
import type { Authenticator, ClientCertificate } from './authenticator.ts';
import { grantsOf, roleTexts, subjectText } from './grants.ts';
import type { Principal } from './principal.ts';

/** Whom a certificate stands for. Exactly one of `uri`, `fingerprintSha256` and `dnsName` says which certificate. */
export interface CertificateIdentity {
  /** A URI among the alternative names, as `spiffe://example.org/ns/platform/sa/book-controller`; compared as it stands. */
  readonly uri?: string | undefined;
  /** SHA-256 of the certificate, in hex, with or without colons. */
  readonly fingerprintSha256?: string | undefined;
  /** A DNS name among the alternative names. A wildcard stands for nobody. */
  readonly dnsName?: string | undefined;
  readonly subject: string;
  /** `operator:customer-123`, `viewer:*`. */
  readonly roles: readonly string[];
}

const plainFingerprint = (text: string): string => text.replaceAll(':', '').toLowerCase();
const wildcardFree = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i;

const identitySchema = z
  .strictObject({
    uri: z
      .string()
      .regex(/^[a-z][a-z0-9+.-]*:[\x21-\x7e]{1,2048}$/i, 'must be a URI')
      .optional(),
    fingerprintSha256: z
      .string()
      .transform(plainFingerprint)
      .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits'))
      .optional(),
    dnsName: z.string().regex(wildcardFree, 'must be a DNS name without a wildcard').optional(),
    subject: subjectText,
    roles: roleTexts,
  })
  .refine(
    ({ uri, fingerprintSha256, dnsName }) => [uri, fingerprintSha256, dnsName].filter((name) => name !== undefined).length === 1,
    'must have exactly one of uri, fingerprintSha256 and dnsName',
  );
const optionsSchema = z.strictObject({ identities: z.array(identitySchema).max(100_000) });

/** Names of a certificate in the order in which they are looked for: the closest first. */
const namesOf = ({ fingerprintSha256, uris, dnsNames }: ClientCertificate): readonly string[] => [
  `fingerprint ${plainFingerprint(fingerprintSha256)}`,
  ...uris.map((uri) => `uri ${uri}`),
  ...dnsNames.map((name) => `dns ${name.toLowerCase()}`),
];

/**
 * Knows callers by their client certificate, which the handshake (or a trusted proxy) has verified: by its fingerprint, else a URI, else a DNS name.
 *
 * @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field
 * @example
 * const authenticator = certificateAuthenticator({
 *   identities: [{ uri: 'spiffe://example.org/ns/platform/sa/book-controller', subject: 'book-controller', roles: ['operator:*'] }],
 * });
 */
export function certificateAuthenticator(options: { readonly identities: readonly CertificateIdentity[] }): Authenticator {
  const { identities } = parseOrThrow(optionsSchema, options, 'INVALID_OPTIONS');
  const known = new Map<string, Principal>();
  for (const { uri, fingerprintSha256, dnsName, subject, roles } of identities) {
    const name = uri !== undefined ? `uri ${uri}` : dnsName !== undefined ? `dns ${dnsName.toLowerCase()}` : `fingerprint ${fingerprintSha256}`;
    if (!known.has(name)) known.set(name, Object.freeze({ subject, via: 'mtls', grants: grantsOf(roles) }));
  }
  return {
    async authenticate({ clientCertificate }, { signal }) {
      signal.throwIfAborted();
      if (clientCertificate === undefined) return undefined;
      for (const name of namesOf(clientCertificate)) {
        const principal = known.get(name);
        if (principal !== undefined) return principal;
      }
      return undefined;
    },
  };
}
