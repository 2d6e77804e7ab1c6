import { generateKeyPairSync } from 'node:crypto';
import { Secret } from '@bifrost/types/core';
import { exportJWK, SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { type JwtOptions, jwtAuthenticator } from '../../src/server/auth/jwt.ts';
import { jwtOptionsSchema } from '../../src/server/auth/jwt-options.ts';
import { ManualClock } from '../../src/testing/manual-clock.ts';
import { printed, refusalOf, soon, wrongPaths } from './support/caught.ts';
import { AUDIENCE, type Claims, ISSUER, jwksOf, sign, signingKey } from './support/issuer.ts';

const key = await signingKey('one');

function open(options: Partial<JwtOptions> = {}) {
  const clock = new ManualClock();
  const authenticator = jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys: { jwks: jwksOf(key) }, clock, ...options });
  const ask = async (change?: Claims) => authenticator.authenticate({ bearer: await sign(key, clock.nowMs(), change) }, soon());
  const show = (text: string) => authenticator.authenticate({ bearer: new Secret(text) }, soon());
  return { clock, authenticator, ask, show };
}

describe('tokens of an issuer', () => {
  it('say who the caller is and what it may do', async () => {
    expect(await open().ask()).toEqual({ subject: 'ada', via: 'jwt', grants: [{ role: 'operator', customers: ['customer-123'] }] });
    expect(await open().ask({ aud: ['other', AUDIENCE], bifrost_roles: undefined })).toEqual({ subject: 'ada', via: 'jwt', grants: [] });
    const own = open({ audience: ['x', AUDIENCE], claims: { subject: 'email', roles: 'groups' }, subjectPrefix: 'corp:' });
    expect(await own.ask({ email: 'ada@example.com', groups: ['viewer:*'] })).toEqual({
      subject: 'corp:ada@example.com',
      via: 'jwt',
      grants: [{ role: 'viewer', customers: '*' }],
    });
  });

  it.each<[string, Claims]>([
    ['another issuer', { iss: `${ISSUER}/` }],
    ['no issuer', { iss: undefined }],
    ['another audience', { aud: 'bifrost-dev' }],
    ['no audience', { aud: undefined }],
    ['no expiry', { exp: undefined }],
    ['an expiry that is no number', { exp: '9999999999' }],
    ['expired', { exp: 1_767_225_600 - 31 }],
    ['not yet valid', { nbf: 1_767_225_600 + 31 }],
    ['no subject', { sub: undefined }],
    ['an empty subject', { sub: '' }],
    ['a subject that is no text', { sub: 7 }],
    ['a line break in the subject', { sub: 'ada\nroot' }],
    ['a subject that is too long', { sub: 'a'.repeat(257) }],
  ])('%s: nobody', async (_name, change) => {
    expect(await open().ask(change)).toBeUndefined();
  });

  it('an issuer’s clock may be off by the tolerance, and by no more', async () => {
    const start = 1_767_225_600;
    expect(await open().ask({ exp: start - 29, nbf: start + 29 })).toBeDefined();
    expect(await open({ clockToleranceSeconds: 0 }).ask({ exp: start })).toBeUndefined();
    expect(await open({ clockToleranceSeconds: 0 }).ask({ exp: start + 1 })).toBeDefined();
  });

  it('what is no token, or was changed, is nobody', async () => {
    const { show, authenticator, clock } = open();
    const good = (await sign(key, clock.nowMs())).reveal();
    const [header = '', payload = '', signature = ''] = good.split('.');
    const admin = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), bifrost_roles: ['admin:*'] }));
    const forged = [`${header}.${admin.toString('base64url')}.${signature}`, `${header}.${payload}.`, `${header}.${payload}`, `${good}.x`];
    const shapes = ['', '.', '..', 'a.b.c', `${header}.bnVsbA.${signature}`, `${good} `, good.repeat(40), `${header}..${signature}`];
    for (const text of [...forged, ...shapes, `${good.slice(0, -4)}AAAA`]) expect(await show(text), text.slice(0, 40)).toBeUndefined();
    expect(await authenticator.authenticate({}, soon())).toBeUndefined();
    expect(await show(good)).toBeDefined();
  });

  it('another key with the same name is nobody', async () => {
    const { authenticator, clock } = open();
    const impostor = await sign(await signingKey('one'), clock.nowMs());
    expect(await authenticator.authenticate({ bearer: impostor }, soon())).toBeUndefined();
  });
});

