import type { Condition, WorkloadReference } from '@bifrost/types/core';
import { expect, it } from 'vitest';
import type { SidecarSpec, SidecarState, TailnetSpec, TailnetState } from '../../domain/model.ts';
import { attachmentKey } from '../../domain/names.ts';
import { exampleFragment, exampleSidecarSpec, exampleSidecarState, exampleTailnetSpec } from './store-examples.ts';
import { bench, call, cleanup, code, createTailnet, endObject, type OpenStore, present } from './store-support.ts';

const T0 = 1_764_000_000_000;
const condition = (type: string, status: Condition['status'], more: Partial<Condition> = {}): Condition => ({
  type,
  status,
  reason: 'AsWanted',
  message: '',
  observedGeneration: 1,
  lastTransitionTime: '2026-11-23T07:27:48Z',
  ...more,
});
const CONDITIONS: readonly Condition[] = [
  condition('Ready', 'False', { reason: 'CONTROL_DENIED', message: 'Give the client the scope „auth_keys“.\nThen wait.' }),
  condition('Accepted', 'True', { observedGeneration: 3 }),
  condition('example.org/Other', 'Unknown', { reason: 'Waits' }),
];

/** Every member that the model knows, with every bound reached where the schema has one. */
function wholeTailnet(): { readonly spec: TailnetSpec; readonly state: TailnetState } {
  const ranges = Array.from({ length: 1000 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`);
  return {
    spec: {
      ...exampleTailnetSpec(),
      config: { allowedNetworks: ranges, blockedNetworks: [...ranges.slice(1), 'fd00:1:2::/48'], accessPolicy: 'permissive', enableLogging: false },
      tags: Array.from({ length: 32 }, (_, index) => `tag-${index}`),
      paused: false,
      abandon: false,
      rollout: 'always',
      upgrade: { upgradeId: crypto.randomUUID(), requestedAtMs: T0, networkHash: 'c'.repeat(64), waveSize: 1, trialMs: 300_000 },
    },
    state: {
      phase: 'degraded',
      controlId: 'T1',
      dnsName: 'tail1.example.net',
      policyWritten: true,
      policyHash: 'a'.repeat(64),
      policyPending: 'b'.repeat(64),
      enforced: { allowedNetworks: ranges, blockedNetworks: ['fd00:1:2::/48'], accessPolicy: 'standard' },
      revoked: { networksAtMs: T0, devicesAtMs: T0 + 1 },
      conditions: CONDITIONS,
      upgrade: { upgradeId: 'u', total: 3, done: 1, finished: false, haltedBy: { code: 'ATTACH_TIMEOUT', message: 'm', path: 'p', sidecarId: 's' } },
      reason: { code: 'CONTROL_DENIED', message: 'm', path: 'credential.secretName' },
    },
  };
}

function wholeSidecar(workload: WorkloadReference): { readonly spec: SidecarSpec; readonly state: SidecarState } {
  const spec = exampleSidecarSpec(workload);
  const variable = { name: 'ALL_PROXY', value: 'socks5://127.0.0.1:1055' };
  const instance = { podName: 'a-1', podUid: crypto.randomUUID(), status: 'degraded', cause: 'relay', ipAddress: '100.64.0.1' } as const;
  return {
    spec: {
      ...spec,
      config: { ...spec.config, networkMode: 'auto' },
      mode: 'inject',
      networkMode: 'userspace',
      fragment: { ...spec.fragment, containers: [{ name: 'book', env: [variable] }] },
      previous: {
        config: { ...spec.config, acceptRoutes: false },
        fragment: exampleFragment(spec.sidecarId),
        networkMode: 'kernel',
        renderedFor: 'd'.repeat(64),
      },
      renderedFor: 'b'.repeat(64),
      trial: { sinceMs: T0, deadlineMs: T0 + 300_000, wasHealthy: true },
      reverted: { code: 'UPGRADE_ROLLED_BACK', message: 'm', path: 'p' },
      revertedFor: 'c'.repeat(64),
      registeredAtMs: 1_790_000_000_000,
      upgradeId: 'u',
      origin: 'annotation',
      abandon: true,
      quarantine: { sinceMs: T0, reason: 'under suspicion' },
    },
    state: {
      phase: 'degraded',
      instances: [{ ...instance, deviceId: 'n1', sinceMs: T0 }],
      keys: [{ keyId: 'k1', expiresAtMs: T0 }],
      deviceIds: ['n1', 'n2'],
      applied: true,
      appliedFragment: 'e'.repeat(64),
      waitingSinceMs: T0,
      everConnected: true,
      rolledBack: false,
      cutForMs: T0,
      obeyedForMs: T0,
      quarantinedSinceMs: T0,
      repairs: [{ manager: 'kubectl-edit', atMs: T0 }],
      conditions: CONDITIONS,
      reason: { code: 'DRIFT_REPEATED', message: 'm', path: 'p' },
    },
  };
}

export function describeWhole(open: OpenStore, namespace: string): void {
  it('S29: every member of a tailnet is kept as it was given, up to the bounds of calls', () =>
    bench(open, async ({ store, name }) => {
      const key = name();
      const { spec, state } = wholeTailnet();
      const created = await store.tailnets.create(key, { spec, state }, call());
      expect(created).toMatchObject({ spec, state });
      expect(await store.tailnets.get(key, call())).toEqual(created);
      expect((await store.tailnets.list(call())).find((listed) => listed.key === key)).toEqual(created);
    }));

  it('S30: every member of a sidecar is kept as it was given', () =>
    bench(open, async ({ store, name }) => {
      const workload = { kind: 'CronJob', namespace, name: name(), uid: '' } as const; // not created yet
      const key = attachmentKey(workload);
      await using _ended = cleanup(() => endObject(store.sidecars, key));
      const { spec, state } = wholeSidecar(workload);
      const created = await store.sidecars.create(key, { spec, state: exampleSidecarState() }, call());
      const replaced = await store.sidecars.replaceState(created, state, call());
      expect(replaced).toMatchObject({ spec, state });
      expect(await store.sidecars.get(key, call())).toEqual(replaced);
      const bound = { ...spec, workload: { ...workload, uid: crypto.randomUUID() } };
      expect((await store.sidecars.replaceSpec(replaced, bound, call())).spec).toEqual(bound);
    }));

  it('S31: what a new spec leaves out is gone from it', () =>
    bench(open, async ({ store, name }) => {
      const { spec } = wholeTailnet();
      const created = await store.tailnets.create(name(), { spec, state: { phase: 'creating' } }, call());
      const { paused: _, abandon: __, rollout: ___, upgrade: ____, ...rest } = spec;
      const replaced = await store.tailnets.replaceSpec(created, { ...rest, tags: [] }, call());
      expect(replaced.spec).toEqual({ ...rest, tags: [] });
      const again = await store.tailnets.replaceSpec(replaced, { ...replaced.spec, paused: true }, call());
      expect(again.spec).toEqual({ ...rest, tags: [], paused: true });
    }));

  it('S32: conditions are replaced as a whole, each with the generation that it speaks of', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      const told = await store.tailnets.replaceState(created, { phase: 'failed', conditions: CONDITIONS }, call());
      expect(told.state.conditions).toEqual(CONDITIONS);
      const conditions = [condition('Accepted', 'False', { observedGeneration: 2, reason: 'INVALID_ARGUMENT', message: 'tags.0: must be a word' })];
      const untold = await store.tailnets.replaceState(told, { phase: 'failed', conditions }, call());
      expect((await present(store, created.key)).state).toEqual({ phase: 'failed', conditions });
      expect(untold.generation).toBe(created.generation);
    }));
}

export function describeDeletingWish(open: OpenStore, namespace: string): void {
  it('S33: the wish of a deleting tailnet can be changed, and it can be ended all the same: `abandon` is said then', () =>
    bench(open, async ({ store, name }) => {
      const created = await createTailnet(store, name());
      await store.tailnets.remove(created.key, call());
      const marked = await present(store, created.key);
      const wished = await store.tailnets.replaceSpec(marked, { ...marked.spec, abandon: true }, call());
      expect(wished).toMatchObject({ deleting: true, spec: { ...created.spec, abandon: true } });
      expect(wished.generation).toBeGreaterThan(marked.generation);
      await expect(store.tailnets.finalize(marked, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      await store.tailnets.finalize(wished, call());
      expect(await store.tailnets.get(created.key, call())).toBeUndefined();
    }));

  it('S34: the same of a sidecar', () =>
    bench(open, async ({ store, name }) => {
      const workload = { kind: 'DaemonSet', namespace, name: name(), uid: crypto.randomUUID() } as const;
      const key = attachmentKey(workload);
      await using _ended = cleanup(() => endObject(store.sidecars, key));
      const spec = exampleSidecarSpec(workload);
      await store.sidecars.create(key, { spec, state: exampleSidecarState() }, call());
      await store.sidecars.remove(key, call());
      const marked = await store.sidecars.get(key, call());
      if (marked === undefined) return expect(marked).toBeDefined();
      const wished = await store.sidecars.replaceSpec(marked, { ...marked.spec, abandon: true }, call());
      const told = await store.sidecars.replaceState(wished, { ...wished.state, phase: 'detaching', conditions: CONDITIONS }, call());
      expect(told).toMatchObject({ deleting: true, spec: { ...spec, abandon: true }, state: { phase: 'detaching' } });
      await store.sidecars.finalize(told, call());
      expect(await store.sidecars.get(key, call())).toBeUndefined();
    }));

  it('S35: of a spec and a state that are written from one read, the second is STORE_CONFLICT', () =>
    bench(open, async ({ store, name }) => {
      const read = await createTailnet(store, name());
      const wished = await store.tailnets.replaceSpec(read, { ...read.spec, paused: true }, call());
      await expect(store.tailnets.replaceState(read, { phase: 'active' }, call())).rejects.toMatchObject(code('STORE_CONFLICT'));
      expect(await store.tailnets.get(read.key, call())).toEqual(wished);
    }));

  it('S36: remove of what has changed since it was read is STORE_CONFLICT; twin: as it is now it is marked; absent is success', () =>
    bench(open, async ({ store, name }) => {
      const read = await createTailnet(store, name());
      const current = await store.tailnets.replaceSpec(read, { ...read.spec, tags: ['renewed'] }, call());
      await expect(store.tailnets.remove(read.key, { ...call(), current: read })).rejects.toMatchObject(code('STORE_CONFLICT'));
      expect(await store.tailnets.get(read.key, call())).toMatchObject({ deleting: false, spec: { tags: ['renewed'] } });
      await store.tailnets.remove(read.key, { ...call(), current });
      expect(await store.tailnets.get(read.key, call())).toMatchObject({ deleting: true });
      await store.tailnets.remove(name(), { ...call(), current });
    }));
}
