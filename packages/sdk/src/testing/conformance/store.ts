import { getEventListeners } from 'node:events';
import type { WorkloadReference } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { attachmentKey } from '../../domain/names.ts';
import { describeCompareAndSwap, describeRemoval, describeWriting } from './store-changes.ts';
import { exampleSidecarSpec, exampleSidecarState, exampleTailnetSpec, exampleTailnetState } from './store-examples.ts';
import { bench, call, cleanup, createTailnet, endObject, type OpenStore, tamper } from './store-support.ts';
import { describeWatch, describeWatchEnd } from './store-watch.ts';
import { describeDeletingWish, describeWhole } from './store-whole.ts';

export * from './store-examples.ts';

/** What a store under test may need to be told. */
export interface StoreSuiteOptions {
  /** Where sidecars are written; it must exist. Default: `default`. */
  readonly namespace?: string;
}

/**
 * The suite of the Store port. `open` is called for each case; its store is disposed after the case and may hold other cases' and other
 * suites' objects: each case uses fresh names and ends what it created.
 */
export function describeStore(adapter: string, open: OpenStore, options: StoreSuiteOptions = {}): void {
  describe(`Store port: ${adapter}`, () => {
    describeReading(open);
    describeWriting(open);
    describeCompareAndSwap(open);
    describeRemoval(open);
    describeWatch(open);
    describeWatchEnd(open);
    describeKinds(open, options.namespace ?? 'default');
    describeWhole(open, options.namespace ?? 'default');
    describeDeletingWish(open, options.namespace ?? 'default');
    describeAbort(open);
  });
}

function describeReading(open: OpenStore): void {
  it('S1: get of an absent key is undefined', () =>
    bench(open, async ({ store, name }) => {
      expect(await store.tailnets.get(name(), call())).toBeUndefined();
    }));

  it('S2: what was created is read back whole', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const spec = exampleTailnetSpec();
      const created = await store.tailnets.create(key, { spec, state: { phase: 'creating', controlId: 'T1' } }, call());
      expect(created).toMatchObject({ key, deleting: false, spec, state: { phase: 'creating', controlId: 'T1' } });
      expect(Math.abs(created.createdAtMs - Date.now())).toBeLessThan(24 * 3_600_000);
      expect(await store.tailnets.get(key, call())).toEqual(created);
    }));

  it('S3: list has every object, sorted by key', () =>
    bench(open, async ({ store, name }) => {
      const keys = [name(), name(), name()].sort().reverse();
      for (const key of keys) await createTailnet(store, key);
      const listed = (await store.tailnets.list(call())).map(({ key }) => key);
      expect(listed).toEqual([...listed].sort());
      expect(listed).toEqual(expect.arrayContaining(keys));
      const [first = ''] = keys;
      const one = (await store.tailnets.list(call())).find(({ key }) => key === first);
      expect(one).toEqual(await store.tailnets.get(first, call()));
    }));

  it('S4: values are nobody else’s: changing what was given or received changes nothing stored', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const spec = { ...exampleTailnetSpec(), tags: ['mine'] };
      const created = await store.tailnets.create(key, { spec, state: exampleTailnetState() }, call());
      spec.tags.push('later');
      tamper(created.spec.tags);
      const read = await store.tailnets.get(key, call());
      expect(read?.spec.tags).toEqual(['mine']);
      tamper(read?.spec.tags);
      for (const listed of await store.tailnets.list(call())) tamper(listed.spec.tags);
      expect((await store.tailnets.get(key, call()))?.spec.tags).toEqual(['mine']);
    }));

  it('S5: long text and Unicode survive', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const created = await createTailnet(store, key);
      const message = `„Grüße“ 世界 👩‍🚀 "quotes" \\ back\tslash\nnew line ${'длинно '.repeat(600)}end`;
      await store.tailnets.replaceState(created, { phase: 'failed', reason: { code: 'CONTROL_DENIED', message } }, call());
      expect((await store.tailnets.get(key, call()))?.state.reason?.message).toBe(message);
    }));
}

