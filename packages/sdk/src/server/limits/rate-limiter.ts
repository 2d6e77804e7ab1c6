import { isIPv6 } from 'node:net';
import { parseOrThrow } from '@bifrost/types';
import { BifrostError } from '@bifrost/types/core';
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible';
import { z } from 'zod';
import { BoundedMap } from '../../domain/bounded-map.ts';

/** How fast points come back, and how many there are at most. */
export interface RateLimit {
  /** In the long run. */
  readonly pointsPerSecond: number;
  /** At once. They are all back after `burst / pointsPerSecond` seconds from the first that was taken. */
  readonly burst: number;
}

/** Options of `RateLimiter`. */
export interface RateLimiterOptions {
  /** Of each caller. @default { "pointsPerSecond": 20, "burst": 200 } */
  readonly caller?: RateLimit;
  /** Of each customer, by all callers together. @default { "pointsPerSecond": 50, "burst": 500 } */
  readonly customer?: RateLimit;
  /** Of attempts to be known, by each peer address. @default { "pointsPerSecond": 1, "burst": 20 } */
  readonly attempt?: RateLimit;
  /** Keys of each kind that are remembered; beyond them the one that was used longest ago starts anew. @default 50000 */
  readonly maxKeys?: number;
}

/** What a limit says. */
export interface RateVerdict {
  readonly allowed: boolean;
  /** Points there are at most. */
  readonly limit: number;
  /** Points that are left. */
  readonly remaining: number;
  /** Until all points are back, whole seconds. */
  readonly resetSeconds: number;
  /** When not allowed: the time after which the same call has its points, milliseconds. Else 0. */
  readonly retryAfterMs: number;
}

/** An attempt to be known: taken before anybody looks at what was shown, so that many at once are counted too. */
export interface Attempt {
  readonly verdict: RateVerdict;
  /** The caller is known: the attempt does not count. Safe to call twice. */
  forgive(): void;
}

const limit = z
  .strictObject({ pointsPerSecond: z.number().min(0.001).max(1_000_000), burst: z.int().min(1).max(1_000_000_000) })
  .refine(({ pointsPerSecond, burst }) => burst / pointsPerSecond <= 86_400, 'must come back within a day: burst / pointsPerSecond is at most 86400')
  .refine(
    ({ pointsPerSecond, burst }) => burst / pointsPerSecond >= 0.1,
    'must last for a tenth of a second: burst / pointsPerSecond is at least 0.1',
  );
const optionsSchema = z.strictObject({
  caller: limit.default({ pointsPerSecond: 20, burst: 200 }),
  customer: limit.default({ pointsPerSecond: 50, burst: 500 }),
  attempt: limit.default({ pointsPerSecond: 1, burst: 20 }),
  maxKeys: z.int().min(1).max(10_000_000).default(50_000),
});

interface Taken {
  readonly verdict: RateVerdict;
  readonly untilMs: number;
}

/** One limit for each of a bounded number of keys: the library's, which forgets a key only when its time is over. */
class LimitPerKey {
  readonly #limiter: RateLimiterMemory;
  readonly #keys: BoundedMap<string, true>;
  readonly #burst: number;
  /** The library takes points before it refuses: who asks at the same time must not miss them, so each is looked at and answered before the next. */
  #last: Promise<unknown> = Promise.resolve();

