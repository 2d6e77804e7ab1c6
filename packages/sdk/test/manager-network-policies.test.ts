import { describe, expect, it } from 'vitest';
import { clearEgress } from '../src/domain/clear-egress.ts';
import { TAILNET_NETWORKS } from '../src/domain/guard.ts';
import { LABELS } from '../src/domain/names.ts';
import { networkPoliciesOf } from '../src/domain/policy/network-policies.ts';
import { DNS_SERVICE } from '../src/domain/policy/network-policy-endpoints.ts';
import { exampleManifest } from '../src/testing/conformance/cluster-policies.ts';
import { denying, restrictedWorld } from './support/userspace.ts';
import { ACME, BOOK, type Opened, openWorld, refusal } from './support/world.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });
const ENFORCE = { settings: { networkPolicies: 'enforce' } } as const;
const policies = (world: Opened) => world.cluster.networkPolicies.list(call());
const one = async (world: Opened) => (await policies(world))[0] ?? expect.unreachable('there is no policy of ours');
const stored = async (world: Opened) => (await world.sidecars())[0];
const condition = async (world: Opened) => (await stored(world))?.state.conditions?.find(({ type }) => type === 'NetworkPolicies');
const drifts = (world: Opened) => world.events.filter(({ name }) => name === 'sidecar:drifted').map(({ event }) => event);

async function attached(world: Opened, wish = BOOK): Promise<string> {
  const { sidecarId } = await world.manager.attachSidecar(wish);
  await world.until(async () => (await stored(world))?.state.phase === 'connected');
  return sidecarId;
}

describe('networkPolicies off, as it is unless told', () => {
  it('writes none, and asks for none', async () => {
    await using world = await openWorld();
    expect(await world.manager.planAttach(BOOK)).not.toHaveProperty('networkPolicies');
    await attached(world);
    expect(await policies(world)).toEqual([]);
    expect(await condition(world)).toBeUndefined();
    expect(world.guard.names.filter((name) => /networkPolicies|service$/.test(name))).toEqual([]);
  });
});

describe('networkPolicies plan', () => {
  it('shows the manifests and what they would cut, and writes nothing', async () => {
    await using world = await openWorld({ settings: { networkPolicies: 'plan' } });
    const { networkPolicies, sidecarId } = await world.manager.planAttach(BOOK);
    expect(networkPolicies).toMatchObject({
      sidecarId,
      manifests: [{ kind: 'NetworkPolicy', metadata: { name: `bifrost-${sidecarId}-egress`, namespace: 'acme-corp' } }],
      cuts: [
        { direction: 'egress', protocol: 'TCP', cut: expect.stringMatching(/^everything but .*port 443/) },
        { protocol: 'UDP' },
        { protocol: 'SCTP' },
      ],
    });
    await attached(world);
    expect(await policies(world)).toEqual([]);
  });

  it('what another policy has cut already is not lost by ours', async () => {
    await using world = await openWorld({ settings: { networkPolicies: 'plan' } });
    await world.cluster.setNetworkPolicies('acme-corp', [{ ...denying(), egress: [] }]);
    expect((await world.manager.planAttach(BOOK)).networkPolicies?.cuts).toEqual([]);
  });

  it('a changed configuration shows those that it changes, and no others', async () => {
    await using world = await openWorld({ settings: { networkPolicies: 'plan' } });
    const sidecarId = await attached(world);
    const plan = (config: object) => world.manager.planUpdateTailnet({ tailnetName: ACME.tailnetName, config });
    expect(await plan({ allowedNetworks: ['10.0.0.0/9'] })).not.toHaveProperty('networkPolicies');
    const { networkPolicies } = await plan({ blockedNetworks: ['10.99.0.0/16', '169.254.169.254/32'] });
    expect(networkPolicies).toMatchObject([
      { sidecarId, cuts: expect.arrayContaining([{ direction: 'egress', protocol: 'UDP', cut: expect.any(String) }]) },
    ]);
    expect(JSON.stringify(networkPolicies)).toContain('169.254.169.254/32');
  });

  it('bug: an update failed where its NetworkPolicies could not be worked out, which a plan alone shows', async () => {
    await using world = await openWorld({ settings: { networkPolicies: 'plan' } });
    await attached(world);
    world.guard.hook = ({ name }) => (name === 'cluster.topology.networkPolicies' ? 'before' : undefined);
    const request = { tailnetName: ACME.tailnetName, config: { blockedNetworks: ['169.254.169.254/32'] } };
    await expect(world.manager.planUpdateTailnet(request)).rejects.toThrow();
    expect((await world.manager.updateTailnet(request)).config.blockedNetworks).toEqual(['169.254.169.254/32']);
  });
});

