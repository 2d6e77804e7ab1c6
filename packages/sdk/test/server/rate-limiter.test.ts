import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RateLimiter, type RateLimiterOptions, rateLimited, rateLimitHeaders, tighterOf } from '../../src/server/limits/rate-limiter.ts';
import { wrongPaths } from './support/caught.ts';

const SMALL: RateLimiterOptions = {
  caller: { pointsPerSecond: 10, burst: 50 },
  customer: { pointsPerSecond: 10, burst: 100 },
  attempt: { pointsPerSecond: 1, burst: 3 },
};

describe('RateLimiter', () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_767_225_600_000 })); // the library has its own clock
  afterEach(() => void vi.useRealTimers());

  it('counts points down, refuses, and gives all back after their time', async () => {
    using limiter = new RateLimiter(SMALL);
    expect(await limiter.takeForCaller('a', 10)).toEqual({ allowed: true, limit: 50, remaining: 40, resetSeconds: 5, retryAfterMs: 0 });
    vi.advanceTimersByTime(1_500);
    expect(await limiter.takeForCaller('a', 40)).toEqual({ allowed: true, limit: 50, remaining: 0, resetSeconds: 4, retryAfterMs: 0 });
    expect(await limiter.takeForCaller('a', 1)).toEqual({ allowed: false, limit: 50, remaining: 0, resetSeconds: 4, retryAfterMs: 3_500 });
    expect((await limiter.takeForCaller('b', 1)).allowed).toBe(true);
    vi.advanceTimersByTime(3_500);
    expect(await limiter.takeForCaller('a', 1)).toMatchObject({ allowed: true, remaining: 49 });
  });

  it('in the long run gives no more than its rate', async () => {
    using limiter = new RateLimiter(SMALL);
    let allowed = 0;
    for (let tenth = 0; tenth < 1_000; tenth += 1) {
      for (let times = 0; times < 5; times += 1) if ((await limiter.takeForCaller('a', 1)).allowed) allowed += 1;
      vi.advanceTimersByTime(100);
    }
    expect(allowed).toBeLessThanOrEqual(10 * 100 + 50);
    expect(allowed).toBeGreaterThan(900);
  });

  it('what is refused takes nothing', async () => {
    using limiter = new RateLimiter(SMALL);
    await limiter.takeForCaller('a', 45);
    for (let times = 0; times < 10; times += 1) expect(await limiter.takeForCaller('a', 10)).toMatchObject({ allowed: false, remaining: 5 });
    expect(await limiter.takeForCaller('a', 5)).toMatchObject({ allowed: true, remaining: 0 });
  });

  it('what is refused takes nothing, for a moment either: of many at once, each gets what is left for it', async () => {
    using limiter = new RateLimiter(SMALL);
    await limiter.takeForCaller('a', 45);
    const costs = [10, 10, 3, 10, 3, 2, 10, 1];
    const verdicts = await Promise.all(costs.map((cost) => limiter.takeForCaller('a', cost)));
    expect(verdicts.map(({ allowed, remaining }) => [allowed, remaining])).toEqual([
      [false, 5],
      [false, 5],
      [true, 2],
      [false, 2],
      [false, 2],
      [true, 0],
      [false, 0],
      [false, 0],
    ]);
    expect(await limiter.takeForCaller('b', 50)).toMatchObject({ allowed: true });
  });

  it('a refusal at the end of the time gives no more points than there are', async () => {
    using limiter = new RateLimiter(SMALL);
    await limiter.takeForCaller('a', 45);
    const late = limiter.takeForCaller('a', 10);
    vi.setSystemTime(Date.now() + 5_000); // its time is over while it is looked at, and no timer has told yet
    await late;
    const verdicts = await Promise.all(Array.from({ length: 60 }, () => limiter.takeForCaller('a', 1)));
    expect(verdicts.filter(({ allowed }) => allowed).length).toBeLessThanOrEqual(50);
  });

  it('a call dearer than all points takes all of them', async () => {
    using limiter = new RateLimiter({ caller: { pointsPerSecond: 1, burst: 20 } });
    expect(await limiter.takeForCaller('a', 50)).toMatchObject({ allowed: true, remaining: 0 });
    expect(await limiter.takeForCaller('b', 1)).toMatchObject({ allowed: true, remaining: 19 });
    expect((await limiter.takeForCaller('b', 50)).allowed).toBe(false);
  });

  it('many at once get no more than there are', async () => {
    using limiter = new RateLimiter(SMALL);
    const verdicts = await Promise.all(Array.from({ length: 200 }, () => limiter.takeForCustomer('customer-123', 1)));
    expect(verdicts.filter(({ allowed }) => allowed)).toHaveLength(100);
  });

  it('caller, customer and peer of one name are three', async () => {
    using limiter = new RateLimiter(SMALL);
    await limiter.takeForCaller('a', 50);
    expect(await limiter.takeForCustomer('a', 1)).toMatchObject({ remaining: 99 });
    expect((await limiter.takeAttempt('a')).verdict).toMatchObject({ remaining: 2 });
    expect(limiter.size).toBe(3);
  });

  it('guessing is slow, also with many guesses at once; who is known is not counted', async () => {
    using limiter = new RateLimiter(SMALL);
    const guesses = await Promise.all(Array.from({ length: 100 }, () => limiter.takeAttempt('192.0.2.1')));
    expect(guesses.filter(({ verdict }) => verdict.allowed)).toHaveLength(3);
    for (const { forgive, verdict } of guesses) if (!verdict.allowed) forgive(); // gives nothing back that was not taken
    expect((await limiter.takeAttempt('192.0.2.1')).verdict.allowed).toBe(false);
    for (let times = 0; times < 100; times += 1) {
      const attempt = await limiter.takeAttempt('192.0.2.2');
      expect(attempt.verdict).toMatchObject({ allowed: true, remaining: 2 });
      attempt.forgive();
      attempt.forgive();
    }
  });

  it('forgiving late gives no more points than there are', async () => {
    using limiter = new RateLimiter(SMALL);
    const attempts = await Promise.all(Array.from({ length: 3 }, () => limiter.takeAttempt('192.0.2.1')));
    vi.advanceTimersByTime(3_000);
    for (const { forgive } of attempts) forgive();
    const later = await Promise.all(Array.from({ length: 10 }, () => limiter.takeAttempt('192.0.2.1')));
    expect(later.filter(({ verdict }) => verdict.allowed)).toHaveLength(3);
  });

  it.each([
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::9', true],
    ['2001:db8::1', '2001:DB8:0:0:ffff::', true],
    ['2001:db8::1', '2001:db8:0:1::1', false],
    ['::1', '0:0:0:0:1::', true],
    ['fe80::1%eth0', 'fe80::2', true],
    ['::ffff:192.0.2.1', '192.0.2.1', true],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.2', false],
    ['192.0.2.1', '192.0.2.2', false],
  ])('%s and %s are one peer: %s', async (first, second, isSame) => {
    using limiter = new RateLimiter(SMALL);
    await limiter.takeAttempt(first);
    expect((await limiter.takeAttempt(second)).verdict.remaining).toBe(isSame ? 1 : 2);
  });

  it('100 000 callers do not grow it, or its timers, without bound', async () => {
    using limiter = new RateLimiter({ ...SMALL, maxKeys: 1_000 });
    for (let number = 0; number < 100_000; number += 1) await limiter.takeForCaller(`caller-${number}`, 50);
    expect(limiter.size).toBe(1_000);
    expect(vi.getTimerCount()).toBe(1_000);
    expect((await limiter.takeForCaller('caller-99999', 1)).allowed).toBe(false);
    expect((await limiter.takeForCaller('caller-0', 1)).allowed).toBe(true); // it was forgotten
  });

  it('leaves no timer behind', async () => {
    const limiter = new RateLimiter(SMALL);
    await limiter.takeForCaller('a', 1);
    await limiter.takeForCustomer('a', 1);
    await limiter.takeAttempt('a');
    expect(vi.getTimerCount()).toBe(3);
    limiter[Symbol.dispose]();
    limiter[Symbol.dispose]();
    expect([vi.getTimerCount(), limiter.size]).toEqual([0, 0]);
  });

  it('is told in headers, and as RATE_LIMITED', async () => {
    using limiter = new RateLimiter(SMALL);
    const well = await limiter.takeForCaller('a', 50);
    expect(rateLimitHeaders(well)).toEqual({ 'ratelimit-limit': '50', 'ratelimit-remaining': '0', 'ratelimit-reset': '5' });
    vi.advanceTimersByTime(1_001);
    const refused = await limiter.takeForCaller('a', 1);
    expect(rateLimitHeaders(refused)).toEqual({ 'ratelimit-limit': '50', 'ratelimit-remaining': '0', 'ratelimit-reset': '4', 'retry-after': '4' });
    expect(rateLimited(refused)).toMatchObject({ code: 'RATE_LIMITED', retry: 'backoff', retryAfterMs: 3_999 });
    const customer = await limiter.takeForCustomer('c', 60);
    expect(tighterOf(customer, refused)).toBe(refused);
    expect(tighterOf(refused, customer)).toBe(refused);
    expect(tighterOf(customer, well)).toBe(well);
  });

  it('options: each wrong field has its path, and each documented @default is the default', async () => {
    const wrong = { caller: { pointsPerSecond: 0, burst: 1.5 }, customer: { pointsPerSecond: 1, burst: 86_401 }, attempt: { burst: 1 }, keys: 1 };
    const paths = await wrongPaths(() => new RateLimiter(wrong as never));
    expect([...paths].sort()).toEqual(['attempt.pointsPerSecond', 'caller.burst', 'caller.pointsPerSecond', 'customer', 'keys']);
    using limiter = new RateLimiter();
    const source = readFileSync(new URL('../../src/server/limits/rate-limiter.ts', import.meta.url), 'utf8');
    const documented = [...source.matchAll(/@default (\{.+?\}) \*\//g)].map(([, text = '']) => (JSON.parse(text) as { burst: number }).burst);
    const [caller, customer, attempt] = [await limiter.takeForCaller('a', 1), await limiter.takeForCustomer('a', 1), await limiter.takeAttempt('a')];
    expect([caller.limit, customer.limit, attempt.verdict.limit]).toEqual(documented);
  });
});
