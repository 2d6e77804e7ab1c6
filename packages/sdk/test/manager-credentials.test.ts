import { describe, expect, it } from 'vitest';
import { ACME, BOOK, openWorld, World } from './support/world.ts';

describe('wrong credentials', () => {
  it('become status failed with a code and one event, and are mended when the Secret appears', async () => {
    await using world = new World();
    await world.manager.start();
    const { putSecret } = await world.addCustomer('acme-corp', { ownTailnet: false });
    await world.manager.createTailnet(ACME);
    await world.until(async () => (await world.tailnet())?.state.phase === 'failed');
    expect(await world.manager.getTailnet('acme-corp-production')).toMatchObject({
      status: 'failed',
      reason: { code: 'CONTROL_CREDENTIALS_INVALID', path: 'credential.secretName' },
    });
    await world.run(300_000);
    expect(world.names()).toEqual(['tailnet:created', 'tailnet:failed']);
    await putSecret();
    await world.until(async () => (await world.tailnet())?.state.phase === 'active', { limitMs: 61_000 });
    expect((await world.manager.getTailnet('acme-corp-production')).reason).toBeUndefined();
    expect(world.names()).toEqual(['tailnet:created', 'tailnet:failed', 'tailnet:activated']);
  });

  it('of one customer do not touch another, and a revoked client shows on the tailnet and its sidecar', async () => {
    await using world = await openWorld();
    await world.addCustomer('globex');
    await world.manager.createTailnet({ ...ACME, customerId: 'globex', tailnetName: 'globex-production' });
    await world.until(async () => (await world.tailnet('globex-production'))?.state.phase === 'active');
    await world.cluster.createSecret({ namespace: 'bifrost', name: 'bifrost-customer-acme-corp', data: { client_id: 'x', client_secret: 'wrong' } });
    await world.until(async () => (await world.tailnet())?.state.phase === 'failed');
    expect((await world.tailnet())?.state.reason).toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID', path: 'credential.secretName' });
    expect((await world.tailnet('globex-production'))?.state.phase).toBe('active');
    expect(world.names('tailnet:failed')).toHaveLength(1);
  });

  it('bug: a detach without credentials is no hot loop, keeps its reason, and goes on when they are back', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const secret = { namespace: 'bifrost', name: 'bifrost-customer-acme-corp' };
    const data = await world.cluster.secrets.get(secret, { signal: AbortSignal.timeout(5_000) });
    await world.cluster.createSecret({ ...secret, data: {} });
    await world.manager.detachSidecar(sidecarId);
    await world.until(async () => (await world.sidecars())[0]?.state.reason?.code === 'CONTROL_CREDENTIALS_INVALID');
    const calls = world.guard.calls;
    await world.run(120_000);
    expect(world.guard.calls - calls).toBeLessThan(100);
    expect((await world.manager.listSidecars())[0]).toMatchObject({
      status: 'detaching',
      reason: { code: 'CONTROL_CREDENTIALS_INVALID', path: 'credential.secretName' },
    });
    await world.cluster.createSecret({ ...secret, data: Object.fromEntries([...(data ?? [])].map(([key, value]) => [key, value.reveal()])) });
    await world.until(async () => (await world.sidecars()).length === 0);
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  it('a full organization is a failed tailnet with its code, tried again later', async () => {
    await using world = new World({ tailnetLimit: 1 });
    await world.manager.start();
    await world.manager.createTailnet({ ...ACME, tenancy: 'organization' });
    await world.until(async () => (await world.tailnet())?.state.phase === 'failed');
    expect((await world.manager.getTailnet('acme-corp-production')).reason).toMatchObject({ code: 'CONTROL_QUOTA' });
  });
});
