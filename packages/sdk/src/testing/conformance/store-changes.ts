import { expect, it } from 'vitest';
import { bench, call, code, createTailnet, endObject, type OpenStore, present } from './store-support.ts';

export function describeWriting(open: OpenStore): void {
  it('S6: a second create of a key is STORE_EXISTS and changes nothing', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const created = await createTailnet(store, key);
      await expect(createTailnet(store, key)).rejects.toMatchObject(code('STORE_EXISTS'));
      expect(await store.tailnets.get(key, call())).toEqual(created);
    }));

  it('S7: of two creates at once exactly one wins', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const outcomes = await Promise.allSettled([createTailnet(store, key), createTailnet(store, key)]);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    }));

  it('S8: replaceSpec raises generation and version, and keeps the state', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      const spec = { ...created.spec, tags: ['other'] };
      const replaced = await store.tailnets.replaceSpec(created, spec, call());
      expect(replaced).toMatchObject({ key: created.key, spec, state: created.state, createdAtMs: created.createdAtMs });
      expect(replaced.generation).toBeGreaterThan(created.generation);
      expect(replaced.version).not.toBe(created.version);
      expect(await store.tailnets.get(created.key, call())).toEqual(replaced);
    }));

  it('S9: replaceState raises the version, not the generation, replaces the whole state and keeps the spec', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      const active = await store.tailnets.replaceState(created, { phase: 'active', controlId: 'T1', policyWritten: true }, call());
      expect(active.version).not.toBe(created.version);
      expect(active.generation).toBe(created.generation);
      expect(active.spec).toEqual(created.spec);
      const degraded = await store.tailnets.replaceState(active, { phase: 'degraded' }, call());
      expect(degraded.state).toEqual({ phase: 'degraded' });
      expect(await store.tailnets.get(created.key, call())).toEqual(degraded);
    }));
}

export function describeCompareAndSwap(open: OpenStore): void {
  it('S10: a write with an old version is STORE_CONFLICT and changes nothing', () =>
    bench(open, async ({ store, name }) => {
      const old = await createTailnet(store, name());
      const current = await store.tailnets.replaceState(old, { phase: 'active' }, call());
      await expect(store.tailnets.replaceSpec(old, { ...old.spec, tags: ['lost'] }, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      await expect(store.tailnets.replaceState(old, { phase: 'failed' }, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      expect(await store.tailnets.get(old.key, call())).toEqual(current);
    }));

  it('S38: the same spec again changes nothing, and is refused to an old version all the same', () =>
    bench(open, async ({ store, name }) => {
      const old = await createTailnet(store, name());
      const current = await store.tailnets.replaceState(old, { phase: 'active' }, call());
      const same = await store.tailnets.replaceSpec(current, current.spec, call());
      expect([same.spec, same.state, same.generation]).toEqual([current.spec, current.state, current.generation]);
      expect(await store.tailnets.get(old.key, call())).toEqual(same);
      await expect(store.tailnets.replaceSpec(old, old.spec, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      expect(await store.tailnets.get(old.key, call())).toEqual(same);
    }));

  it('S11: of two writes from one read exactly one wins', () =>
    bench(open, async ({ store, name }) => {
      const read = await createTailnet(store, name());
      const phases = ['active', 'failed'] as const;
      const outcomes = await Promise.allSettled(phases.map((phase) => store.tailnets.replaceState(read, { phase }, call())));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      const winner = outcomes.find((outcome) => outcome.status === 'fulfilled');
      expect(await store.tailnets.get(read.key, call())).toEqual(winner?.value);
    }));

  it('S12: a write to an absent object is STORE_NOT_FOUND; to its successor of the same name STORE_CONFLICT', () =>
    bench(open, async ({ store, name }) => {
      const gone = await createTailnet(store, name());
      await endObject(store.tailnets, gone.key);
      await expect(store.tailnets.replaceState(gone, { phase: 'active' }, call())).rejects.toMatchObject(code('STORE_NOT_FOUND'));
      await expect(store.tailnets.replaceSpec(gone, { ...gone.spec, tags: [] }, call())).rejects.toMatchObject(code('STORE_NOT_FOUND'));
      const successor = await createTailnet(store, gone.key);
      await expect(store.tailnets.replaceState(gone, { phase: 'active' }, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      expect(await store.tailnets.get(gone.key, call())).toEqual(successor);
    }));
}

export function describeRemoval(open: OpenStore): void {
  it('S13: remove marks the object; it stays readable and its name stays taken', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      await store.tailnets.remove(created.key, call());
      const marked = await store.tailnets.get(created.key, call());
      expect(marked).toMatchObject({ deleting: true, spec: created.spec, state: created.state });
      expect(marked?.version).not.toBe(created.version);
      expect((await store.tailnets.list(call())).find(({ key }) => key === created.key)?.deleting).toBe(true);
      await expect(createTailnet(store, created.key)).rejects.toMatchObject(code('STORE_EXISTS'));
    }));

  it('S14: remove of an absent or deleting object is success', () =>
    bench(open, async ({ store, name }) => {
      await store.tailnets.remove(name(), call());
      const created = await createTailnet(store, name());
      await store.tailnets.remove(created.key, call());
      await store.tailnets.remove(created.key, call());
      expect((await store.tailnets.get(created.key, call()))?.deleting).toBe(true);
    }));

  it('S15: the state of a deleting object can be replaced, and it stays deleting', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      await store.tailnets.remove(created.key, call());
      const marked = await present(store, created.key);
      const replaced = await store.tailnets.replaceState(marked, { phase: 'deleting' }, call());
      expect(replaced).toMatchObject({ deleting: true, state: { phase: 'deleting' } });
    }));

  it('S16: finalize ends a deleting object; its name is free again', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      await store.tailnets.remove(created.key, call());
      await store.tailnets.finalize(await present(store, created.key), call());
      expect(await store.tailnets.get(created.key, call())).toBeUndefined();
      expect((await store.tailnets.list(call())).map(({ key }) => key)).not.toContain(created.key);
      const successor = await createTailnet(store, created.key);
      expect(successor).toMatchObject({ deleting: false });
    }));

  it('S17: finalize of an object that is not deleting, or by an old version, is STORE_CONFLICT', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      await expect(store.tailnets.finalize(created, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      await store.tailnets.remove(created.key, call());
      const marked = await present(store, created.key);
      await store.tailnets.replaceState(marked, { phase: 'deleting' }, call());
      await expect(store.tailnets.finalize(marked, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      expect(await store.tailnets.get(created.key, call())).toMatchObject({ deleting: true });
    }));

  it('S18: finalize of an absent object is success', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      await store.tailnets.remove(created.key, call());
      const marked = await present(store, created.key);
      await store.tailnets.finalize(marked, call());
      await store.tailnets.finalize(marked, call());
    }));
}