  constructor({ pointsPerSecond, burst }: RateLimit, maxKeys: number) {
    this.#limiter = new RateLimiterMemory({ points: burst, duration: burst / pointsPerSecond, keyPrefix: '' });
    this.#keys = new BoundedMap(maxKeys);
    this.#burst = burst;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** What is refused takes nothing: a dear call that finds too few points leaves them to cheap ones. `untilMs` is when all points are back. */
  take(key: string, cost: number): Promise<Taken> {
    const taken = this.#last.then(() => this.#take(key, cost));
    this.#last = taken.catch(() => undefined);
    return taken;
  }

  async #take(key: string, cost: number): Promise<Taken> {
    const evicted = this.#keys.set(key, true);
    if (evicted !== undefined) void this.#limiter.delete(evicted);
    const points = Math.min(Math.max(1, Math.ceil(cost)), this.#burst); // else a call dearer than all points could never be made
    const now = await this.#limiter.get(key);
    const isShort = now !== null && now.msBeforeNext > 0 && now.remainingPoints < points;
    return isShort ? this.#verdict(now, false) : this.#verdict(await this.#limiter.consume(key, points), true);
  }

  /** Points that are back by themselves at `untilMs` are not given back after it: there would be more than there are. */
  async giveBack(key: string, cost: number, untilMs: number): Promise<void> {
    if (this.#keys.has(key) && Date.now() < untilMs) await this.#limiter.reward(key, cost);
  }

  forgetAll(): void {
    for (const key of [...this.#keys.keys()]) {
      this.#keys.delete(key);
      void this.#limiter.delete(key); // done at once: the promise is the library's form
    }
  }

  #verdict({ remainingPoints: remaining, msBeforeNext }: RateLimiterRes, allowed: boolean): Taken {
    const waitMs = Math.max(1, Math.ceil(msBeforeNext));
    const verdict = { allowed, limit: this.#burst, remaining, resetSeconds: Math.ceil(waitMs / 1_000), retryAfterMs: allowed ? 0 : waitMs };
    return { verdict, untilMs: Date.now() + waitMs }; // the library's clock
  }
}

/** A peer's key: an IPv6 peer is its /64, since whoever has one address there has them all. */
export function peerKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [plain = ''] = address.split('%'); // without the zone
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = tail === undefined ? before : [...before, ...Array<string>(Math.max(0, 8 - before.length - after.length)).fill('0'), ...after];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

/**
 * Limits of a door, in this process: per caller, per customer, and of attempts to be known. Each key has points that are spent by calls (costs:
 * `METHOD_RULES`) and are all back some time after the first was taken.
 *
 * Take a caller's points before its rights are looked at, and a customer's only after: otherwise a stranger could spend them.
 *
 * @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field
 */
export class RateLimiter implements Disposable {
  readonly #callers: LimitPerKey;
  readonly #customers: LimitPerKey;
  readonly #attempts: LimitPerKey;

  constructor(options: RateLimiterOptions = {}) {
    const { caller, customer, attempt, maxKeys } = parseOrThrow(optionsSchema, options, 'INVALID_OPTIONS');
    this.#callers = new LimitPerKey(caller, maxKeys);
    this.#customers = new LimitPerKey(customer, maxKeys);
    this.#attempts = new LimitPerKey(attempt, maxKeys);
  }

  /** How many keys are remembered, of all kinds. */
  get size(): number {
    return this.#callers.size + this.#customers.size + this.#attempts.size;
  }

  /** `caller` is what `callerOf` says. */
  async takeForCaller(caller: string, cost: number): Promise<RateVerdict> {
    return (await this.#callers.take(caller, cost)).verdict;
  }

  /** Only for a caller who may do the call. */
  async takeForCustomer(customerId: string, cost: number): Promise<RateVerdict> {
    return (await this.#customers.take(customerId, cost)).verdict;
  }

  /** By the address of the peer, or of the client as a trusted proxy says it. An IPv6 address stands for its /64. */
  async takeAttempt(address: string): Promise<Attempt> {
    const key = peerKey(address);
    const { verdict, untilMs } = await this.#attempts.take(key, 1);
    let isCounted = verdict.allowed;
    const forgive = (): void => {
      if (isCounted) void this.#attempts.giveBack(key, 1, untilMs);
      isCounted = false;
    };
    return { verdict, forgive };
  }

  /** Forgets all keys and stops their timers. Safe to call twice. */
  [Symbol.dispose](): void {
    for (const limits of [this.#callers, this.#customers, this.#attempts]) limits.forgetAll();
  }
}

/** Of two limits that a call met, the one to tell: the one that refused, else the one with less left. */
export function tighterOf(first: RateVerdict, second: RateVerdict): RateVerdict {
  if (first.allowed !== second.allowed) return first.allowed ? second : first;
  return second.remaining < first.remaining ? second : first;
}

/** Headers that tell a caller its limit: on every answer, with `retry-after` when it was refused. */
export function rateLimitHeaders({ allowed, limit: most, remaining, resetSeconds, retryAfterMs }: RateVerdict): Readonly<Record<string, string>> {
  return {
    'ratelimit-limit': String(most),
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': String(resetSeconds),
    ...(allowed ? {} : { 'retry-after': String(Math.ceil(retryAfterMs / 1_000)) }),
  };
}

/** What a caller is told whom a limit refused. */
export function rateLimited({ retryAfterMs }: RateVerdict): BifrostError {
  return new BifrostError({ code: 'RATE_LIMITED', message: 'Too many calls: make the same call again after the time that is told.', retryAfterMs });
}