function describeKinds(open: OpenStore, namespace: string): void {
  it('S24: a sidecar is kept whole, by namespace/kind-name', () =>
    bench(open, async ({ store, name }) => {
      const workload: WorkloadReference = { kind: 'Deployment', namespace, name: name(), uid: crypto.randomUUID() };
      const key = attachmentKey(workload);
      await using _ended = cleanup(() => endObject(store.sidecars, key));
      const { config, fragment } = exampleSidecarSpec(workload);
      const spec = { ...exampleSidecarSpec(workload), previous: { config, fragment } };
      const created = await store.sidecars.create(key, { spec, state: exampleSidecarState() }, call());
      expect(created).toMatchObject({ key, spec, state: exampleSidecarState() });
      const state = {
        phase: 'connected',
        instances: [
          { podName: 'a-1', podUid: crypto.randomUUID(), status: 'degraded', cause: 'relay', ipAddress: '100.64.0.1', sinceMs: Date.now() },
        ],
        keys: [{ keyId: 'k1', expiresAtMs: Date.now() + 3_600_000 }],
        deviceIds: ['n1'],
        applied: true,
      } as const;
      const replaced = await store.sidecars.replaceState(created, state, call());
      expect(replaced.state).toEqual(state);
      expect(await store.sidecars.get(key, call())).toEqual(replaced);
    }));

  it('S25: two kinds of workload of one name, and tailnets and sidecars, do not mix', () =>
    bench(open, async ({ store, name }) => {
      const shared = name();
      await createTailnet(store, shared);
      const references = (['Deployment', 'StatefulSet'] as const).map((kind) => ({ kind, namespace, name: shared, uid: crypto.randomUUID() }));
      const keys = references.map(attachmentKey);
      await using _ended = cleanup(async () => {
        for (const key of keys) await endObject(store.sidecars, key);
      });
      for (const reference of references) {
        await store.sidecars.create(attachmentKey(reference), { spec: exampleSidecarSpec(reference), state: exampleSidecarState() }, call());
      }
      const sidecars = (await store.sidecars.list(call())).map(({ key }) => key);
      expect(sidecars).toEqual(expect.arrayContaining(keys));
      expect(sidecars).not.toContain(shared);
      const tailnets = (await store.tailnets.list(call())).map(({ key }) => key);
      expect(tailnets).toContain(shared);
      for (const key of keys) expect(tailnets).not.toContain(key);
      await endObject(store.tailnets, shared);
      expect((await store.sidecars.list(call())).map(({ key }) => key)).toEqual(expect.arrayContaining(keys));
    }));
}

function describeAbort(open: OpenStore): void {
  it('S26: an aborted call rejects with the reason itself and changes nothing', () =>
    bench(open, async ({ store, name }) => {
      const [kept, absent] = [name(), name()];
      const created = await createTailnet(store, kept);
      const reason = new Error('caller left');
      const options = { signal: AbortSignal.abort(reason) };
      const { tailnets } = store;
      await expect(tailnets.get(kept, options)).rejects.toBe(reason);
      await expect(tailnets.list(options)).rejects.toBe(reason);
      await expect(tailnets.create(absent, { spec: exampleTailnetSpec(), state: exampleTailnetState() }, options)).rejects.toBe(reason);
      await expect(tailnets.replaceSpec(created, { ...created.spec, tags: [] }, options)).rejects.toBe(reason);
      await expect(tailnets.replaceState(created, { phase: 'failed' }, options)).rejects.toBe(reason);
      await expect(tailnets.remove(kept, options)).rejects.toBe(reason);
      await expect(tailnets.finalize(created, options)).rejects.toBe(reason);
      expect(await tailnets.get(kept, call())).toEqual(created);
      expect(await tailnets.get(absent, call())).toBeUndefined();
    }));

  it('S27: a call aborted half-way settles; if it rejects, with the reason itself; no listener is left', () =>
    bench(open, async ({ store, name }) => {
      const { key } = await createTailnet(store, name());
      const reason = new Error('caller left half-way');
      const controller = new AbortController();
      const pending = Promise.allSettled([store.tailnets.get(key, controller), store.tailnets.list(controller)]);
      controller.abort(reason);
      for (const outcome of await pending) if (outcome.status === 'rejected') expect(outcome.reason).toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }));

  it('S28: the store says which adapter it is', () =>
    bench(open, async ({ store }) => {
      expect(store.kind).toMatch(/^[a-z][a-z0-9-]*$/);
    }));
}
