import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeLocalApi, type LocalApiUnderTest } from '@bifrost/sdk/testing/conformance';
import { Secret } from '@bifrost/types/core';
import { buildAgent } from '../../support/agent-process.ts';
import { ControlClient, cutControl, ORGANIZATION } from '../support/control.ts';
import { asReader } from '../support/reader.ts';
import { startControlServer } from './control-server.ts';

/** Two machines in userspace mode on a control server of their own. */
async function open(stack: AsyncDisposableStack): Promise<LocalApiUnderTest> {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-local-api-'));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const server = stack.use(await startControlServer());
  const organization = stack.use(new ControlClient(ORGANIZATION, server.url));
  const { oauthClient } = await organization.createTailnet('local-api');
  const control = stack.use(new ControlClient(oauthClient, server.url));
  await control.setPolicy({ tagOwners: { 'tag:machine': [] }, grants: [{ src: ['*'], dst: ['*'], ip: ['*'] }] });
  const { key } = await control.createKey({ tags: ['tag:machine'], reusable: true });
  const machine = (hostname: string, advertiseRoutes: readonly string[]) => server.join({ authKey: new Secret(key), hostname, advertiseRoutes });
  const one = stack.use(await machine('one', ['10.8.0.0/24', '10.9.0.0/24']));
  const two = stack.use(await machine('two', []));
  await control.approveRoutes(one.deviceId, ['10.9.0.0/24']);
  const ip = two.addresses.find((address) => !address.includes(':')) ?? '';
  return {
    socketPath: one.socketPath,
    peer: { ip, hostname: 'two' },
    agentProgram: await buildAgent(folder),
    rename: (hostname) => one.tailscale('set', `--hostname=${hostname}`),
    talk: () => one.tailscale('nc', ip, '9'),
    suspend: () => one.suspend(),
    putDown: async () => {
      await one.tailscale('down');
      return { [Symbol.asyncDispose]: () => one.tailscale('up') };
    },
    cutControl: () => cutControl(one.deviceId, server.url),
    relayPeer: async () => {
      await two.restart({ TS_DEBUG_NEVER_DIRECT_UDP: 'true' });
      return { [Symbol.asyncDispose]: () => two.restart() };
    },
    letKeyExpire: () => control.letKeyExpire(one.deviceId),
    asReader: (request) => asReader(one.socketPath, request),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

describeLocalApi('tailscaled in userspace mode', () => open(new AsyncDisposableStack()));
