import { getEventListeners } from 'node:events';
import { BifrostError, type ErrorCode } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { hashOfRequest, type IdempotencyOptions, IdempotencyStore, type KeyedCall, replayedHeaders } from '../../src/server/limits/idempotency.ts';
import { ManualClock } from '../../src/testing/manual-clock.ts';
import { refusalOf, soon, wrongPaths } from './support/caught.ts';

const DAY_MS = 86_400_000;

/** Work that the test ends when it likes. */
function heldWork() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let runs = 0;
  const work = (): Promise<string> => {
    runs += 1;
    return promise;
  };
  return { work, resolve, reject, runs: () => runs };
}

function open(options: Partial<IdempotencyOptions<string>> = {}) {
  const clock = new ManualClock();
  const store = new IdempotencyStore<string>({ clock, sizeBytesOf: (answer) => answer.length * 2, ...options });
  const call = (change: Partial<KeyedCall> = {}): KeyedCall => ({ caller: 'jwt:ada', key: 'key-1', requestHash: 'h', ...soon(), ...change });
  const keep = (key: string, answer: string, caller = 'jwt:ada') => store.run(call({ key, caller }), async () => answer);
  return { clock, store, call, keep };
}

const fails = (code: ErrorCode) => async (): Promise<string> => {
  throw new BifrostError({ code, message: 'no' });
};

describe('a call with an idempotency key', () => {
  it('is done once; the same call again gets its answer, for a day', async () => {
    const { clock, store, call, keep } = open();
    expect(await keep('key-1', 'first')).toEqual({ kind: 'answer', answer: 'first', replayed: false });
    await clock.advance(DAY_MS - 1);
    const again = await store.run(call(), async () => 'second');
    expect(again).toEqual({ kind: 'answer', answer: 'first', replayed: true });
    expect(replayedHeaders(again)).toEqual({ 'idempotency-replayed': 'true' });
    await clock.advance(1);
    const third = await store.run(call(), async () => 'third');
    expect(third).toEqual({ kind: 'answer', answer: 'third', replayed: false });
    expect(replayedHeaders(third)).toEqual({});
  });

  it('another request with the key is IDEMPOTENCY_KEY_REUSED, while the first runs and after', async () => {
    const { store, call } = open();
    const held = heldWork();
    const first = store.run(call(), held.work);
    const other = call({ requestHash: 'other' });
    expect(await refusalOf(() => store.run(other, held.work))).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED', retry: 'never' });
    held.resolve('first');
    await first;
    expect((await refusalOf(() => store.run(other, held.work))).issues.map(({ path }) => path)).toEqual(['idempotency-key']);
    expect(held.runs()).toBe(1);
  });

  it('of another caller is another', async () => {
    const { keep } = open();
    await keep('key-1', 'ada’s');
    expect(await keep('key-1', 'bob’s', 'jwt:bob')).toMatchObject({ answer: 'bob’s', replayed: false });
    expect(await keep('1', 'c', 'jwt:ada-key')).toMatchObject({ replayed: false });
  });

  it.each(['', 'a b', 'ä', 'a\n', 'x'.repeat(129)])('%j is no key: INVALID_ARGUMENT', async (key) => {
    const { store, call } = open();
    const held = heldWork();
    const error = await refusalOf(() => store.run(call({ key }), held.work));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', issues: [{ path: 'idempotency-key' }] });
    expect(held.runs()).toBe(0);
    expect((await store.run(call({ key: `~${'x'.repeat(127)}` }), async () => 'a')).replayed).toBe(false);
  });

  it('equal requests have one hash, others another', () => {
    expect(hashOfRequest('CreateTailnet', '{"a":1}')).toBe(hashOfRequest('CreateTailnet', Buffer.from('{"a":1}')));
    const hashes = [hashOfRequest('A', 'b'), hashOfRequest('Ab', ''), hashOfRequest('', 'Ab'), hashOfRequest('A', 'c')];
    expect(new Set(hashes).size).toBe(4);
  });
});

