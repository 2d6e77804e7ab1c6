import type { FirewallPurpose, FirewallReport } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import type { DeviceConnectivity } from '../src/domain/policy/firewall-check.ts';
import { customerTagsOf } from '../src/domain/policy/identity-tags.ts';
import { digest } from '../src/manager/hashes.ts';
import { ACME, BOOK, BOOK_TAG, openWorld, SHARED_SECRET, World } from './support/world.ts';

const NAME = ACME.tailnetName;
const works: DeviceConnectivity = { regions: [{ name: 'Region One', latencyMs: 9, isHome: true }], udp: true, ipv6: false, mappingVaries: false };
const blind: DeviceConnectivity = { ...works, regions: [], udp: false };

async function addRouter(world: World, init: { readonly tags?: readonly string[]; readonly advertiseRoutes?: readonly string[] } = {}) {
  const controlId = (await world.tailnet())?.state.controlId ?? '';
  return world.control.addDevice({ controlId, hostname: 'gateway', tags: ['tag:bifrost-router'], ...init });
}
const statuses = ({ rows }: FirewallReport, purpose: FirewallPurpose) => [
  ...new Set(rows.filter((row) => row.purpose === purpose).map(({ status }) => status)),
];
const peer = (id: string, path: string) => ({ id, name: 'gateway', online: true, path, rx_bytes: 0, tx_bytes: 0, routes: ['10.0.0.0/8'] });