describe('signatures', () => {
  it.each(['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'])('%s is believed', async (alg) => {
    const own = await signingKey('k', alg);
    const { authenticator, clock } = open({ keys: { jwks: jwksOf(own) } });
    expect(await authenticator.authenticate({ bearer: await sign(own, clock.nowMs()) }, soon())).toBeDefined();
  });

  it('none, and HS256 with the public key as its secret, are refused', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const jwk = { ...(await exportJWK(publicKey)), kid: 'rsa' };
    const { show, clock } = open({ keys: { jwks: { keys: [jwk] } } });
    const seconds = clock.nowMs() / 1_000;
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'ada', exp: seconds + 600 };
    expect(await show(new UnsecuredJWT(claims).encode())).toBeUndefined();
    for (const secret of [
      publicKey.export({ type: 'spki', format: 'pem' }),
      publicKey.export({ type: 'spki', format: 'der' }),
      JSON.stringify(jwk),
    ]) {
      const signed = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'rsa' }).sign(Buffer.from(secret));
      expect(await show(signed)).toBeUndefined();
    }
    for (const alg of ['none', 'None', 'nOnE', 'HS256', 'HS512', '', null, ['ES256']])
      expect(await show(`${Buffer.from(JSON.stringify({ alg, kid: 'one' })).toString('base64url')}.${'e30'}.`), String(alg)).toBeUndefined();
  });

  it('an algorithm that the options leave out is refused', async () => {
    expect(await open({ algorithms: ['RS256'] }).ask()).toBeUndefined();
  });

  it('a header that asks for what we do not understand is refused', async () => {
    const { show, clock } = open();
    const seconds = clock.nowMs() / 1_000;
    const signed = new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: 'ada', exp: seconds + 600 });
    const token = await signed
      .setProtectedHeader({ alg: 'ES256', kid: 'one', crit: ['own'], own: true })
      .sign(key.privateKey, { crit: { own: true } });
    expect(await show(token)).toBeUndefined();
  });

  it('a token that names no key is tried with each that fits', async () => {
    const unnamed = [await signingKey(undefined), await signingKey(undefined), await signingKey(undefined, 'ES384')];
    const { authenticator, clock } = open({ keys: { jwks: jwksOf(...unnamed) } });
    for (const own of unnamed) expect(await authenticator.authenticate({ bearer: await sign(own, clock.nowMs()) }, soon())).toBeDefined();
    const stranger = await sign(await signingKey(undefined), clock.nowMs());
    expect(await authenticator.authenticate({ bearer: stranger }, soon())).toBeUndefined();
  });

  it('a key of the issuer’s that cannot be used is the issuer’s fault: AUTH_UNAVAILABLE', async () => {
    const broken = { ...key.publicJwk, x: 'AAAA' };
    const error = await refusalOf(() => open({ keys: { jwks: { keys: [broken] } } }).ask());
    expect(error).toMatchObject({ code: 'AUTH_UNAVAILABLE', retry: 'backoff' });
  });
});

describe('verified tokens', () => {
  it('are remembered until they expire, and no longer than they may be', async () => {
    for (const [exp, tolerance, beyondMs] of [
      [10, 0, 10_000],
      [3_600, 0, 60_000],
    ] as const) {
      const { authenticator, clock } = open({ clockToleranceSeconds: tolerance });
      const bearer = await sign(key, clock.nowMs(), { exp: clock.nowMs() / 1_000 + exp });
      const first = await authenticator.authenticate({ bearer }, soon());
      await clock.advance(beyondMs - 1);
      expect(await authenticator.authenticate({ bearer }, soon())).toBe(first); // the very same: it was not read again
      await clock.advance(1);
      const again = await authenticator.authenticate({ bearer }, soon());
      if (exp === 10) expect(again).toBeUndefined();
      else expect(again).toEqual(first);
      expect(again).not.toBe(first);
    }
  });

  it('are not remembered when told so', async () => {
    const { authenticator, clock } = open({ cacheSeconds: 0 });
    const bearer = await sign(key, clock.nowMs());
    const first = await authenticator.authenticate({ bearer }, soon());
    expect(await authenticator.authenticate({ bearer }, soon())).not.toBe(first);
  });
});

