import { BifrostError, Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { apiKeyAuthenticator, createApiKey } from '../../src/server/auth/api-keys.ts';
import { type Authenticator, anyOf, type ShownCredentials } from '../../src/server/auth/authenticator.ts';
import { certificateAuthenticator } from '../../src/server/auth/certificates.ts';
import { jwtAuthenticator } from '../../src/server/auth/jwt.ts';
import { serviceAccountAuthenticator } from '../../src/server/auth/service-accounts.ts';
import { ManualClock } from '../../src/testing/manual-clock.ts';
import { printed, refusalOf, soon, wrongPaths } from './support/caught.ts';
import { AUDIENCE, ISSUER, jwksOf, openIssuer, sign, signingKey } from './support/issuer.ts';

const [own, foreign] = [await signingKey('own'), await signingKey('foreign')];
const CERTIFICATE = { subject: 'CN=envoy', uris: ['spiffe://example.org/envoy'], dnsNames: [], fingerprintSha256: 'aa'.repeat(32) };

/** A cluster that vouches for the tokens it is told of, and remembers what it was asked. */
class FakeReview {
  readonly asked: string[] = [];
  readonly accounts = new Map<string, { readonly namespace: string; readonly serviceAccount: string }>();
  fault: Error | undefined;
  readonly review = async (token: Secret, { signal }: { readonly signal: AbortSignal }) => {
    signal.throwIfAborted();
    this.asked.push(token.reveal());
    if (this.fault !== undefined) throw this.fault;
    return this.accounts.get(token.reveal());
  };
}

const accountToken = async (name: string, sub: unknown = `system:serviceaccount:platform:${name}`): Promise<Secret> =>
  sign(foreign, Date.now(), { iss: 'https://kubernetes.default.svc', sub });

describe('service accounts', () => {
  const open = () => {
    const cluster = new FakeReview();
    const accounts = [{ namespace: 'platform', name: 'books', roles: ['operator:*'] }];
    return { cluster, authenticator: serviceAccountAuthenticator({ review: cluster.review, accounts }) };
  };

  it('one that may call is known when the cluster vouches for its token', async () => {
    const { cluster, authenticator } = open();
    const bearer = await accountToken('books');
    expect(await authenticator.authenticate({ bearer }, soon())).toBeUndefined();
    cluster.accounts.set(bearer.reveal(), { namespace: 'platform', serviceAccount: 'books' });
    expect(await authenticator.authenticate({ bearer }, soon())).toEqual({
      subject: 'system:serviceaccount:platform:books',
      via: 'service-account',
      grants: [{ role: 'operator', customers: '*' }],
    });
  });

  it('counts what the cluster says, not what the token says', async () => {
    const { cluster, authenticator } = open();
    const bearer = await accountToken('books');
    cluster.accounts.set(bearer.reveal(), { namespace: 'platform', serviceAccount: 'stranger' });
    expect(await authenticator.authenticate({ bearer }, soon())).toBeUndefined();
    const opaque = new Secret('opaque-token');
    cluster.accounts.set(opaque.reveal(), { namespace: 'platform', serviceAccount: 'books' });
    expect((await authenticator.authenticate({ bearer: opaque }, soon()))?.subject).toBe('system:serviceaccount:platform:books');
  });

  it('the cluster is not shown what is no business of its', async () => {
    const { cluster, authenticator } = open();
    const others = [
      createApiKey({ id: 'a' }).key,
      await accountToken('stranger'),
      await sign(own, Date.now()),
      new Secret(''),
      new Secret('x'.repeat(16_385)),
    ];
    const odd = [await accountToken('', { toString: 1 }), await accountToken('', ['system:serviceaccount:platform:books'])];
    for (const bearer of [...others, ...odd]) expect(await authenticator.authenticate({ bearer }, soon())).toBeUndefined();
    expect(await authenticator.authenticate({ apiKey: new Secret('opaque') }, soon())).toBeUndefined();
    expect(cluster.asked).toEqual([]);
  });

  it('a cluster that does not answer is told as it is', async () => {
    const { cluster, authenticator } = open();
    cluster.fault = new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: 'away' });
    const bearer = await accountToken('books');
    await expect(authenticator.authenticate({ bearer }, soon())).rejects.toBe(cluster.fault);
  });

  it('options: each wrong field has its path', async () => {
    const wrong = [{ namespace: 'A', name: '', roles: ['x'] }];
    expect(await wrongPaths(() => serviceAccountAuthenticator({ review: 1 as never, accounts: wrong }))).toEqual([
      'review',
      'accounts.0.namespace',
      'accounts.0.name',
      'accounts.0.roles.0',
    ]);
  });
});

