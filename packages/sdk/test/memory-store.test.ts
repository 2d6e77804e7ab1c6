import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../src/adapters/memory/store.ts';
import { describeStore, exampleTailnetSpec } from '../src/testing/conformance/store.ts';

const clock = { nowMs: () => Date.now() };
const call = () => ({ signal: AbortSignal.timeout(5_000) });
const value = () => ({ spec: exampleTailnetSpec(), state: { phase: 'creating' } as const });

describeStore('memory', async () => new MemoryStore({ clock }));

describe('MemoryStore', () => {
  it('failNext fails exactly the next call, and an abort comes before it', async () => {
    const store = new MemoryStore({ clock });
    store.failNext('STORE_UNAVAILABLE');
    const reason = new Error('caller left');
    await expect(store.tailnets.list({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(store.sidecars.list(call())).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(await store.tailnets.list(call())).toEqual([]);
  });

  it('a slow watch gets all keys again instead of a growing queue', async () => {
    const store = new MemoryStore({ clock, watchCapacity: 2 });
    await store.tailnets.create('a', value(), call());
    const hints = store.tailnets.watch(call())[Symbol.asyncIterator]();
    const first = await hints.next();
    for (const key of ['b', 'c', 'd', 'e']) await store.tailnets.create(key, value(), call());
    const seen: string[] = [];
    for (let count = 0; count < 5; count += 1) {
      const next = await hints.next();
      if (next.done !== true) seen.push(next.value.key);
    }
    expect(first.value).toEqual({ key: 'a', version: '1' });
    expect(seen).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('disposing ends waiting watches and leaves the objects readable', async () => {
    const store = new MemoryStore({ clock });
    const next = store.tailnets.watch(call())[Symbol.asyncIterator]().next();
    await store[Symbol.asyncDispose]();
    expect((await next).done).toBe(true);
    expect(await store.tailnets.list(call())).toEqual([]);
  });
});
