import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import { bench, call, createTailnet, drain, hintOf, type OpenStore, present } from './store-support.ts';

export function describeWatch(open: OpenStore): void {
  it('S19: watch hints at every present key first, then at each change, by any writer', () =>
    bench(open, async ({ store, name }) => {
      const [early, late] = [name(), name()];
      await createTailnet(store, early);
      const stop = new AbortController();
      const hints = store.tailnets.watch({ signal: AbortSignal.any([stop.signal, call().signal]) })[Symbol.asyncIterator]();
      await hintOf(hints, early);
      const created = await createTailnet(store, late);
      await hintOf(hints, late);
      const active = await store.tailnets.replaceState(created, { phase: 'active' }, call());
      await hintOf(hints, late);
      await store.tailnets.replaceSpec(active, { ...active.spec, tags: ['other'] }, call());
      await hintOf(hints, late);
      await store.tailnets.remove(late, call());
      await hintOf(hints, late);
      await store.tailnets.finalize(await present(store, late), call());
      await hintOf(hints, late);
      await hints.return?.();
    }));

  it('S37: a hint tells the version that it is about, as reads and writes do; of what is gone none', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const hints = store.tailnets.watch(call())[Symbol.asyncIterator]();
      const told = async (version: string | undefined): Promise<void> => {
        for (;;) {
          const { value } = await hints.next();
          if (value?.key === key && value.version === version) return;
        }
      };
      const created = await createTailnet(store, key);
      await told(created.version);
      const active = await store.tailnets.replaceState(created, { phase: 'active' }, call());
      await told(active.version);
      await store.tailnets.remove(key, call());
      const marked = await present(store, key);
      await told(marked.version);
      await store.tailnets.finalize(marked, call());
      await told(undefined);
      await hints.return?.();
    }));

  it('S20: two watches get every hint each', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const watches = [store.tailnets.watch(call()), store.tailnets.watch(call())].map((watch) => watch[Symbol.asyncIterator]());
      const pending = watches.map((watch) => hintOf(watch, key));
      await createTailnet(store, key);
      await Promise.all(pending);
      await Promise.all(watches.map((watch) => watch.return?.()));
    }));
}

export function describeWatchEnd(open: OpenStore): void {
  it('S21: an aborted watch ends with the reason itself and leaves no listener', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      await createTailnet(store, key);
      const controller = new AbortController();
      const reason = new Error('reader left');
      const drained = (async () => {
        for await (const hint of store.tailnets.watch({ signal: controller.signal })) if (hint.key === key) controller.abort(reason);
      })();
      await expect(drained).rejects.toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
      const aborted = store.tailnets.watch({ signal: AbortSignal.abort(reason) })[Symbol.asyncIterator]();
      await expect(aborted.next()).rejects.toBe(reason);
    }));

  it('S22: a watch that waits for a change rejects when aborted', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      await createTailnet(store, key);
      const controller = new AbortController();
      const reason = new Error('reader left while waiting');
      const hints = store.tailnets.watch({ signal: controller.signal })[Symbol.asyncIterator]();
      await hintOf(hints, key);
      const waiting = drain(hints);
      controller.abort(reason);
      await expect(waiting).rejects.toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }));

  it('S23: `break` releases the watch', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      await createTailnet(store, key);
      const controller = new AbortController();
      for await (const hint of store.tailnets.watch({ signal: controller.signal })) if (hint.key === key) break;
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
      await createTailnet(store, name());
    }));
}