describe('anyOf', () => {
  const knows = (subject: string, member: keyof ShownCredentials): Authenticator => ({
    authenticate: async (shown) => (shown[member] === undefined ? undefined : { subject, via: 'jwt', grants: [] }),
  });
  const fails = (error: unknown): Authenticator => ({ authenticate: async () => Promise.reject(error) });
  const away = new BifrostError({ code: 'AUTH_UNAVAILABLE', message: 'away' });
  const bearer = new Secret('token');

  it('the first that knows the caller says who it is', async () => {
    const authenticator = anyOf([knows('a', 'apiKey'), knows('b', 'bearer'), knows('c', 'bearer')]);
    expect((await authenticator.authenticate({ bearer }, soon()))?.subject).toBe('b');
    expect(await anyOf([]).authenticate({ bearer }, soon())).toBeUndefined();
  });

  it('one that cannot say now hinders none that can; else it is told', async () => {
    expect((await anyOf([fails(away), knows('b', 'bearer')]).authenticate({ bearer }, soon()))?.subject).toBe('b');
    await expect(anyOf([fails(away), knows('b', 'apiKey')]).authenticate({ bearer }, soon())).rejects.toBe(away);
    const bug = new RangeError('a bug');
    await expect(anyOf([fails(bug), knows('b', 'bearer')]).authenticate({ bearer }, soon())).rejects.toBe(bug);
  });

  it('an aborted call rejects with the reason itself', async () => {
    const reason = new Error('the caller left');
    await expect(anyOf([knows('a', 'bearer')]).authenticate({ bearer }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const during = new AbortController();
    const leaves: Authenticator = {
      authenticate: async () => {
        during.abort(reason);
        throw away;
      },
    };
    await expect(anyOf([leaves, knows('b', 'bearer')]).authenticate({ bearer }, { signal: during.signal })).rejects.toBe(reason);
  });

  it('each real kind finds its own among all of them, and a bad token does not leave the rights of the connection', async () => {
    const clock = new ManualClock();
    await using issuer = await openIssuer(own);
    const { key, id, sha256 } = createApiKey({ id: 'billing' });
    const cluster = new FakeReview();
    const authenticator = anyOf([
      certificateAuthenticator({ identities: [{ uri: 'spiffe://example.org/envoy', subject: 'envoy', roles: ['admin:*'] }] }),
      apiKeyAuthenticator({ keys: [{ id, sha256, subject: 'billing', roles: [] }] }),
      jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys: { jwksUrl: issuer.jwksUrl }, clock }),
      jwtAuthenticator({ issuer: 'https://second', audience: AUDIENCE, keys: { jwks: jwksOf(foreign) }, clock, subjectPrefix: 'second:' }),
      serviceAccountAuthenticator({ review: cluster.review, accounts: [{ namespace: 'platform', name: 'books', roles: [] }] }),
    ]);
    const account = await accountToken('books');
    cluster.accounts.set(account.reveal(), { namespace: 'platform', serviceAccount: 'books' });
    const subjectOf = async (shown: ShownCredentials) => (await authenticator.authenticate(shown, soon()))?.subject;
    expect(await subjectOf({ apiKey: key })).toBe('billing');
    expect(await subjectOf({ bearer: await sign(own, clock.nowMs()) })).toBe('ada');
    expect(await subjectOf({ bearer: await sign(foreign, clock.nowMs(), { iss: 'https://second' }) })).toBe('second:ada');
    expect(await subjectOf({ bearer: account })).toBe('system:serviceaccount:platform:books');
    expect(await subjectOf({ clientCertificate: CERTIFICATE })).toBe('envoy');
    expect(await subjectOf({ clientCertificate: CERTIFICATE, apiKey: key })).toBe('billing');
    expect(await subjectOf({ clientCertificate: CERTIFICATE, bearer: await sign(own, clock.nowMs(), { exp: 1 }) })).toBeUndefined();
    expect(await subjectOf({ clientCertificate: CERTIFICATE, bearer: new Secret('') })).toBeUndefined();
    expect(cluster.asked).toEqual([account.reveal()]);
  });

  it('no credential is in what is said of a caller or an error', async () => {
    const { key, id, sha256 } = createApiKey({ id: 'billing' });
    const token = await sign(own, Date.now(), { bifrost_roles: ['viewer:*'] });
    const shown: ShownCredentials = { bearer: token, apiKey: key, clientCertificate: CERTIFICATE };
    await using issuer = await openIssuer();
    issuer.become('failing');
    const keys = { jwksUrl: issuer.jwksUrl };
    const unavailable = await refusalOf(() => jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys }).authenticate({ bearer: token }, soon()));
    const known = await apiKeyAuthenticator({ keys: [{ id, sha256, subject: 'billing', roles: [] }] }).authenticate({ apiKey: key }, soon());
    const byToken = await jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys: { jwks: jwksOf(own) } }).authenticate(
      { bearer: token },
      soon(),
    );
    expect([known?.via, byToken?.via]).toEqual(['api-key', 'jwt']);
    const said = [shown, unavailable, known, byToken].map(printed).join('\n');
    for (const part of [...token.reveal().split('.'), key.reveal().slice('bfk_billing_'.length), sha256]) expect(said).not.toContain(part);
  });
});