describe('calls with one key at the same time', () => {
  it('wait for the first', async () => {
    const { store, call } = open();
    const held = heldWork();
    const all = Array.from({ length: 20 }, () => store.run(call(), held.work));
    held.resolve('one');
    const outcomes = await Promise.all(all);
    expect(held.runs()).toBe(1);
    expect(outcomes.map(({ replayed }) => replayed)).toEqual([false, ...Array<boolean>(19).fill(true)]);
    expect(new Set(outcomes.map((outcome) => outcome.kind === 'answer' && outcome.answer))).toEqual(new Set(['one']));
  });

  it('one that leaves takes only itself away', async () => {
    const { store, call } = open();
    const held = heldWork();
    const first = store.run(call(), held.work);
    const leaving = new AbortController();
    const second = store.run(call({ signal: leaving.signal }), held.work);
    const third = store.run(call(), held.work);
    const reason = new Error('the caller left');
    leaving.abort(reason);
    await expect(second).rejects.toBe(reason);
    expect(getEventListeners(leaving.signal, 'abort')).toEqual([]);
    held.resolve('one');
    expect([await first, await third].map(({ replayed }) => replayed)).toEqual([false, true]);
    expect(held.runs()).toBe(1);
    await expect(store.run(call({ signal: leaving.signal }), held.work)).rejects.toBe(reason);
  });

  it('when the first leaves and its work ends with it, one of the others does the work', async () => {
    const { store, call } = open();
    const leaving = new AbortController();
    const reason = new Error('the caller left');
    const first = store.run(
      call({ signal: leaving.signal }),
      () => new Promise((_, reject) => leaving.signal.addEventListener('abort', () => reject(reason))),
    );
    const held = heldWork();
    const others = [store.run(call(), held.work), store.run(call(), held.work), store.run(call(), held.work)];
    leaving.abort(reason);
    await expect(first).rejects.toBe(reason);
    held.resolve('second');
    expect((await Promise.all(others)).map(({ replayed }) => replayed).sort()).toEqual([false, true, true]);
    expect(held.runs()).toBe(1);
  });

  it('a bug in the work is everybody’s, and is not kept', async () => {
    const { store, call } = open();
    const held = heldWork();
    const all = [store.run(call(), held.work), store.run(call(), held.work)];
    const bug = new RangeError('a bug');
    held.reject(bug);
    expect((await Promise.allSettled(all)).map((one) => one.status === 'rejected' && one.reason)).toEqual([bug, bug]);
    expect(await store.run(call(), async () => 'well')).toMatchObject({ answer: 'well', replayed: false });
  });
});

describe('errors', () => {
  it.each<ErrorCode>(['TAILNET_EXISTS', 'INVALID_ARGUMENT', 'CUSTOMER_MISMATCH'])('%s speaks of the request: it is kept', async (code) => {
    const { store, call } = open();
    expect(await store.run(call(), fails(code))).toMatchObject({ kind: 'error', error: { code }, replayed: false });
    expect(await store.run(call(), async () => 'well')).toMatchObject({ kind: 'error', error: { code }, replayed: true });
  });

  it.each<ErrorCode>(['STORE_UNAVAILABLE', 'TAILNET_DELETING', 'STORE_CONFLICT', 'MANAGER_READ_ONLY', 'MANAGER_STOPPED', 'CONTROL_QUOTA'])(
    '%s may pass, or speaks of the service: the work is done again',
    async (code) => {
      const { store, call } = open();
      expect(await store.run(call(), fails(code))).toMatchObject({ kind: 'error', error: { code }, replayed: false });
      expect(store.kept).toEqual({ entries: 0, bytes: 0 });
      expect(await store.run(call(), async () => 'well')).toMatchObject({ answer: 'well', replayed: false });
    },
  );
});

describe('the store', () => {
  it('keeps so many answers: the one that was used longest ago goes', async () => {
    const { store, call, keep } = open({ maxEntries: 3 });
    for (const key of ['a', 'b', 'c']) await keep(key, key);
    await store.run(call({ key: 'a' }), async () => 'unused');
    await keep('d', 'd');
    expect(store.kept.entries).toBe(3);
    const replayed = [];
    for (const key of ['a', 'c', 'd', 'b']) replayed.push((await keep(key, key)).replayed);
    expect(replayed).toEqual([true, true, true, false]);
  });

  it('keeps so many bytes, and never an answer that is larger than all of them', async () => {
    const { store, keep } = open({ maxBytes: 10_000 });
    for (let number = 0; number < 1_000; number += 1) {
      await keep(`key-${number}`, 'x'.repeat(number));
      expect(store.kept.bytes).toBeLessThanOrEqual(10_000);
    }
    const before = store.kept;
    await keep('huge', 'x'.repeat(5_000));
    expect(store.kept).toEqual(before);
  });

  it('one caller with many keys pushes out its own', async () => {
    const { store, keep } = open({ maxEntries: 100 });
    await keep('only', 'bob’s', 'jwt:bob');
    for (let number = 0; number < 1_000; number += 1) await keep(`key-${number}`, 'x');
    expect(store.kept.entries).toBe(100);
    expect(await keep('only', 'again', 'jwt:bob')).toMatchObject({ answer: 'bob’s', replayed: true });
  });

  it('100 000 callers do not grow it without bound', async () => {
    const { store, keep } = open({ maxEntries: 500 });
    for (let number = 0; number < 100_000; number += 1) await keep('k', 'x', `jwt:${number}`);
    expect(store.kept.entries).toBe(500);
  });

  it('what has expired and is asked for takes no room', async () => {
    const { clock, store, call, keep } = open();
    await keep('key-1', 'x');
    await clock.advance(DAY_MS);
    await store.run(call(), fails('STORE_UNAVAILABLE'));
    expect(store.kept).toEqual({ entries: 0, bytes: 0 });
  });

  it('options: each wrong field has its path', async () => {
    expect(await wrongPaths(() => open({ keepMs: 0, maxEntries: -1, maxBytes: 1.5 }))).toEqual(['keepMs', 'maxEntries', 'maxBytes']);
  });
});