describe('options of jwtAuthenticator', () => {
  it('each wrong field has its path', async () => {
    const wrong = (change: object) =>
      wrongPaths(() => jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys: { jwks: jwksOf(key) }, ...change } as JwtOptions));
    expect(await wrong({ issuer: '', audience: [], cacheSeconds: -1, clockToleranceSeconds: 301 })).toEqual(
      expect.arrayContaining(['issuer', 'audience', 'cacheSeconds', 'clockToleranceSeconds']),
    );
    for (const algorithm of ['none', 'HS256', 'HS384', 'HS512', 'dir'])
      expect(await wrong({ algorithms: ['ES256', algorithm] })).toEqual(['algorithms.1']);
    expect(await wrong({ algorithms: [] })).toEqual(['algorithms']);
    for (const jwksUrl of [
      'http://login.example.com/jwks',
      'http://127.0.0.1.example.com/',
      'ftp://localhost/',
      'x',
      'https://user:password@login.example.com/',
    ])
      expect(await wrong({ keys: { jwksUrl } })).toEqual(['keys.jwksUrl']);
    expect(await wrong({ keys: {} })).toEqual(['keys']);
    expect(await wrong({ keys: { jwks: jwksOf(key), jwksUrl: 'https://login.example.com/jwks' } })).toEqual(['keys']);
    expect(await wrong({ keys: { jwks: { keys: [] } } })).toEqual(['keys.jwks.keys']);
    expect(
      await wrong({
        keys: {
          jwks: {
            keys: [
              { ...key.publicJwk, d: 'x' },
              { kty: 'oct', k: 'x' },
            ],
          },
        },
      }),
    ).toEqual(expect.arrayContaining(['keys.jwks.keys.0.d', 'keys.jwks.keys.1.kty']));
    expect(await wrong({ jwks: 1, clock: {} })).toEqual(expect.arrayContaining(['jwks', 'clock']));
    expect(await wrongPaths(() => jwtAuthenticator(undefined as never))).toEqual(['']);
  });

  it('each documented @default is the default', async () => {
    const { readFileSync } = await import('node:fs');
    const source = readFileSync(new URL('../../src/server/auth/jwt.ts', import.meta.url), 'utf8');
    const documented = [...source.matchAll(/@default (.+?) \*\/\s+readonly (\w+)\?/g)];
    const resolved: Record<string, unknown> = jwtOptionsSchema.parse({ issuer: ISSUER, audience: AUDIENCE, keys: { jwks: jwksOf(key) } });
    expect(documented).toHaveLength(5);
    for (const [, value = '', name = ''] of documented) expect([name, resolved[name]]).toEqual([name, JSON.parse(value.replaceAll("'", '"'))]);
  });

  it('a private key, or a token, is in no error', async () => {
    const canary = 'CANARY0123456789';
    const jwk = { ...key.publicJwk, d: canary, kid: canary };
    const errors = [
      await refusalOf(() => jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys: { jwks: { keys: [jwk] } } })),
      await refusalOf(() => jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys: { jwksUrl: `https://a:${canary}@x/` } })),
      await refusalOf(() => open({ keys: { jwks: { keys: [{ ...key.publicJwk, x: 'AAAA' }] } } }).ask({ note: canary })),
    ];
    const { authenticator, ask } = open();
    expect([...errors, authenticator, await ask({ note: canary })].map(printed).join('\n')).not.toContain(canary);
  });
});
