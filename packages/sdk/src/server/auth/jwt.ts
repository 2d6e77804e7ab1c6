import { hash } from 'node:crypto';
import { parseOrThrow } from '@bifrost/types';
import { BifrostError } from '@bifrost/types/core';
import { errors, type JSONWebKeySet, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions, jwtVerify } from 'jose';
import { BoundedMap } from '../../domain/bounded-map.ts';
import { untilAborted } from '../../domain/until-aborted.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Authenticator } from './authenticator.ts';
import { grantsOfClaim, SUBJECT_TEXT } from './grants.ts';
import { fixedKeys, type KeyFetch, RemoteKeys } from './issuer-keys.ts';
import { type JwtAlgorithm, jwtOptionsSchema, type ResolvedJwtOptions } from './jwt-options.ts';
import type { Principal } from './principal.ts';
import { peekAtToken } from './token-text.ts';

/** Options of {@link jwtAuthenticator}. */
export interface JwtOptions {
  /** `iss` of the tokens, exactly. */
  readonly issuer: string;
  /** `aud` of the tokens: one of these must be in it. */
  readonly audience: string | readonly string[];
  /** The issuer's public keys: where they are (https, or http on loopback), or they themselves. `fetch` is for an issuer behind a proxy or a CA of one's own. */
  readonly keys: { readonly jwksUrl: string; readonly fetch?: KeyFetch } | { readonly jwks: JSONWebKeySet };
  /** Signatures that are believed; asymmetric ones only. @default ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'] */
  readonly algorithms?: readonly JwtAlgorithm[];
  /** How far the issuer's clock may be off, seconds. @default 30 */
  readonly clockToleranceSeconds?: number;
  /** Names of the claims that hold the subject and the roles. @default { "subject": "sub", "roles": "bifrost_roles" } */
  readonly claims?: { readonly subject?: string; readonly roles?: string };
  /** Put before each subject, where two issuers could use the same one. @default '' */
  readonly subjectPrefix?: string;
  /** How long a verified token is believed without verifying it again, seconds; at most until it expires. 0: not at all. @default 60 */
  readonly cacheSeconds?: number;
  /** Default: the system's. */
  readonly clock?: Pick<Clock, 'nowMs'>;
}

const MAX_REMEMBERED = 10_000;

/** What is wrong with a token, and not with its issuer's keys. */
const REFUSALS = [
  errors.JWSInvalid,
  errors.JWTInvalid,
  errors.JWTExpired,
  errors.JWTClaimValidationFailed,
  errors.JWSSignatureVerificationFailed,
  errors.JOSEAlgNotAllowed,
  errors.JOSENotSupported,
  errors.JWKSNoMatchingKey,
];

/**
 * Knows callers by the JSON Web Tokens of one issuer: signed by its keys, for our audience, with an expiry.
 *
 * Roles are a claim (`bifrost_roles` unless set) that holds a list of texts: `["operator:customer-123", "viewer:*"]`. A claim that is missing, or is
 * not such a list as a whole, grants nothing: the caller is known and may do nothing.
 *
 * Keys are fetched when they are first needed, again after ten minutes, and when a token names one that is not there (at most every ten seconds). While
 * the issuer is away, the keys that are known are believed for a day.
 *
 * @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field. Calls: `AUTH_UNAVAILABLE` — the issuer's keys are needed and cannot be had
 * @example
 * const authenticator = jwtAuthenticator({
 *   issuer: 'https://login.example.com',
 *   audience: 'bifrost',
 *   keys: { jwksUrl: 'https://login.example.com/jwks.json' },
 * });
 */
export function jwtAuthenticator(options: JwtOptions): Authenticator {
  const resolved = parseOrThrow(jwtOptionsSchema, options, 'INVALID_OPTIONS');
  const { jwks, jwksUrl = '', fetch } = resolved.keys;
  const keyFor = jwks === undefined ? new RemoteKeys(jwksUrl, { clock: resolved.clock, fetch }).keyFor : fixedKeys(jwks as JSONWebKeySet);
  const remembered = new BoundedMap<string, { readonly principal: Principal; readonly untilMs: number }>(MAX_REMEMBERED);
  return {
    async authenticate({ bearer }, { signal }) {
      signal.throwIfAborted();
      const text = bearer?.reveal() ?? '';
      if (!mayBeOurs(text, resolved)) return undefined;
      const key = hash('sha256', text, 'base64'); // never the token itself
      const known = remembered.get(key);
      if (known !== undefined && resolved.clock.nowMs() < known.untilMs) return known.principal;
      const claims = await untilAborted(verified(text, keyFor, resolved), signal);
      const principal = claims === undefined ? undefined : principalOf(claims, resolved);
      if (claims === undefined || principal === undefined) return undefined;
      const expiresAtMs = ((claims.exp ?? 0) + resolved.clockToleranceSeconds) * 1_000;
      remembered.set(key, { principal, untilMs: Math.min(expiresAtMs, resolved.clock.nowMs() + resolved.cacheSeconds * 1_000) });
      return principal;
    },
  };
}

/** Refuses by what a token says of itself, so that another issuer's tokens, and old ones, cost neither a signature check nor a request for keys. */
function mayBeOurs(text: string, { issuer, algorithms, clock, clockToleranceSeconds }: ResolvedJwtOptions): boolean {
  const token = peekAtToken(text);
  if (token === undefined || token.payload['iss'] !== issuer) return false;
  const { exp } = token.payload;
  const isLate = typeof exp !== 'number' || clock.nowMs() >= (exp + clockToleranceSeconds) * 1_000;
  return !isLate && algorithms.some((algorithm) => algorithm === token.header['alg']);
}

async function verified(text: string, keyFor: JWTVerifyGetKey, resolved: ResolvedJwtOptions): Promise<JWTPayload | undefined> {
  const options: JWTVerifyOptions = {
    issuer: resolved.issuer,
    audience: [...resolved.audience],
    algorithms: [...resolved.algorithms],
    clockTolerance: resolved.clockToleranceSeconds,
    currentDate: new Date(resolved.clock.nowMs()),
    requiredClaims: ['exp'],
  };
  try {
    return await verifiedByOneOf(text, keyFor, options);
  } catch (error) {
    if (BifrostError.is(error)) throw error;
    if (REFUSALS.some((refusal) => error instanceof refusal)) return undefined;
    const message = 'The issuer of the token has keys that cannot be used.';
    throw new BifrostError({ code: 'AUTH_UNAVAILABLE', message, cause: error });
  }
}

/** A token that names no key may be signed with any that fits: issuers with a few keys leave the name out. */
async function verifiedByOneOf(text: string, keyFor: JWTVerifyGetKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(text, keyFor, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const key of error) {
      try {
        return (await jwtVerify(text, key, options)).payload;
      } catch (problem) {
        if (!(problem instanceof errors.JWSSignatureVerificationFailed)) throw problem;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

function principalOf(claims: JWTPayload, { claims: names, subjectPrefix }: ResolvedJwtOptions): Principal | undefined {
  const subject = Object.hasOwn(claims, names.subject) ? claims[names.subject] : undefined;
  if (typeof subject !== 'string' || subject === '') return undefined;
  const named = `${subjectPrefix}${subject}`;
  if (!SUBJECT_TEXT.test(named)) return undefined;
  return Object.freeze({ subject: named, via: 'jwt', grants: grantsOfClaim(Object.hasOwn(claims, names.roles) ? claims[names.roles] : undefined) });
}
