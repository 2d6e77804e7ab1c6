import { describe, expect, it } from 'vitest';
import { ACME, BOOK, openWorld } from './support/world.ts';

describe('why a packet passes or not', () => {
  it('is told of what is in force: guard, route, policy, and what the agents said', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const explain = (to: string) => world.manager.explain({ sidecarId, to });
    expect(await explain('10.1.0.10')).toMatchObject({ verdict: 'denied', layer: 'route', evidence: { instances: 1, connectedInstances: 1 } });
    const control = world.control;
    const controlId = (await world.tailnet())?.state.controlId ?? '';
    control.addDevice({
      controlId,
      hostname: 'gateway',
      advertiseRoutes: ['10.0.0.0/8'],
      enabledRoutes: ['10.0.0.0/8'],
      tags: ['tag:bifrost-router'],
    });
    expect(await explain('10.1.0.10')).toMatchObject({ verdict: 'allowed', layer: 'tailnet-policy', by: 'grants.0' });
    // Blocked, but in the Services' range, which the guard keeps in the cluster.
    expect(await explain('10.99.0.1')).toMatchObject({ verdict: 'outside', layer: 'guard', by: '5010 to 10.96.0.0/12 lookup main' });
    expect(await explain('203.0.113.9')).toMatchObject({ verdict: 'outside', layer: 'guard' });
  });

  it('goes by what the guard holds now: by the fragment until it says that it has taken the order', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await world.manager.updateTailnet({ tailnetName: BOOK.tailnetName, config: { blockedNetworks: ['10.1.0.0/24'] } });
    const explain = () => world.manager.explain({ sidecarId, to: '10.1.0.10' });
    expect(await explain()).toMatchObject({ layer: 'route' });
    await world.run(30_000);
    expect(await explain()).toMatchObject({ verdict: 'denied', layer: 'guard', by: '5100 to 10.1.0.0/24 prohibit' });
  });

  it('judges the NetworkPolicies that are there for what leaves the pod in clear', async () => {
    await using world = await openWorld({ settings: { networkPolicies: 'enforce', networkPolicyEnforced: true } });
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const explain = (port: number) => world.manager.explain({ sidecarId, to: '203.0.113.9', port });
    const name = `bifrost-${sidecarId}-egress`;
    const policy = { layer: 'network-policy', by: `acme-corp/${name}` };
    expect(await explain(443)).toMatchObject({ verdict: 'outside', ...policy });
    const denied = await explain(80);
    expect(denied).toMatchObject({ verdict: 'denied', ...policy });
    expect(denied.steps.map(({ layer, outcome }) => `${layer} ${outcome}`)).toEqual(['guard leaves', 'network-policy stops']);
    // What is there, not what is wanted.
    await world.cluster.changeNetworkPolicy({ namespace: 'acme-corp', name }, undefined);
    expect(await explain(80)).toMatchObject({ verdict: 'outside', layer: 'guard' });
  });

  it('bug: tells nobody of a pod, and of the policies in its namespace, whose customer they may not know of', async () => {
    await using world = await openWorld({ settings: { networkPolicyEnforced: true } });
    world.agents.dualStack = true;
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.cluster.createNamespace({ name: 'globex-prod', customerId: 'globex' });
    await world.addBook({ namespace: 'globex-prod', name: 'their-book' });
    await world.manager.createTailnet({ ...ACME, customerId: 'globex', tailnetName: 'globex', tenancy: 'organization' });
    await world.until(async () => (await world.tailnet('globex'))?.state.phase === 'active');
    await world.manager.attachSidecar({ bookDeploymentId: 'their-book', tailnetName: 'globex', config: BOOK.config });
    const deny = { name: 'default-deny', podSelector: {}, policyTypes: ['Ingress'], ingress: [], egress: [] };
    await world.cluster.setNetworkPolicies('globex-prod', [deny]);
    await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
    const pods = await world.cluster.pods.list({ signal: AbortSignal.timeout(5_000) });
    const [to = '', six = ''] = pods.find(({ namespace }) => namespace === 'globex-prod')?.ips ?? [];
    const explain = (customers: readonly string[], address = to) =>
      world.manager.explain({ sidecarId, to: address, port: 80 }, { scope: { visible: new Set(customers), permitted: '*' } });
    const hidden = await explain(['acme-corp']);
    expect(hidden).toMatchObject({ verdict: 'unknown', layer: 'network-policy' });
    expect(JSON.stringify(hidden)).not.toMatch(/globex|default-deny/);
    // Nor whether there is a pod: that of an address which none has is the same answer.
    expect(await explain(['acme-corp'], '10.244.77.77')).toEqual(hidden);
    const seen = { verdict: 'denied', by: 'globex-prod/default-deny' };
    expect(await explain(['acme-corp', 'globex'])).toMatchObject(seen);
    for (const address of [to, six]) expect(await world.manager.explain({ sidecarId, to: address, port: 80 })).toMatchObject(seen);
  });

  it.each([
    ['an address that is none', { to: '10.1' }, 'to'],
    ['a range', { to: '10.1.0.0/16' }, 'to'],
    ['IPv4 written as IPv6, which leaves as IPv4', { to: '::ffff:10.1.0.1' }, 'to'],
    ['the same in hexadecimal', { to: '::ffff:a01:1' }, 'to'],
    ['a port that is none', { to: '10.1.0.1', port: 70_000 }, 'port'],
    ['port 0, which nothing answers at', { to: '10.1.0.1', port: 0 }, 'port'],
    ['a port of ICMP, which has none', { to: '10.1.0.1', port: 443, protocol: 'icmp' }, 'port'],
    ['a protocol that is none', { to: '10.1.0.1', protocol: 'sctp' }, 'protocol'],
    ['a misspelt member', { to: '10.1.0.1', ports: 1 }, 'ports'],
  ])('%s is refused by its path', async (_, input, path) => {
    await using world = await openWorld();
    await expect(world.manager.explain({ sidecarId: 'x', ...input } as never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      issues: [expect.objectContaining({ path })],
    });
  });

  it('takes ICMP without a port', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    expect(await world.manager.explain({ sidecarId, to: '203.0.113.9', protocol: 'icmp' })).toMatchObject({ verdict: 'outside' });
  });

  it('of a sidecar that is not there is refused', async () => {
    await using world = await openWorld();
    await expect(world.manager.explain({ sidecarId: 'x', to: '10.1.0.1' })).rejects.toMatchObject({ code: 'SIDECAR_NOT_FOUND' });
  });
});
