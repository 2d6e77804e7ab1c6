import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeLocalApi } from '@bifrost/sdk/testing/conformance';
import { buildAgent } from '../support/agent-process.ts';
import { lab, runLab } from './support/command.ts';
import { ControlClient, cutControl } from './support/control.ts';
import { createTailnetByHand, joinGateway } from './support/customer.ts';
import { asReader } from './support/reader.ts';
// The same on daemons in userspace mode.
import './conformance/local-api.lab.ts';

const [NAME, OTHER] = ['api-one', 'api-two'];
/** In a customer's network: nothing passes from or to another customer's machine but what goes by relay. */
const NO_DIRECT_WAY = `table inet no_direct_way {
  chain input { type filter hook input priority -300; ip saddr 10.245.0.0/16 udp dport 41641 drop; }
  chain output { type filter hook output priority -300; ip daddr 10.245.0.0/16 udp dport 41641 drop; }
}`;

/** A signal to the gateway's daemon, and to nothing else in its network namespace. */
const signal = (which: string): Promise<string> =>
  lab(['inside', '--', 'sh', '-c', `for p in $(ip netns pids lab-${NAME}); do grep -qx tailscaled /proc/$p/comm && kill -${which} $p; done`]);

const tailscale = async (...args: readonly string[]): Promise<void> => void (await lab(['customer', NAME, '--', 'tailscale', ...args]));

/** The suite that `npm test` runs on the simulator, here on the daemon of a customer's router in kernel mode; a second router is its peer. */
describeLocalApi('tailscaled of a router, in kernel mode', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-local-api-'));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const client = await createTailnetByHand('local-api');
  const owner = stack.use(new ControlClient(client));
  stack.defer(() => owner.deleteTailnet());
  await owner.setPolicy({ tagOwners: { 'tag:gateway': [] }, grants: [{ src: ['*'], dst: ['*'], ip: ['*'] }] });
  const one = stack.use(await joinGateway(client, { name: NAME, routes: ['10.8.0.0/24', '10.9.0.0/24'] }));
  await owner.approveRoutes(one.gateway.nodeId, ['10.9.0.0/24']);
  const two = stack.use(await joinGateway(client, { name: OTHER, routes: [], address: '10.1.0.11' }));
  const ip = two.gateway.addresses.find((address) => !address.includes(':')) ?? '';
  const socketPath = `/run/bifrost-lab/gateway-${NAME}/socket`;
  const owned = stack.move();
  return {
    socketPath,
    peer: { ip, hostname: `gateway-${OTHER}` },
    agentProgram: await buildAgent(folder),
    rename: (hostname) => tailscale('set', `--hostname=${hostname}`),
    talk: async () => void (await runLab(['customer', NAME, '--', 'book', 'request', 'GET', `http://${ip}:9/`, '500', ''])),
    suspend: async () => {
      await signal('STOP');
      return { [Symbol.asyncDispose]: async () => void (await signal('CONT')) };
    },
    putDown: async () => {
      await tailscale('down');
      return { [Symbol.asyncDispose]: () => tailscale('up') };
    },
    cutControl: () => cutControl(one.gateway.nodeId),
    relayPeer: async () => {
      await lab(['customer', OTHER, '--', 'nft', NO_DIRECT_WAY]);
      return { [Symbol.asyncDispose]: async () => void (await lab(['customer', OTHER, '--', 'nft', 'delete table inet no_direct_way'])) };
    },
    letKeyExpire: () => owner.letKeyExpire(one.gateway.nodeId),
    asReader: (request) => asReader(socketPath, request),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
});
