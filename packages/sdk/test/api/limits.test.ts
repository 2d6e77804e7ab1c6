// Keys that make a call the same call, and limits, as callers of the doors see them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Attempts } from '../../src/server/limits/attempts.ts';
import { RateLimiter } from '../../src/server/limits/rate-limiter.ts';
import { PLENTY, reasonOf, Served, TAILNET, toldBy } from './support/served.ts';

const path = '/api/v1/networks/tailnets';
const wish = (name: string) => ({ customer_id: 'acme-corp', tailnet_name: name, config: { allowed_networks: ['10.0.0.0/8'] } });

describe('an idempotency key', () => {
  let served: Served;
  beforeAll(async () => {
    served = await Served.open();
  });
  afterAll(() => served[Symbol.asyncDispose]());
  const create = (key: string, name: string, who = 'admin:*') =>
    served.rest(who, { method: 'POST', path, body: wish(name), headers: { 'idempotency-key': key } });

  it('makes a repeated call the same call, through either door and of one caller', async () => {
    const [first, again] = [await create('one', 'once'), await create('one', 'once')];
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.body).toEqual(first.body);
    expect([first, again].map(({ headers }) => headers['idempotency-replayed'])).toEqual([undefined, 'true']);
    let heard = new Headers();
    const grpc = served.grpc('admin:*', { 'idempotency-key': 'one' }, (headers) => (heard = headers));
    const request = { customerId: 'acme-corp', tailnetName: 'once', config: { allowedNetworks: ['10.0.0.0/8'] } };
    expect((await grpc.createTailnet(request)).tailnetId).toBe((first.body as { readonly tailnet_id: string }).tailnet_id);
    expect(heard.get('idempotency-replayed')).toBe('true');
    expect((await create('one', 'once', 'operator:acme-corp')).headers['idempotency-replayed']).toBeUndefined();
  });

  it('of another request is refused, and one that cannot be one too', async () => {
    await create('two', 'twice');
    expect(reasonOf(await create('two', 'other'))).toEqual({ reason: 'IDEMPOTENCY_KEY_REUSED', fields: ['idempotency-key'] });
    expect(reasonOf(await create('with space', 'other'))).toEqual({ reason: 'INVALID_ARGUMENT', fields: ['idempotency-key'] });
    expect(reasonOf(await create('a'.repeat(129), 'other')).reason).toBe('INVALID_ARGUMENT');
  });

  it('keeps the answer of many at once to one work', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => create('many', 'many-at-once')));
    expect(new Set(all.map(({ text }) => text)).size).toBe(1);
    expect(all.filter(({ headers }) => headers['idempotency-replayed'] === undefined)).toHaveLength(1);
  });
});

