import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Secret } from '@bifrost/types/core';
import { type CryptoKey, exportJWK, generateKeyPair, type JSONWebKeySet, type JWK, type JWTPayload, SignJWT } from 'jose';

export const ISSUER = 'https://login.example.com';
export const AUDIENCE = 'bifrost';

/** Claims, wrong ones too. */
export type Claims = Readonly<Record<string, unknown>>;

interface SigningKey {
  readonly kid: string | undefined;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

export async function signingKey(kid: string | undefined, alg = 'ES256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const publicJwk = { ...(await exportJWK(publicKey)), ...(kid === undefined ? {} : { kid }), alg, use: 'sig' };
  return { kid, alg, privateKey, publicJwk };
}

export const jwksOf = (...keys: readonly SigningKey[]): JSONWebKeySet => ({ keys: keys.map(({ publicJwk }) => publicJwk) });

/** A token that is good at `nowMs` for ten minutes; `change` overrides claims, `undefined` takes one out. */
export async function sign(key: SigningKey, nowMs: number, change: Claims = {}): Promise<Secret> {
  const seconds = Math.floor(nowMs / 1_000);
  const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'ada', iat: seconds, exp: seconds + 600, bifrost_roles: ['operator:customer-123'], ...change };
  const header = { alg: key.alg, ...(key.kid === undefined ? {} : { kid: key.kid }) };
  return new Secret(await new SignJWT(JSON.parse(JSON.stringify(claims)) as JWTPayload).setProtectedHeader(header).sign(key.privateKey));
}

/** An issuer's key endpoint on loopback: what it publishes can be changed, and it can fail or hang. */
export async function openIssuer(...first: readonly SigningKey[]) {
  let body = JSON.stringify(jwksOf(...first));
  let mode: 'well' | 'failing' | 'hanging' | 'moved' = 'well';
  let requests = 0;
  const waiting = new Set<ServerResponse>();
  const server = createServer((_request, response) => {
    requests += 1;
    if (mode === 'hanging') waiting.add(response);
    else if (mode === 'failing') response.writeHead(500).end();
    else if (mode === 'moved') response.writeHead(302, { location: '/elsewhere' }).end();
    else response.writeHead(200, { 'content-type': 'application/json' }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    jwksUrl: `http://127.0.0.1:${port}/jwks.json`,
    get requests() {
      return requests;
    },
    publish: (...keys: readonly SigningKey[]) => {
      body = JSON.stringify(jwksOf(...keys));
    },
    publishText: (text: string) => {
      body = text;
    },
    become: (next: typeof mode) => {
      mode = next;
    },
    /** Lets go of those who hang, with a failure. */
    release: () => {
      for (const response of waiting) response.destroy();
      waiting.clear();
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
