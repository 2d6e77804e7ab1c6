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
