import { systemClock } from '@bifrost/sdk';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';
import { describeControlPlane } from '@bifrost/sdk/testing/conformance';
import { Secret } from '@bifrost/types/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ControlServer, controlServerIsBuilt, startControlServer } from './control-server.ts';

/** The tailscale adapter under its port's suite, against the lab's control server, joined by real tailscaleds (userspace: no root needed). */
describe.skipIf(!controlServerIsBuilt())('tailscale adapter on the lab control server', () => {
  let server: ControlServer;
  beforeAll(async () => {
    server = await startControlServer();
  }, 30_000);
  afterAll(() => server[Symbol.asyncDispose]());

  const open = () =>
    tailscaleControlPlane({
      baseUrl: server.url,
      organization: { clientId: 'org', clientSecret: new Secret('tskey-client-org') },
      clock: systemClock(),
    });

  describeControlPlane('tailscale over the lab control server', async () => {
    const controlPlane = open();
    const machines = new AsyncDisposableStack();
    return {
      controlPlane,
      admin: {
        join: async (machine) => machines.use(await server.join(machine)),
        room: async () => 9 - (await controlPlane.listTailnets({ signal: AbortSignal.timeout(10_000) })).length,
      },
      async [Symbol.asyncDispose]() {
        await machines.disposeAsync();
        await controlPlane[Symbol.asyncDispose]();
      },
    };
  });

  it('a policy reaches connected machines at once: who sees whom, by which router, who may log in, with which attributes', async () => {
    await using controlPlane = open();
    await using machines = new AsyncDisposableStack();
    const call = { signal: AbortSignal.timeout(60_000) };
    const { controlId, credential } = await controlPlane.createTailnet('policies', call);
    const control = controlPlane.tailnet({ controlId, credential });
    machines.defer(() => control.deleteTailnet(call));
    const ROUTE = '10.77.1.0/24';
    const write = async (policy: object): Promise<void> => {
      const tagOwners = { 'tag:a': [], 'tag:b': [], 'tag:ra': [], 'tag:rb': [] };
      const autoApprovers = { routes: { [ROUTE]: ['tag:ra', 'tag:rb'] } };
      await control.writePolicy(JSON.stringify({ tagOwners, autoApprovers, ...policy }), (await control.readPolicy(call)).etag, call);
    };
    await write({ grants: [] });
    const join = async (name: string, advertiseRoutes: readonly string[] = []) => {
      const key = { description: name, tags: [`tag:${name}`], reusable: false, ephemeral: false, lifetimeSeconds: 600 };
      return machines.use(await server.join({ authKey: (await control.createKey(key, call)).key, hostname: name, advertiseRoutes }));
    };
    const [a, b, ra, rb] = await Promise.all([join('a'), join('b'), join('ra', [ROUTE]), join('rb', [ROUTE])]);
    const seenBy = async (machine: typeof a) => {
      const peers = (await machine.networkMap()).Peers ?? [];
      return Object.fromEntries(peers.map(({ StableID, AllowedIPs }) => [StableID, AllowedIPs.filter((range) => range === ROUTE)]));
    };
    const becomes = (machine: typeof a, seen: object) => expect.poll(() => seenBy(machine), { timeout: 5_000 }).toEqual(seen);

    await write({ grants: [{ src: ['tag:a'], dst: ['tag:b'], ip: ['22'] }] });
    await Promise.all([becomes(a, { [b.deviceId]: [] }), becomes(b, { [a.deviceId]: [] }), becomes(ra, {})]);
    await write({ grants: [{ src: ['tag:a'], dst: [ROUTE], ip: ['*'] }] });
    await Promise.all([becomes(a, { [ra.deviceId]: [ROUTE], [rb.deviceId]: [ROUTE] }), becomes(b, {})]);
    await write({ grants: [{ src: ['tag:a'], dst: [ROUTE], ip: ['*'], via: ['tag:ra'] }] });
    await Promise.all([becomes(a, { [ra.deviceId]: [ROUTE] }), becomes(rb, {})]);

    const ssh = [{ action: 'accept', src: ['tag:a'], dst: ['tag:b'], users: ['autogroup:nonroot'] }];
    await write({ grants: [{ src: ['tag:a'], dst: ['tag:b'], ip: ['22'] }], ssh, nodeAttrs: [{ target: ['tag:b'], attr: ['funnel'] }] });
    const rulesOf = async (machine: typeof a) => ((await machine.networkMap()).SSHPolicy?.rules ?? []).map(({ sshUsers }) => sshUsers);
    const hasFunnel = async (machine: typeof a) => 'funnel' in ((await machine.networkMap()).SelfNode.CapMap ?? {});
    await expect.poll(() => rulesOf(b), { timeout: 5_000 }).toEqual([{ '*': '=', root: '' }]);
    expect([await rulesOf(a), await hasFunnel(a), await hasFunnel(b)]).toEqual([[], false, true]);
    await write({ grants: [] });
    await Promise.all([becomes(a, {}), becomes(b, {}), becomes(ra, {})]);
    expect([await rulesOf(b), await hasFunnel(b)]).toEqual([[], false]);
  }, 90_000);

  it('faults that are posted to the server reach the adapter', async () => {
    await using controlPlane = open();
    const call = () => controlPlane.listTailnets({ signal: AbortSignal.timeout(10_000) });
    await server.fault({ status: 429, headers: { 'Retry-After': '7' }, path: '/organizations' });
    await expect(call()).rejects.toMatchObject({ code: 'CONTROL_RATE_LIMITED', retryAfterMs: 7_000 });
    await server.fault({ reset: true, path: '/organizations' });
    await expect(call()).rejects.toMatchObject({ code: 'CONTROL_UNAVAILABLE' });
    await server.fault({ status: 401, path: '/oauth/token' });
    await using fresh = open();
    await expect(fresh.listTailnets({ signal: AbortSignal.timeout(10_000) })).rejects.toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
    expect(await call()).toEqual([]);
  });
});
