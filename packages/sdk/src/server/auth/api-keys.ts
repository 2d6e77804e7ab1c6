import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { parseOrThrow } from '@bifrost/types';
import { Secret } from '@bifrost/types/core';
import { z } from 'zod';
import type { Clock } from '../../ports/clock.ts';
import type { Authenticator, ShownCredentials } from './authenticator.ts';
import { grantsOf, roleTexts, subjectText } from './grants.ts';
import { clockOption } from './options.ts';
import type { Principal } from './principal.ts';

/** An API key as it is kept: enough to know it again, nothing to make it from. */
export interface ApiKeyEntry {
  /** The readable part of the key: 1 to 32 of a-z, 0-9 and hyphen. Not secret. */
  readonly id: string;
  /** SHA-256 of the key's secret part (its text, as UTF-8), 64 hex digits. */
  readonly sha256: string;
  readonly subject: string;
  /** `operator:customer-123`, `viewer:*`. */
  readonly roles: readonly string[];
  /** From here on the key is nobody's: RFC 3339, as `2027-01-31T00:00:00Z`. */
  readonly expiresAt?: string | undefined;
}

/** Options of {@link apiKeyAuthenticator}. */
export interface ApiKeyOptions {
  readonly keys: readonly ApiKeyEntry[];
  /** Default: the system's. */
  readonly clock?: Pick<Clock, 'nowMs'>;
}

/** Knows callers by API keys. */
export interface ApiKeyAuthenticator extends Authenticator {
  /**
   * Puts these keys in the place of all that were there, at once: a key that is not among them is refused from the next call on.
   *
   * @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field (`keys.3.sha256`); the keys that were there stay
   */
  replace(keys: readonly ApiKeyEntry[]): void;
}

const SECRET_BYTES = 32;
const KEY_ID = /^[a-z0-9-]{1,32}$/;
const KEY_TEXT = /^bfk_([a-z0-9-]{1,32})_([A-Za-z0-9_-]{43})$/; // no underscore in an id, or its end could not be told from the secret
const keyId = z.string().regex(KEY_ID, 'must be 1 to 32 of a-z, 0-9 and hyphen');

const optionsSchema = z
  .strictObject({
    clock: clockOption,
    keys: z
      .array(
        z.strictObject({
          id: keyId,
          sha256: z.string().regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hex digits: the SHA-256 of the secret part of the key'),
          subject: subjectText,
          roles: roleTexts,
          expiresAt: z.iso.datetime({ offset: true, error: 'must be a time as 2027-01-31T00:00:00Z' }).optional(),
        }),
      )
      .max(100_000),
  })
  .superRefine(({ keys }, context) => {
    const seen = new Set<string>();
    for (const [index, { id }] of keys.entries()) {
      if (seen.has(id)) context.addIssue({ code: 'custom', path: ['keys', index, 'id'], message: 'is the id of another key already' });
      seen.add(id);
    }
  });

interface KnownKey {
  readonly digest: Buffer;
  readonly expiresAtMs: number;
  readonly principal: Principal;
}

const digestOf = (secret: string): Buffer => hash('sha256', secret, 'buffer');

function knownKeys({ keys }: z.output<typeof optionsSchema>): ReadonlyMap<string, KnownKey> {
  return new Map(
    keys.map(({ id, sha256, subject, roles, expiresAt }) => [
      id,
      {
        digest: Buffer.from(sha256, 'hex'),
        expiresAtMs: expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt),
        principal: Object.freeze({ subject, via: 'api-key' as const, grants: grantsOf(roles) }),
      },
    ]),
  );
}

/** A key's own header; else the bearer, where every HTTP client can put it. */
function shownKey({ apiKey, bearer }: ShownCredentials): RegExpExecArray | undefined {
  for (const shown of [apiKey, bearer]) {
    const match = shown === undefined ? null : KEY_TEXT.exec(shown.reveal());
    if (match !== null) return match;
  }
  return undefined;
}

/**
 * Knows callers by API keys (`bfk_ID_SECRET`), shown in their own header or as a bearer token. Make one with {@link createApiKey}.
 *
 * Kept is the plain SHA-256 of the secret part. Slow hashes guard passwords, which people choose and which can so be guessed; 256 random bits cannot,
 * however fast one tries, and a slow hash would let anybody spend our processor.
 * The comparison takes the same time wherever the two differ, and for an id that nobody has.
 *
 * @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field
 */
export function apiKeyAuthenticator(options: ApiKeyOptions): ApiKeyAuthenticator {
  const resolved = parseOrThrow(optionsSchema, options, 'INVALID_OPTIONS');
  const { clock } = resolved;
  let known = knownKeys(resolved);
  const nobody = randomBytes(32);
  return {
    async authenticate(shown, { signal }) {
      signal.throwIfAborted();
      const [, id = '', secret = ''] = shownKey(shown) ?? [];
      if (secret === '') return undefined;
      const key = known.get(id);
      const isSame = timingSafeEqual(digestOf(secret), key?.digest ?? nobody);
      return key !== undefined && isSame && clock.nowMs() < key.expiresAtMs ? key.principal : undefined;
    },
    replace(keys) {
      known = knownKeys(parseOrThrow(optionsSchema, { keys }, 'INVALID_OPTIONS'));
    },
  };
}

/**
 * A new key with 256 random bits. `key` goes to the caller, once; `id` and `sha256` go, with a subject and roles, among the authenticator's keys.
 *
 * @throws {BifrostError} `INVALID_OPTIONS` — `id` is not 1 to 32 of a-z, 0-9 and hyphen
 * @example
 * const { key, id, sha256 } = createApiKey({ id: 'billing' });
 * const authenticator = apiKeyAuthenticator({ keys: [{ id, sha256, subject: 'billing', roles: ['viewer:*'] }] });
 * await authenticator.authenticate({ apiKey: key }, { signal: AbortSignal.timeout(1_000) });
 */
export function createApiKey(options: { readonly id: string }): { readonly key: Secret; readonly id: string; readonly sha256: string } {
  const { id } = parseOrThrow(z.strictObject({ id: keyId }), options, 'INVALID_OPTIONS');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { key: new Secret(`bfk_${id}_${secret}`), id, sha256: digestOf(secret).toString('hex') };
}
