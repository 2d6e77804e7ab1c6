import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type JwtOptions, jwtAuthenticator } from '../../src/server/auth/jwt.ts';
import { ManualClock } from '../../src/testing/manual-clock.ts';
import { refusalOf, soon } from './support/caught.ts';
import { AUDIENCE, ISSUER, jwksOf, openIssuer, sign, signingKey } from './support/issuer.ts';

const [one, two] = [await signingKey('one'), await signingKey('two')];
const MINUTE = 60_000;

/** No token is remembered: each call needs the keys. */
async function open(options: Partial<JwtOptions> = {}) {
  const clock = new ManualClock();
  const issuer = await openIssuer(one);
  const keys = { jwksUrl: issuer.jwksUrl };
  const authenticator = jwtAuthenticator({ issuer: ISSUER, audience: AUDIENCE, keys, clock, cacheSeconds: 0, ...options });
  const ask = async (key = one) => authenticator.authenticate({ bearer: await sign(key, clock.nowMs()) }, soon());
  return { clock, issuer, authenticator, ask, [Symbol.asyncDispose]: () => issuer[Symbol.asyncDispose]() };
}

describe('the keys of an issuer', () => {
  it('are fetched with the first token, once for many at once', async () => {
    await using world = await open();
    expect(world.issuer.requests).toBe(0);
    expect((await Promise.all(Array.from({ length: 50 }, () => world.ask()))).every((principal) => principal?.subject === 'ada')).toBe(true);
    expect(world.issuer.requests).toBe(1);
  });

  it('rotate: a token with a new key is believed, one with a key that was taken back no longer', async () => {
    await using world = await open();
    expect(await world.ask()).toBeDefined();
    world.issuer.publish(one, two);
    await world.clock.advance(10_000);
    expect(await world.ask(two)).toBeDefined();
    world.issuer.publish(two);
    await world.clock.advance(10 * MINUTE - 1);
    expect(await world.ask()).toBeDefined();
    await world.clock.advance(1);
    expect(await world.ask()).toBeUndefined();
    expect(await world.ask(two)).toBeDefined();
  });

  it('invented key names become no more than one request in ten seconds', async () => {
    await using world = await open();
    await world.ask();
    const inventor = await signingKey('invented');
    for (let second = 0; second < 30; second += 1) {
      expect(await world.ask(inventor)).toBeUndefined();
      await world.clock.advance(1_000);
    }
    expect(world.issuer.requests).toBe(3);
  });

  it('tokens of another issuer, of old, or of no known signature ask for nothing', async () => {
    await using world = await open();
    const claims = [{ iss: 'https://other' }, { exp: 1 }, { exp: undefined }];
    for (const change of claims) {
      const bearer = await sign(one, world.clock.nowMs(), change);
      expect(await world.authenticator.authenticate({ bearer }, soon())).toBeUndefined();
    }
    expect(await world.ask(await signingKey('es512', 'ES512'))).toBeUndefined();
    expect(world.issuer.requests).toBe(0);
  });
});

describe('an issuer that is away', () => {
  it.each(['failing', 'moved'] as const)('%s: known keys are believed for a day; an unknown key is AUTH_UNAVAILABLE', async (mode) => {
    await using world = await open();
    expect(await world.ask()).toBeDefined();
    world.issuer.become(mode);
    await world.clock.advance(24 * 60 * MINUTE - 1);
    expect(await world.ask()).toBeDefined();
    const error = await refusalOf(() => world.ask(two));
    expect(error).toMatchObject({ code: 'AUTH_UNAVAILABLE', retry: 'backoff', retryAfterMs: 10_000 });
    await world.clock.advance(1);
    expect((await refusalOf(() => world.ask())).code).toBe('AUTH_UNAVAILABLE');
    world.issuer.become('well');
    await world.clock.advance(10_000);
    expect(await world.ask()).toBeDefined();
    expect(await world.ask(two)).toBeUndefined(); // now it is known that there is no such key
  });

  it('from the start: AUTH_UNAVAILABLE, asked again after ten seconds', async () => {
    await using world = await open();
    world.issuer.become('failing');
    for (let times = 0; times < 20; times += 1) expect((await refusalOf(() => world.ask())).code).toBe('AUTH_UNAVAILABLE');
    expect(world.issuer.requests).toBe(1);
    world.issuer.become('well');
    await world.clock.advance(10_000);
    expect(await world.ask()).toBeDefined();
  });

  it('hanging costs nobody time who has a known key, once it is known to hang', async () => {
    await using world = await open();
    await world.ask();
    world.issuer.become('failing');
    await world.clock.advance(10 * MINUTE);
    expect(await world.ask()).toBeDefined(); // it has failed once
    world.issuer.become('hanging');
    await world.clock.advance(10_000);
    expect(await world.ask()).toBeDefined(); // resolves while the request hangs
    await expect.poll(() => world.issuer.requests).toBe(3);
    world.issuer.release();
  });

  it('a caller who leaves rejects with the reason itself, and the keys come all the same', async () => {
    await using world = await open();
    world.issuer.become('hanging');
    const leaving = new AbortController();
    const asking = world.authenticator.authenticate({ bearer: await sign(one, world.clock.nowMs()) }, { signal: leaving.signal });
    await expect.poll(() => world.issuer.requests).toBe(1);
    const reason = new Error('the caller left');
    leaving.abort(reason);
    await expect(asking).rejects.toBe(reason);
    expect(getEventListeners(leaving.signal, 'abort')).toEqual([]);
    world.issuer.release();
  });

  it.each([
    ['no JSON', '<html>'],
    ['no keys', '{}'],
    ['too much', JSON.stringify({ keys: [], filler: 'x'.repeat(1_100_000) })],
  ])('answers that are %s are no keys, and take none away', async (_name, text) => {
    await using world = await open();
    await world.ask();
    world.issuer.publishText(text);
    await world.clock.advance(10 * MINUTE);
    expect(await world.ask()).toBeDefined();
    expect((await refusalOf(() => world.ask(two))).code).toBe('AUTH_UNAVAILABLE');
  });

  it('is asked by the function that was given', async () => {
    const asked: string[] = [];
    const fetched = async (url: string, { redirect, method }: RequestInit) => {
      asked.push(`${method} ${url} ${redirect}`);
      return Response.json(jwksOf(one));
    };
    await using world = await open({ keys: { jwksUrl: 'https://issuer.test/jwks', fetch: fetched } });
    expect(await world.ask()).toBeDefined();
    expect(asked).toEqual(['GET https://issuer.test/jwks manual']);
  });
});
