import { hash } from 'node:crypto';
import { parseOrThrow } from '@bifrost/types';
import { BifrostError, ERROR_CODES } from '@bifrost/types/core';
import { z } from 'zod';
import { untilAborted } from '../../domain/until-aborted.ts';
import type { Clock } from '../../ports/clock.ts';

/** Options of {@link IdempotencyStore}. */
export interface IdempotencyOptions<Answer> {
  /** What an answer takes in memory, bytes. */
  readonly sizeBytesOf: (answer: Answer) => number;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** How long an answer is kept, milliseconds. @default 86400000 */
  readonly keepMs?: number;
  /** Answers that are kept. @default 100000 */
  readonly maxEntries?: number;
  /** What they take together, bytes. @default 67108864 */
  readonly maxBytes?: number;
}

/** A call that carries an idempotency key. */
export interface KeyedCall {
  /** Whose key it is: what `callerOf` says. Keys of two callers never meet. */
  readonly caller: string;
  /** 1 to 128 visible ASCII characters. */
  readonly key: string;
  /** What {@link hashOfRequest} says. */
  readonly requestHash: string;
  /** Of this call: it ends its own waiting, never another's work. */
  readonly signal: AbortSignal;
}

/** How a call ended that is kept. */
export type Settled<Answer> = { readonly kind: 'answer'; readonly answer: Answer } | { readonly kind: 'error'; readonly error: BifrostError };

/** How a keyed call ended, and whether by an earlier one: then tell `idempotency-replayed: true`. */
export type KeyedOutcome<Answer> = Settled<Answer> & { readonly replayed: boolean };

const KEY = /^[\x21-\x7e]{1,128}$/;
const FIXED_BYTES = 256; // what the maps and the hash take beside the answer and the names
const HEADER = 'idempotency-key';

const optionsSchema = z.object({
  keepMs: z.int().min(1).default(86_400_000),
  maxEntries: z.int().min(1).default(100_000),
  maxBytes: z.int().min(1).default(67_108_864),
});

interface Entry<Answer> {
  readonly requestHash: string;
  readonly settled: Settled<Answer>;
  readonly untilMs: number;
  readonly bytes: number;
}

interface Running<Answer> {
  readonly requestHash: string;
  readonly signal: AbortSignal;
  readonly ended: Promise<Settled<Answer>>;
}

interface Shelf<Answer> {
  bytes: number;
  /** Oldest use first. */
  readonly entries: Map<string, Entry<Answer>>;
}

/** Tells requests apart: the same call with the same content has the same hash. `content` is written one way for equal requests (canonical). */
export const hashOfRequest = (method: string, content: string | Uint8Array): string =>
  hash('sha256', Buffer.concat([Buffer.from(`${method}\0`), Buffer.from(content)]), 'base64');

/**
 * Answers of calls that carried an idempotency key, in this process, so that a call whose answer was lost can be made again and is not done twice.
 *
 * The first call with a key does the work; one that comes meanwhile waits for it; a later one gets the kept answer. Errors are kept when they speak of
 * the request. Not kept are those that may pass (`retry: 'backoff'`) and those that speak of the service (status 500 and above): with the same key the
 * work is done again.
 * The store is bounded. When it is full, the caller who takes the most loses what it used longest ago, so that one cannot push out the others.
 */
export class IdempotencyStore<Answer> {
  readonly #options: z.output<typeof optionsSchema> & Pick<IdempotencyOptions<Answer>, 'sizeBytesOf' | 'clock'>;
  readonly #shelves = new Map<string, Shelf<Answer>>();
  readonly #running = new Map<string, Running<Answer>>();
  #bytes = 0;
  #count = 0;

  /** @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field */
  constructor(options: IdempotencyOptions<Answer>) {
    const { sizeBytesOf, clock } = options;
    this.#options = { ...parseOrThrow(optionsSchema, options, 'INVALID_OPTIONS'), sizeBytesOf, clock };
  }

  /** Answers that are kept, and what they take, bytes. */
  get kept(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#count, bytes: this.#bytes };
  }

