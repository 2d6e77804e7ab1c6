import { sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A token of the lab's issuer, whose public key Envoy and service know. */
export function bearer(roles: readonly string[]): { readonly authorization: string } {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const payload = { iss: 'https://issuer.example.com', aud: 'bifrost', sub: roles.join(' '), iat: now, exp: now + 600, bifrost_roles: roles };
  const signed = `${part({ alg: 'ES256', kid: 'lab', typ: 'JWT' })}.${part(payload)}`;
  const key = readFileSync('/run/bifrost-lab/tls/issuer.key');
  return { authorization: `Bearer ${signed}.${sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}` };
}