describe('what a customer’s firewall must let through', () => {
  it('names the login server and every relay, and is unknown while no router is there', async () => {
    await using world = await openWorld({ settings: { loginServer: 'https://login.example:8443' } });
    const report = await world.manager.firewallRequirements(NAME);
    expect(report).toMatchObject({ tailnetName: NAME, routers: 0, connectedRouters: 0 });
    expect(
      report.rows.map(({ protocol, destination, destinationPort, status }) => `${protocol} ${destination} ${destinationPort} ${status}`),
    ).toEqual([
      'tcp login.example 8443 unknown',
      'tcp derp1a.example 443 unknown',
      'tcp 192.0.2.11 443 unknown',
      'tcp 2001:db8::11 443 unknown',
      'tcp derp2a.example 8443 unknown',
      'udp derp1a.example 3478 unknown',
      'udp 192.0.2.11 3478 unknown',
      'udp 2001:db8::11 3478 unknown',
      'udp stun1b.example 3479 unknown',
      'udp 192.0.2.12 3479 unknown',
      'udp any any unknown',
      'udp the router 41641 unknown',
    ]);
    await using plain = await openWorld();
    expect((await plain.manager.firewallRequirements(NAME)).rows[0]).toMatchObject({ destination: 'controlplane.tailscale.com' });
  });

  it('goes by the relays of the tailnet’s own policy, where it may be read', async () => {
    await using world = await openWorld();
    const [credential] = world.credentials;
    if (credential === undefined) throw new Error('no customer');
    const control = world.controlPlane.tailnet({ credential });
    const call = { signal: AbortSignal.timeout(5_000) };
    const { text, etag } = await control.readPolicy(call);
    const Nodes = [{ Name: '900a', RegionID: 900, HostName: 'own.example', DERPPort: 8443 }];
    const derpMap = { OmitDefaultRegions: true, Regions: { 900: { RegionID: 900, RegionCode: 'own', RegionName: 'Own', Nodes } } };
    await control.writePolicy(JSON.stringify({ ...JSON.parse(text), derpMap }), etag, call);
    const { rows } = await world.manager.firewallRequirements(NAME);
    const named = rows.filter(({ purpose }) => purpose === 'relay' || purpose === 'stun');
    expect(named.map(({ destination, destinationPort }) => `${destination} ${destinationPort}`)).toEqual(['own.example 8443', 'own.example 3478']);
  });

  it('says which of it is blocked now, by the router’s own word; twin: a router whose UDP works', async () => {
    await using world = await openWorld();
    const { deviceId } = await addRouter(world);
    world.control.setConnectivity(deviceId, blind);
    const blocked = await world.manager.firewallRequirements(NAME);
    expect(blocked).toMatchObject({ routers: 1, connectedRouters: 1 });
    expect([statuses(blocked, 'control'), statuses(blocked, 'direct')]).toEqual([['open'], ['blocked', 'unknown']]);
    expect(blocked.rows.find(({ destination }) => destination === 'stun1b.example')).toMatchObject({
      status: 'blocked',
      evidence: [{ router: expect.stringMatching(/^gateway\./), status: 'blocked', at: new Date(world.clock.nowMs()) }],
    });
    world.control.setConnectivity(deviceId, works);
    const open = await world.manager.firewallRequirements(NAME);
    expect(open.rows.find(({ destination }) => destination === 'stun1b.example')?.status).toBe('open');
    world.control.setConnected(deviceId, false);
    expect(await world.manager.firewallRequirements(NAME)).toMatchObject({ routers: 1, connectedRouters: 0 });
  });

  it('goes by how books reach it, as long as they are heard', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const { deviceId } = await addRouter(world);
    world.control.setConnectivity(deviceId, works);
    const direct = async () => statuses(await world.manager.firewallRequirements(NAME), 'direct');
    expect(await direct()).toEqual(['unknown']);
    await world.agents.one.report('change', { peers: [peer(deviceId, 'direct')] });
    expect(await direct()).toEqual(['open']);
    await world.agents.one.report('change', { peers: [peer(deviceId, 'derp')] });
    expect(await direct()).toEqual(['unknown']);
    const relays = (await world.manager.firewallRequirements(NAME)).rows.filter(({ purpose }) => purpose === 'relay');
    expect(relays.map(({ region, status }) => `${region} ${status}`)).toEqual([
      'Region One open',
      'Region One open',
      'Region One open',
      'Region Two unknown',
    ]);
    await world.agents.one.report('change', { peers: [{ ...peer('somebody', 'direct') }, peer(deviceId, 'direct')] });
    expect(await direct()).toEqual(['open']);
    await world.clock.advance(35_001);
    expect(await direct()).toEqual(['unknown']);
  });

  it('says that relays are blocked when no book has reached the router for a while: a link takes seconds to go over to its relay', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const { deviceId } = await addRouter(world);
    world.control.setConnectivity(deviceId, blind);
    const hears = async (path: string) => {
      await world.agents.one.report('change', { peers: [peer(deviceId, path)] });
      return statuses(await world.manager.firewallRequirements(NAME), 'relay');
    };
    expect(await hears('direct')).toEqual(['unknown']);
    expect(await hears('none')).toEqual(['unknown']);
    await world.clock.advance(29_999);
    expect(await hears('none')).toEqual(['unknown']);
    await world.clock.advance(1);
    expect(await hears('none')).toEqual(['blocked']);
    expect(await hears('derp')).toEqual(['unknown']);
    expect(await hears('none')).toEqual(['unknown']);
  });

  it('counts who offers routes, or carries a router’s tag, and no book', async () => {
    await using world = await openWorld();
    const count = async () => (await world.manager.firewallRequirements(NAME)).routers;
    await addRouter(world, { tags: [] });
    await addRouter(world, { tags: [BOOK_TAG], advertiseRoutes: ['10.9.0.0/16'] });
    expect(await count()).toBe(0);
    await addRouter(world, { tags: [], advertiseRoutes: ['10.1.0.0/16'] });
    await addRouter(world, { tags: [customerTagsOf({ customerId: 'acme-corp', tailnetName: NAME }, digest).router] });
    await addRouter(world);
    expect(await count()).toBe(3);
  });

  it('tells of a tailnet of several customers the customer’s own routers alone', async () => {
    await using world = new World({ settings: { sharedCredentialSecretName: SHARED_SECRET, tenancy: 'shared' } });
    await world.manager.start();
    const controlId = await world.addShared();
    for (const customerId of ['acme', 'globex']) {
      await world.manager.createTailnet({ customerId, tailnetName: customerId, config: { allowedNetworks: ['10.0.0.0/8'] } });
      await world.until(async () => (await world.tailnet(customerId))?.state.phase === 'active');
      const { router, customer } = customerTagsOf({ customerId, tailnetName: customerId }, digest);
      world.control.addDevice({ controlId, hostname: `gateway-of-${customerId}`, tags: [router], advertiseRoutes: ['10.0.0.0/8'] });
      world.control.addDevice({ controlId, hostname: `book-of-${customerId}`, tags: [customer], advertiseRoutes: ['10.9.0.0/16'] });
    }
    world.control.addDevice({ controlId, hostname: 'platforms', tags: ['tag:bifrost-router'], advertiseRoutes: ['10.0.0.0/8'] });
    const { routers, rows } = await world.manager.firewallRequirements('acme');
    expect(routers).toBe(1);
    const named = new Set(rows.flatMap(({ evidence }) => evidence.map(({ router }) => router.split('.')[0])));
    expect([...named]).toEqual(['gateway-of-acme']);
  });

  it('is recorded with who asked, and refused like anything of a tailnet that is not there', async () => {
    await using world = await openWorld();
    const before = world.audit.records.length;
    await world.manager.firewallRequirements(NAME, { actor: 'ada' });
    await expect(world.manager.firewallRequirements('other', { actor: 'ada' })).rejects.toMatchObject({ code: 'TAILNET_NOT_FOUND' });
    expect(world.audit.records.slice(before)).toMatchObject([
      { actor: 'ada', action: 'getFirewallRequirements', subject: NAME, customerId: 'acme-corp', outcome: 'accepted' },
      { actor: 'ada', action: 'getFirewallRequirements', subject: 'other', outcome: 'TAILNET_NOT_FOUND' },
    ]);
  });

  it('and what the control plane refuses is told', async () => {
    await using world = await openWorld();
    world.controlPlane.failNext('CONTROL_UNAVAILABLE');
    await expect(world.manager.firewallRequirements(NAME)).rejects.toMatchObject({ code: 'CONTROL_UNAVAILABLE' });
  });
});

describe('questions that show what is allowed', () => {
  it('are recorded as changes are, in read-only mode too, and not without a record', async () => {
    await using world = await openWorld();
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    world.manager.setReadOnly(true);
    const options = { actor: 'ada' };
    const before = world.audit.records.length;
    await world.manager.explain({ sidecarId, to: '10.1.0.10' }, options);
    await world.manager.planUpdateTailnet({ tailnetName: NAME, config: { blockedNetworks: ['10.1.0.0/24'] } }, options);
    await world.manager.planUpdateSidecar({ sidecarId, config: { enableSsh: true } }, options);
    await world.manager.planUpgrade({ tailnetName: NAME }, options);
    await world.manager.planAttach(BOOK, options);
    expect(
      world.audit.records.slice(before).map(({ actor, action, subject, customerId, outcome }) => [actor, action, subject, customerId, outcome]),
    ).toEqual(
      [
        ['explainPacket', sidecarId],
        ['planUpdateTailnet', NAME],
        ['planUpdateSidecar', sidecarId],
        ['planUpgradeSidecars', NAME],
        ['planAttachSidecar', NAME],
      ].map(([action, subject]) => ['ada', action, subject, 'acme-corp', 'accepted']),
    );
    world.audit.failNext('STORE_UNAVAILABLE');
    await expect(world.manager.explain({ sidecarId, to: '10.1.0.10' }, options)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });
});