describe('networkPolicies enforce', () => {
  it('they are there before the sidecar goes in, say so, and go last', async () => {
    await using world = await openWorld(ENFORCE);
    const plan = await world.manager.planAttach(BOOK);
    const sidecarId = await attached(world);
    const { name, egress, podSelector } = await one(world);
    expect({ name, podSelector }).toEqual({ name: `bifrost-${sidecarId}-egress`, podSelector: { matchLabels: { [LABELS.sidecarId]: sidecarId } } });
    expect(plan.networkPolicies?.manifests).toMatchObject([{ spec: { egress } }]);
    expect(await condition(world)).toMatchObject({ status: 'True', reason: 'Written' });
    const { names } = world.guard;
    expect(names.indexOf('cluster.networkPolicies.put')).toBeGreaterThan(names.indexOf('store.sidecars.replaceState'));
    const goesIn = names.indexOf('cluster.workloads.attach', names.indexOf('store.sidecars.create'));
    expect(names.indexOf('cluster.networkPolicies.put')).toBeLessThan(goesIn);
    await world.manager.detachSidecar(sidecarId);
    await world.until(async () => (await world.sidecars()).length === 0);
    expect(await policies(world)).toEqual([]);
    expect(names.lastIndexOf('cluster.networkPolicies.remove')).toBeGreaterThan(names.lastIndexOf('controlPlane.tailnet.listDevices'));
    expect(await world.manager.listLeftovers()).toEqual([]);
  });

  it('are refused at first where they would open a family of which nobody says where pods are, or where no range of pods is told at all', async () => {
    const relays = (cidr: string) => [{ at: [{ kind: 'networks', networks: [cidr] }], ports: [{ protocol: 'udp', port: 3478 }] }] as const;
    for (const [cidr, code] of Object.entries({ '::/0': 'ISOLATION_VIOLATED', '2001:db8:7::/48': undefined })) {
      await using world = await openWorld({ settings: { ...ENFORCE.settings, networkPolicyEndpoints: { relays: relays(cidr) } } });
      const asked = await refusal(world.manager.planAttach(BOOK)).catch(() => undefined);
      expect([cidr, asked?.code, asked?.issues[0]?.path]).toEqual([cidr, code, code && 'networkPolicyEndpoints']);
    }
    const clusterRanges = { pods: [], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] };
    await using world = await openWorld({ settings: { ...ENFORCE.settings, clusterRanges } });
    expect(await refusal(world.manager.planAttach(BOOK))).toMatchObject({ code: 'CLUSTER_RANGES_UNKNOWN', issues: [{ path: 'clusterRanges.pods' }] });
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await stored(world))?.state.reason?.code === 'CLUSTER_RANGES_UNKNOWN');
    expect(await policies(world)).toEqual([]);
  });

  it('a round in which nothing differs writes nothing', async () => {
    await using world = await openWorld(ENFORCE);
    await attached(world);
    const puts = (): number => world.guard.names.filter((name) => name === 'cluster.networkPolicies.put').length;
    expect(puts()).toBe(1);
    await world.run(180_000);
    expect(puts()).toBe(1);
    expect(drifts(world)).toEqual([]);
  });

  it.each([
    ['changed', { name: '', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [{}] }],
    ['deleted', undefined],
  ])('one that somebody has %s is put right and told, and another book’s is not touched', async (_, shape) => {
    await using world = await openWorld(ENFORCE);
    const sidecarId = await attached(world);
    const before = await one(world);
    await world.cluster.changeNetworkPolicy(before, shape);
    await world.run(61_000);
    expect(await policies(world)).toEqual([before]);
    expect(drifts(world)).toMatchObject([{ sidecarId, networkPolicy: before.name, manager: 'unknown', repaired: true }]);
  });

  it('one more with our labels goes; what follows the configuration is no drift', async () => {
    await using world = await openWorld(ENFORCE);
    const sidecarId = await attached(world);
    const before = await one(world);
    const extra = exampleManifest('acme-corp', { sidecarId });
    await world.cluster.networkPolicies.put({ ...extra, metadata: { ...extra.metadata, name: 'more' } }, call());
    await world.run(61_000);
    expect(await policies(world)).toEqual([before]);
    expect(drifts(world)).toMatchObject([{ networkPolicy: 'more' }]);
    await world.manager.updateTailnet({ tailnetName: ACME.tailnetName, config: { blockedNetworks: ['169.254.169.254/32'] } });
    await world.until(async () => JSON.stringify(await policies(world)).includes('169.254.169.254/32'));
    expect(JSON.stringify(before)).not.toContain('169.254.169.254');
    expect(drifts(world)).toHaveLength(1);
  });

  it('names the pods that answer behind cluster DNS and ingest, and what it is told instead', async () => {
    await using world = await openWorld({
      settings: { ...ENFORCE.settings, loginServer: 'https://192.0.2.7:8080', networkPolicyEndpoints: { relays: [] } },
    });
    const selector = { app: 'dns' };
    await world.cluster.setService(DNS_SERVICE, { addresses: ['10.96.0.10'], selector, ports: [{ protocol: 'udp', port: 53, targetPort: 5353 }] });
    await world.cluster.setService(
      { namespace: 'bifrost', name: 'bifrost' },
      { addresses: [], selector: { app: 'manager' }, ports: [{ protocol: 'tcp', port: 443, targetPort: 'reports' }] },
    );
    await attached(world);
    const labelled = (namespace: string, podLabels: object) => ({
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
      podSelector: { matchLabels: podLabels },
    });
    const { egress } = await one(world);
    expect(egress).toEqual([
      { to: [labelled('bifrost', { app: 'manager' })], ports: [{ protocol: 'TCP', port: 'reports' }] },
      { to: [{ ipBlock: { cidr: '192.0.2.7/32' } }], ports: [{ protocol: 'TCP', port: 8080 }] },
      { to: [labelled('kube-system', selector)], ports: [{ protocol: 'UDP', port: 5353 }] },
      { to: [{ ipBlock: { cidr: '10.96.0.10/32' } }], ports: [{ protocol: 'UDP', port: 53 }] },
      { to: expect.any(Array), ports: [{ protocol: 'UDP' }] },
    ]);
  });

  it('names the relays that the control plane tells; while it cannot, none is attached and what is there stays', async () => {
    await using world = await openWorld(ENFORCE);
    let away = true;
    world.guard.hook = ({ name }) => (away && name === 'controlPlane.relays' ? 'before' : undefined);
    expect((await world.manager.planAttach(BOOK)).networkPolicies?.cuts).toHaveLength(3);
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await stored(world))?.state.reason?.code === 'CONTROL_UNAVAILABLE');
    expect(await policies(world)).toEqual([]);
    away = false;
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
    const before = await one(world);
    const relay = { to: [{ ipBlock: { cidr: '192.0.2.11/32' } }, { ipBlock: { cidr: '2001:db8::11/128' } }] };
    expect(before.egress).toEqual(expect.arrayContaining([expect.objectContaining({ to: expect.arrayContaining(relay.to) })]));
    away = true;
    await world.restart();
    await world.run(180_000);
    expect(await policies(world)).toEqual([before]);
    expect((await stored(world))?.state).toMatchObject({ phase: 'connected', networkPolicies: { written: true } });
    const asked = world.guard.names.filter((name) => name === 'controlPlane.relays').length;
    expect(asked).toBeLessThan(20);
    expect(await world.manager.planUpdateTailnet({ tailnetName: ACME.tailnetName, config: { blockedNetworks: ['192.168.0.0/16'] } })).toMatchObject({
      networkPolicies: [{ manifests: [{}] }],
    });
  });

  it('one of our name that is not ours is left alone, and the attachment says what to do', async () => {
    await using world = await openWorld(ENFORCE);
    const { sidecarId, template } = await world.manager.planAttach(BOOK);
    const theirs = { ...denying(), name: `bifrost-${sidecarId}-egress` };
    await world.cluster.setNetworkPolicies('acme-corp', [theirs]);
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await stored(world))?.state.reason?.code === 'FIELD_CONFLICT');
    expect(await world.cluster.readWorkload(world.book)).not.toEqual(template);
    expect(await world.cluster.topology.networkPolicies('acme-corp', call())).toEqual([theirs]);
    await world.cluster.setNetworkPolicies('acme-corp', []);
    await world.manager.repairSidecar(sidecarId);
    await world.until(async () => (await stored(world))?.state.phase === 'connected');
  });

  it('turned off, they go; turned on, they come', async () => {
    await using world = await openWorld(ENFORCE);
    await attached(world);
    await world.restart({ networkPolicies: 'plan' });
    await world.until(async () => (await policies(world)).length === 0);
    expect((await stored(world))?.state).not.toHaveProperty('networkPolicies');
    await world.restart();
    await world.until(async () => (await policies(world)).length === 1);
    expect(drifts(world)).toEqual([]);
  });

  it('go with an attach that fails, and with one that is abandoned where nobody may delete them', async () => {
    await using world = await openWorld({ settings: { ...ENFORCE.settings, attachDeadlineMs: 60_000 } });
    world.agents.speak = false;
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await stored(world))?.state.rolledBack === true && (await stored(world))?.state.applied === undefined);
    expect(await policies(world)).toEqual([]);
    world.agents.speak = true;
    await attached(world);
    world.guard.hook = ({ name }) => (name === 'cluster.networkPolicies.remove' ? { refused: 'CLUSTER_DENIED' } : undefined);
    await world.manager.detachSidecar(sidecarId);
    await world.until(async () => (await stored(world))?.state.reason?.code === 'CLUSTER_DENIED');
    await world.manager.detachSidecar(sidecarId, { abandon: true });
    await world.until(async () => (await world.sidecars()).length === 0);
    expect(await world.manager.listLeftovers()).toEqual([{ kind: 'network-policy', id: `bifrost-${sidecarId}-egress`, place: 'acme-corp' }]);
    expect(world.audit.records.filter(({ action }) => action === 'abandon')).toMatchObject([{ outcome: 'CLUSTER_DENIED' }]);
  });

  it('are written for a workload that is yet to be created, and go when it does not come', async () => {
    await using world = await openWorld({ settings: { ...ENFORCE.settings, registrationMs: 60_000 } });
    const manifest = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { namespace: 'acme-corp', name: 'nightly' },
      spec: { template: { spec: { containers: [{ name: 'book', image: 'book' }] } } },
    };
    const { sidecarId } = await world.manager.injectSidecar({ tailnetName: ACME.tailnetName, config: { hostname: 'nightly' }, manifest });
    await world.until(async () => (await policies(world)).length === 1);
    expect((await one(world)).labels[LABELS.sidecarId]).toBe(sidecarId);
    await world.until(async () => (await world.sidecars()).length === 0);
    expect(await policies(world)).toEqual([]);
  });
});

