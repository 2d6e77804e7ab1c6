import { describe, expect, it } from 'vitest';
import type { MemoryWorkload } from '../src/adapters/memory/cluster.ts';
import { openWorld, refusal, type World } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const JOB = {
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { namespace: 'acme-corp', name: 'nightly' },
  spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'book', image: 'book' }] } } },
} as const;
const WISH = { tailnetName: TAILNET, config: { hostname: 'nightly', acceptRoutes: true } } as const;
const stored = async (world: World) => (await world.sidecars())[0];
const isAttached = async (world: World) => (await stored(world))?.state.conditions?.find(({ type }) => type === 'Attached');

/** The workload that its creator makes of an injected manifest. */
function podOf({ spec: { template } }: { readonly spec: { readonly template: object } }): MemoryWorkload {
  const { metadata, spec } = template as { metadata: { labels: Record<string, string>; annotations: Record<string, string> }; spec: object };
  return { namespace: 'acme-corp', name: 'nightly', podLabels: metadata.labels, podAnnotations: metadata.annotations, ...spec };
}

describe('injectSidecar', () => {
  it('gives the manifest with its sidecar in it, registers it, and has its key ready before any pod', async () => {
    await using world = await openWorld();
    const before = structuredClone(JOB);
    const { manifest, sidecarId, status, created } = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    expect(created).toBe(true);
    expect(JOB).toEqual(before);
    expect(status).toBe('attaching');
    const { initContainers } = manifest.spec.template.spec as unknown as { initContainers: { name: string }[] };
    expect(initContainers.map(({ name }) => name)).toEqual(['bifrost-guard', 'bifrost-agent', 'tailscale']);
    await world.until(async () => (await world.ourSecrets()).includes(`acme-corp/bifrost-${sidecarId}`), { limitMs: 5_000 });
    expect((await stored(world))?.spec).toMatchObject({ mode: 'inject', workload: { kind: 'Job', name: 'nightly', uid: '' } });
    const again = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    expect(again).toEqual({ manifest, sidecarId, status, created: false });
  });

  it('bug: a registration in a namespace that changes hands keeps no key and no Secret', async () => {
    await using world = await openWorld({ settings: { resyncMs: 30_000 } });
    const { sidecarId } = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    const hasSecret = async () => (await world.ourSecrets()).includes(`acme-corp/bifrost-${sidecarId}`);
    await world.until(hasSecret, { limitMs: 5_000 });
    await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'globex' });
    await world.until(async () => (await stored(world))?.state.reason?.code === 'CUSTOMER_MISMATCH', { limitMs: 120_000 });
    expect([await hasSecret(), (await world.outside()).keys]).toEqual([false, 0]);
  });

  it('is bound when the workload comes, belongs to its creator, and is released when it goes', async () => {
    await using world = await openWorld();
    const deployment = { ...JOB, apiVersion: 'apps/v1', kind: 'Deployment' };
    const { manifest, sidecarId } = await world.manager.injectSidecar({ manifest: deployment, ...WISH });
    await world.until(async () => (await world.outside()).keys === 1);
    const workload = await world.cluster.createWorkload(podOf(manifest));
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    expect((await stored(world))?.spec.workload).toEqual(workload);
    expect(await isAttached(world)).toMatchObject({ status: 'True', reason: 'Applied' });
    const refused = { code: 'OWNED_BY_CREATOR', details: { fragment: expect.stringContaining('bifrost-guard') } };
    expect(await refusal(world.manager.detachSidecar(sidecarId))).toMatchObject(refused);
    expect(await refusal(world.manager.repairSidecar(sidecarId))).toMatchObject(refused);
    expect(await refusal(world.manager.updateSidecar({ sidecarId, config: { enableSsh: true } }))).toMatchObject(refused);
    expect((await world.manager.planUpgrade({ tailnetName: TAILNET })).ownedByCreator).toEqual([sidecarId]);
    world.guard.names.length = 0;
    const setHostNetwork = (hostNetwork: boolean) =>
      world.cluster.updateWorkload(workload, (template) => ({ ...template, spec: { ...template.spec, hostNetwork } }));
    await setHostNetwork(true);
    await world.until(async () => (await stored(world))?.state.reason?.code === 'WORKLOAD_UNSUPPORTED');
    await setHostNetwork(false);
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    await world.cluster.updateWorkload(workload, (template) => ({ ...template, spec: { ...template.spec, initContainers: [] } }));
    await world.until(async () => (await stored(world))?.state.reason?.code === 'OWNED_BY_CREATOR');
    expect(await isAttached(world)).toMatchObject({ status: 'False', reason: 'OWNED_BY_CREATOR' });
    await world.run(120_000);
    expect(world.guard.names.filter((name) => /workloads\.(attach|detach)$/.test(name))).toEqual([]);
    expect(world.names('sidecar:drifted')).toHaveLength(1);
    await world.cluster.deleteWorkload(workload);
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 60_000 });
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  describe('bug: its NetworkPolicies', () => {
    const policies = (world: World) => world.cluster.networkPolicies.list({ signal: AbortSignal.timeout(5_000) });
    async function running(networkPolicies: 'enforce' | 'off' = 'enforce') {
      const world = await openWorld({ settings: { networkPolicies } });
      const { manifest } = await world.manager.injectSidecar({ manifest: { ...JOB, apiVersion: 'apps/v1', kind: 'Deployment' }, ...WISH });
      const workload = await world.cluster.createWorkload(podOf(manifest));
      await world.until(async () => (await stored(world))?.state.phase === 'connected');
      return Object.assign(world, { workload });
    }

    it('stay while its pods run, whose tailnet is being deleted: they have no key any more, and wait for their creator', async () => {
      await using world = await running();
      await world.manager.deleteTailnet(TAILNET, { cascade: true });
      await world.run(120_000);
      expect(await policies(world)).toHaveLength(1);
      expect(await world.outside()).toMatchObject({ devices: 0, keys: 0 });
      expect((await stored(world))?.state).toMatchObject({ phase: 'detaching', reason: { code: 'PODS_REMAIN' } });
      await world.cluster.deleteWorkload(world.workload);
      await world.until(async () => (await world.tailnet()) === undefined, { limitMs: 600_000 });
      expect(await policies(world)).toEqual([]);
      expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
    });

    it('stay while its pods end, whose workload is gone', async () => {
      await using world = await running();
      using held = world.agents.holdPods();
      const deleted = world.cluster.deleteWorkload(world.workload);
      await world.until(async () => (await stored(world))?.state.reason?.code === 'PODS_REMAIN', { limitMs: 60_000 });
      expect(await policies(world)).toHaveLength(1);
      held[Symbol.dispose]();
      await deleted;
      await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 60_000 });
      expect(await policies(world)).toEqual([]);
    });

    it('go with what is abandoned; twin: where none were written, nothing waits', async () => {
      await using world = await running();
      await world.manager.deleteTailnet(TAILNET, { cascade: true, abandon: true });
      await world.run(30_000);
      expect(await policies(world)).toHaveLength(1);
      await world.until(async () => (await world.tailnet()) === undefined, { limitMs: 60_000 });
      expect(await policies(world)).toEqual([]);
      expect(world.audit.records.filter(({ action }) => action === 'abandon')).toMatchObject([{ outcome: 'PODS_REMAIN' }]);
      await using twin = await running('off');
      await twin.manager.deleteTailnet(TAILNET, { cascade: true });
      await twin.until(async () => (await twin.tailnet()) === undefined, { limitMs: 30_000 });
    });
  });

  it('bug: taken out by its creator and put back under another manager, it is not told as attached again', async () => {
    await using world = await openWorld();
    const { manifest } = await world.manager.injectSidecar({ manifest: { ...JOB, apiVersion: 'apps/v1', kind: 'Deployment' }, ...WISH });
    const workload = await world.cluster.createWorkload(podOf(manifest));
    await world.until(async () => (await isAttached(world))?.status === 'True');
    const whole = await world.cluster.readWorkload(workload);
    await world.cluster.updateWorkload(workload, (template) => ({ ...template, spec: { ...template.spec, initContainers: [] } }));
    await world.until(async () => (await isAttached(world))?.reason === 'OWNED_BY_CREATOR');
    await world.restart();
    await world.cluster.updateWorkload(workload, () => whole);
    await world.until(async () => (await isAttached(world))?.status === 'True');
    expect(world.names('sidecar:attached')).toHaveLength(1);
  });

  it('R2: whose workload never comes expires: told, and nothing is left', async () => {
    await using world = await openWorld({ settings: { registrationMs: 60_000 } });
    await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    await world.until(async () => (await world.outside()).keys === 1);
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 90_000 });
    expect(world.events).toContainEqual({ name: 'sidecar:failed', event: expect.objectContaining({ code: 'REGISTRATION_EXPIRED' }) });
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  it('R3, bug: injected again shortly before it expires: its workload has its time again', async () => {
    await using world = await openWorld({ settings: { registrationMs: 60_000 } });
    const first = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    await world.run(55_000);
    expect(await world.manager.injectSidecar({ manifest: JOB, ...WISH })).toMatchObject({ sidecarId: first.sidecarId, manifest: first.manifest });
    await world.run(30_000);
    expect(await world.outside()).toMatchObject({ keys: 1, secrets: 1 });
    expect(world.names()).not.toContain('sidecar:failed');
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 60_000 });
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  it('bug: injected again while the loop lets it expire: what is answered stays', async () => {
    await using world = await openWorld({ settings: { registrationMs: 60_000 } });
    await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    let again: Promise<unknown> | undefined;
    world.guard.hook = async ({ name }) => {
      if (name !== 'store.sidecars.remove' || again !== undefined) return undefined;
      again = world.manager.injectSidecar({ manifest: JOB, ...WISH });
      await again;
      return undefined;
    };
    await world.run(75_000);
    expect(again).toBeDefined();
    expect(world.names()).not.toContain('sidecar:failed');
    expect(await world.sidecars()).toMatchObject([{ deleting: false }]);
    expect(await world.outside()).toMatchObject({ keys: 1, secrets: 1 });
  });

  it('bug: injected again while its workload has just come and is being bound: answered as before', async () => {
    await using world = await openWorld();
    const first = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    world.guard.once('store.sidecars.create', async () => {
      const call = { signal: AbortSignal.timeout(5_000) };
      const sidecar = await stored(world);
      if (sidecar) await world.store.sidecars.replaceSpec(sidecar, { ...sidecar.spec, workload: { ...sidecar.spec.workload, uid: 'u1' } }, call);
    });
    expect(await world.manager.injectSidecar({ manifest: JOB, ...WISH })).toMatchObject({ sidecarId: first.sidecarId, manifest: first.manifest });
  });

  it('bug: for the successor of a Job that has ended: told to wait until the first is released, then registered anew', async () => {
    await using world = await openWorld();
    const { manifest } = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    const job = await world.cluster.createWorkload({ kind: 'Job', ...podOf(manifest) });
    await world.until(async () => (await stored(world))?.spec.workload.uid === job.uid);
    await world.quiet();
    await world.manager.pauseTailnet(TAILNET); // so that it is not released at once
    world.cluster.endContainer(world.cluster.podsOf(job)[0]?.uid ?? '', 'book');
    await world.run(1_000);
    expect(await refusal(world.manager.injectSidecar({ manifest: JOB, ...WISH }))).toMatchObject({
      code: 'SIDECAR_EXISTS',
      issues: [{ path: 'manifest.metadata.name' }],
    });
    await world.manager.resumeTailnet(TAILNET);
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 60_000 });
    await world.cluster.deleteWorkload(job);
    expect(await world.manager.injectSidecar({ manifest: JOB, ...WISH })).toMatchObject({ status: 'attaching' });
  });

  it('bug: a pod that has ended was judged as if it still had its address', async () => {
    await using world = await openWorld({ settings: { networkPolicies: 'enforce', networkPolicyEnforced: true } });
    const { manifest } = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    const job = await world.cluster.createWorkload({ kind: 'Job', ...podOf(manifest) });
    await world.until(async () => (await stored(world))?.spec.workload.uid === job.uid);
    await world.quiet();
    await world.manager.pauseTailnet(TAILNET); // so that it is not released at once
    const judged = async () => (await world.manager.proveIsolation()).proof.layers.find(({ layer }) => layer === 'network-policy')?.judged;
    expect(await judged()).toBe(1);
    world.cluster.endContainer(world.cluster.podsOf(job)[0]?.uid ?? '', 'book');
    await world.run(1_000);
    expect(world.cluster.podsOf(job)).toMatchObject([{ phase: 'Succeeded', ip: expect.any(String) }]);
    expect(await judged()).toBe(0);
  });

  it('R1: a workload of that name without this sidecar in it is not taken for it', async () => {
    await using world = await openWorld({ settings: { registrationMs: 60_000 } });
    await world.manager.injectSidecar({ manifest: { ...JOB, kind: 'Deployment' }, ...WISH });
    await world.cluster.createWorkload({ namespace: 'acme-corp', name: 'nightly' });
    await world.run(30_000);
    expect((await stored(world))?.spec.workload.uid).toBe('');
    await world.until(async () => (await world.sidecars()).length === 0, { limitMs: 90_000 });
  });

  it('can be taken back by call while its workload has not come', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.injectSidecar({ manifest: JOB, ...WISH });
    await world.manager.detachSidecar(sidecarId);
    await world.until(async () => (await world.sidecars()).length === 0);
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  it.each([
    [{ manifest: { ...JOB, kind: 'Pod' } }, 'WORKLOAD_UNSUPPORTED', 'manifest.kind'],
    [{ manifest: { ...JOB, metadata: { namespace: 'acme-corp' } } }, 'INVALID_ARGUMENT', 'manifest.metadata.name'],
    [{ manifest: { ...JOB, metadata: { name: 'nightly' } } }, 'INVALID_ARGUMENT', 'manifest.metadata.namespace'],
    [{ manifest: { ...JOB, spec: {} } }, 'INVALID_ARGUMENT', 'manifest.spec.template'],
    [{ manifest: { ...JOB, metadata: { namespace: 'elsewhere', name: 'nightly' } } }, 'CUSTOMER_MISMATCH', 'bookDeploymentId'],
    [{ tailnetName: 'nobody' }, 'TAILNET_NOT_FOUND', 'tailnetName'],
    [{ config: { hostname: 'Not_a_label' } }, 'INVALID_ARGUMENT', 'config.hostname'],
  ])('refuses %j with %s at %s', async (change, code, path) => {
    await using world = await openWorld();
    const before = await world.snapshot([world.book]);
    const wish = { manifest: JOB, ...WISH, ...change } as never;
    expect(await refusal(world.manager.injectSidecar(wish))).toMatchObject({ code, issues: [{ path }] });
    expect(await world.snapshot([world.book])).toEqual(before);
  });
});