describe('limits', () => {
  it('are told with every answer; dear calls cost more; what is refused says when to come again', async () => {
    await using served = await Served.open({ rateLimits: { caller: { pointsPerSecond: 1, burst: 20 }, customer: PLENTY, attempt: PLENTY } });
    const left = async (sent: Parameters<Served['rest']>[1]) => Number((await served.rest('admin:*', sent)).headers['ratelimit-remaining']);
    expect(await left({ path: `${path}/${TAILNET}` })).toBe(19);
    expect(await left({ path })).toBe(14);
    expect(await left({ path: `${path}/none` })).toBe(13); // refusals too
    expect(await left({ method: 'POST', path, body: wish('cheap') })).toBe(3);
    const refused = await served.rest('admin:*', { path });
    expect(refused.status).toBe(429);
    expect(reasonOf(refused).reason).toBe('RATE_LIMITED');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused.text).toContain('retry_delay');
    let heard = new Headers();
    expect((await served.grpc('admin:*', {}, (headers) => (heard = headers)).getTailnet({ tailnetName: TAILNET })).tailnet).toBeDefined();
    expect(heard.get('ratelimit-remaining')).toBe('2');
    expect(await toldBy(() => served.grpc('admin:*').listTailnets({}))).toMatchObject({ code: 8, reason: 'RATE_LIMITED' });
  });

  it('of a customer are not spent by strangers', async () => {
    const small = { pointsPerSecond: 1, burst: 20 };
    await using served = await Served.open({ rateLimits: { caller: PLENTY, customer: small, attempt: PLENTY } });
    const own = () => served.rest('viewer:acme-corp', { path: `${path}/${TAILNET}` });
    expect((await own()).headers['ratelimit-remaining']).toBe('19');
    for (let times = 0; times < 50; times += 1) {
      await served.rest('admin:other-corp', { path: `${path}/${TAILNET}` });
      await served.rest('admin:other-corp', { path: `${path}?customer_id=acme-corp` });
      await served.rest('admin:other-corp', { method: 'POST', path, body: wish('theirs') });
    }
    expect((await own()).headers['ratelimit-remaining']).toBe('18');
  });

  it('of guesses go by address, and many honest calls at once are none', async () => {
    await using served = await Served.open({ rateLimits: { caller: PLENTY, customer: PLENTY, attempt: { pointsPerSecond: 1, burst: 5 } } });
    const honest = await Promise.all(Array.from({ length: 100 }, () => served.rest('admin:*', { path: `${path}/${TAILNET}` })));
    expect(new Set(honest.map(({ status }) => status))).toEqual(new Set([200]));
    const guesses = await Promise.all(Array.from({ length: 100 }, (_, index) => served.rest(`bfk_a_${index}`, { path })));
    expect(guesses.filter(({ status }) => status === 401)).toHaveLength(5);
    expect(guesses.filter(({ status }) => status === 429)).toHaveLength(95);
    expect((await served.rest('admin:*', { path })).status).toBe(429);
  });
});

describe('Attempts', () => {
  const SMALL = { attempt: { pointsPerSecond: 1, burst: 2 } };
  const soon = () => AbortSignal.timeout(5_000);

  it('waits for those that are being looked at, and then has what they leave', async () => {
    using limiter = new RateLimiter(SMALL);
    const attempts = new Attempts(limiter);
    const looks = Array.from({ length: 6 }, () => Promise.withResolvers<string | undefined>());
    let looked = 0;
    const judged = looks.map(({ promise }) => {
      const look = () => {
        looked += 1;
        return promise;
      };
      return attempts.judge('2001:db8::1', { signal: soon(), look });
    });
    for (const each of looks.slice(0, 4)) each.resolve('known');
    for (const each of looks.slice(4)) each.resolve(undefined);
    expect((await Promise.all(judged)).map((each) => each.refused === undefined)).toEqual(Array(6).fill(true));
    expect(looked).toBe(6);
    const after = await attempts.judge('2001:db8::2', { signal: soon(), look: async () => 'known' });
    expect(after.refused).toMatchObject({ allowed: false });
  });

  it('counts no attempt when nobody could be asked, and ends the waiting of who leaves', async () => {
    using limiter = new RateLimiter(SMALL);
    const attempts = new Attempts(limiter);
    const { BifrostError } = await import('@bifrost/types/core');
    const down = new BifrostError({ code: 'AUTH_UNAVAILABLE', message: 'not now' });
    for (let times = 0; times < 10; times += 1)
      await expect(attempts.judge('a', { signal: soon(), look: () => Promise.reject(down) })).rejects.toBe(down);
    const never = Promise.withResolvers<string>();
    const held = [1, 2].map(() => attempts.judge('a', { signal: soon(), look: () => never.promise }));
    const leaving = new AbortController();
    const waiting = attempts.judge('a', { signal: leaving.signal, look: async () => 'known' });
    const next = attempts.judge('a', { signal: soon(), look: async () => 'known' });
    leaving.abort(new RangeError('left'));
    await expect(waiting).rejects.toBe(leaving.signal.reason);
    never.resolve('known');
    expect(await Promise.all([...held, next])).toEqual([{ known: 'known' }, { known: 'known' }, { known: 'known' }]);
  });
});