  /**
   * The outcome of `work`, or of the call that had this key before. What is no `BifrostError` is rejected with and not kept.
   *
   * Cancel: rejects with `signal.reason` itself. The work of this call sees the signal only if `work` hands it on; when the call that works was
   * cancelled, one that waits for it does the work instead.
   * @throws {BifrostError} `INVALID_ARGUMENT` — the key; `IDEMPOTENCY_KEY_REUSED` — the caller used it for another request
   */
  async run(call: KeyedCall, work: () => Promise<Answer>): Promise<KeyedOutcome<Answer>> {
    const { caller, key, requestHash, signal } = call;
    if (!KEY.test(key)) {
      const message = 'must be 1 to 128 visible ASCII characters';
      throw new BifrostError({ code: 'INVALID_ARGUMENT', message: `${HEADER} ${message}`, issues: [{ path: HEADER, message }] });
    }
    const name = JSON.stringify([caller, key]);
    for (;;) {
      signal.throwIfAborted();
      const kept = this.#find(caller, key);
      const known = kept ?? this.#running.get(name);
      if (known !== undefined && known.requestHash !== requestHash) throw reused();
      if (kept !== undefined) return { ...kept.settled, replayed: true };
      const running = this.#running.get(name);
      if (running === undefined) return { ...(await this.#work(name, call, work)), replayed: false };
      const settled = await waitFor(running, signal);
      if (settled !== undefined) return { ...settled, replayed: true };
    }
  }

  async #work(name: string, { caller, key, requestHash, signal }: KeyedCall, work: () => Promise<Answer>): Promise<Settled<Answer>> {
    const ended = settle(work);
    ended.catch(() => undefined); // told to whoever made this call; those who wait ask for themselves
    this.#running.set(name, { requestHash, signal, ended });
    try {
      const settled = await ended;
      if (isKept(settled)) this.#keep({ caller, key, requestHash }, settled);
      return settled;
    } finally {
      this.#running.delete(name);
    }
  }

  #find(caller: string, key: string): Entry<Answer> | undefined {
    const shelf = this.#shelves.get(caller);
    const entry = shelf?.entries.get(key);
    if (shelf === undefined || entry === undefined) return undefined;
    this.#drop(caller, key);
    if (entry.untilMs <= this.#options.clock.nowMs()) return undefined;
    this.#put(caller, key, entry); // now it is the one that was used last
    return entry;
  }

  #keep({ caller, key, requestHash }: Omit<KeyedCall, 'signal'>, settled: Settled<Answer>): void {
    const { clock, keepMs, maxBytes, maxEntries, sizeBytesOf } = this.#options;
    const own = settled.kind === 'answer' ? sizeBytesOf(settled.answer) : JSON.stringify(settled.error).length * 2;
    const bytes = own + (caller.length + key.length) * 2 + FIXED_BYTES;
    if (bytes > maxBytes) return;
    this.#put(caller, key, { requestHash, settled, bytes, untilMs: clock.nowMs() + keepMs });
    while (this.#bytes > maxBytes || this.#count > maxEntries) this.#dropOldestOfLargest();
  }

  #put(caller: string, key: string, entry: Entry<Answer>): void {
    this.#drop(caller, key);
    const shelf = this.#shelves.get(caller) ?? { bytes: 0, entries: new Map() };
    this.#shelves.set(caller, shelf);
    shelf.entries.set(key, entry);
    shelf.bytes += entry.bytes;
    this.#bytes += entry.bytes;
    this.#count += 1;
  }

  #drop(caller: string, key: string): void {
    const shelf = this.#shelves.get(caller);
    const entry = shelf?.entries.get(key);
    if (shelf === undefined || entry === undefined) return;
    shelf.entries.delete(key);
    shelf.bytes -= entry.bytes;
    this.#bytes -= entry.bytes;
    this.#count -= 1;
    if (shelf.entries.size === 0) this.#shelves.delete(caller);
  }

  #dropOldestOfLargest(): void {
    let largest: [string, Shelf<Answer>] | undefined;
    for (const one of this.#shelves) if (largest === undefined || one[1].bytes > largest[1].bytes) largest = one;
    const [caller = '', shelf] = largest ?? [];
    const [oldest] = shelf?.entries.keys() ?? [];
    if (oldest !== undefined) this.#drop(caller, oldest);
  }
}

async function settle<Answer>(work: () => Promise<Answer>): Promise<Settled<Answer>> {
  try {
    return { kind: 'answer', answer: await work() };
  } catch (error) {
    if (BifrostError.is(error)) return { kind: 'error', error };
    throw error; // a bug, or the caller left
  }
}

/** What the running call comes to; undefined when it was cancelled and came to nothing. */
async function waitFor<Answer>({ ended, signal: ofFirst }: Running<Answer>, signal: AbortSignal): Promise<Settled<Answer> | undefined> {
  try {
    return await untilAborted(ended, signal);
  } catch (error) {
    if (!signal.aborted && ofFirst.aborted) return undefined;
    throw error;
  }
}

function isKept<Answer>(settled: Settled<Answer>): boolean {
  return settled.kind === 'answer' || (settled.error.retry === 'never' && ERROR_CODES[settled.error.code].http < 500);
}

const reused = (): BifrostError =>
  new BifrostError({
    code: 'IDEMPOTENCY_KEY_REUSED',
    message: 'This idempotency key was used for another request: take a new key for each request.',
    issues: [{ path: HEADER, message: 'was used for another request' }],
  });

/** Header that says so of an answer that an earlier call got already. */
export const replayedHeaders = ({ replayed }: { readonly replayed: boolean }): Readonly<Record<string, string>> =>
  replayed ? { 'idempotency-replayed': 'true' } : {};