describe('in userspace mode', () => {
  const USERSPACE = { ...BOOK, config: { ...BOOK.config, networkMode: 'userspace' } } as const;
  const settings = { networkPolicies: 'enforce', networkPolicyEnforced: true } as const;

  it('ours are what stands in for the guard, and stay until the detach, whatever the setting', async () => {
    await using world = await restrictedWorld({ policies: [], settings });
    const sidecarId = await attached(world, USERSPACE);
    const labels = { [LABELS.sidecarId]: sidecarId };
    const networks = ['10.0.0.0/8', '10.99.0.0/16', ...TAILNET_NETWORKS];
    const clusterRanges = await world.cluster.topology.ranges(call());
    expect(clearEgress(await policies(world), { labels, networks, ...(clusterRanges && { clusterRanges }) })).toBe('denied');
    await world.restart({ networkPolicies: 'off' });
    await world.run(61_000);
    expect(await policies(world)).toHaveLength(1);
    await world.manager.detachSidecar(sidecarId);
    await world.until(async () => (await world.sidecars()).length === 0);
    expect(await policies(world)).toEqual([]);
  });

  it.each([
    ['nobody says that they are enforced', { settings: { networkPolicies: 'enforce' as const } }],
    ['they are only planned', { settings: { ...settings, networkPolicies: 'plan' as const } }],
    ['another policy lets out what ours do not', { policies: [denying('10.7.0.0/16')] }],
  ])('is refused where %s', async (_, options) => {
    await using world = await restrictedWorld({ policies: [], settings, ...options });
    expect(await refusal(world.manager.attachSidecar(USERSPACE))).toMatchObject({ code: 'EGRESS_NOT_DENIED' });
    expect(await policies(world)).toEqual([]);
  });
});

it('a manifest of an endpoint by the name of a whole namespace is as the API server gives it back', () => {
  const at = [{ kind: 'pods' as const, namespaceLabels: { a: 'b' }, podLabels: {} }];
  const given = { sidecarId: 'f00d', namespace: 'a', ranges: { pods: [], services: [], nodes: [] }, dns: [], control: [], relays: [] };
  const [manifest] = networkPoliciesOf({ ...given, ingest: [{ at, ports: [{ protocol: 'tcp', port: 1 }] }] });
  expect(manifest?.spec.egress?.[0]?.to).toEqual([{ namespaceSelector: { matchLabels: { a: 'b' } }, podSelector: {} }]);
});
