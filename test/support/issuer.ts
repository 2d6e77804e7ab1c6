import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export const ISSUER = 'https://issuer.example.com';

type Claims = Readonly<Record<string, unknown>>;

/** Who signs callers' tokens. */
export class Issuer {
  readonly #key: KeyObject;
  readonly #kid: string;

  /** With a key of its own, or with one that somebody else has published. */
  constructor({
    key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    kid = 'test',
  }: { readonly key?: KeyObject; readonly kid?: string } = {}) {
    this.#key = key;
    this.#kid = kid;
  }

  get jwks(): { readonly keys: readonly object[] } {
    return { keys: [{ ...createPublicKey(this.#key).export({ format: 'jwk' }), kid: this.#kid, alg: 'ES256', use: 'sig' }] };
  }

  /** `claims` that are undefined are left out. */
  token(roles: readonly string[], claims: Claims = {}): string {
    const signed = `${part({ alg: 'ES256', kid: this.#kid, typ: 'JWT' })}.${part(payloadOf(roles, claims))}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), { key: this.#key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  }

  /** One that nobody signed, and says so. */
  unsigned(roles: readonly string[]): string {
    return `${part({ alg: 'none', typ: 'JWT' })}.${part(payloadOf(roles, {}))}.`;
  }

  bearer(roles: readonly string[], claims: Claims = {}): { readonly authorization: string } {
    return { authorization: `Bearer ${this.token(roles, claims)}` };
  }
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function payloadOf(roles: readonly string[], claims: Claims): Claims {
  const now = Math.floor(Date.now() / 1000);
  return { iss: ISSUER, aud: 'bifrost', sub: roles.join(' '), iat: now, exp: now + 600, bifrost_roles: roles, ...claims };
}
