import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SimulatedPeer, TailscaledSimulator } from '@bifrost/sdk/testing';
import { describeLocalApi } from '@bifrost/sdk/testing/conformance';
import { describe } from 'vitest';
import { buildAgent } from './support/agent-process.ts';

const node = { id: 'nBOOK', hostname: 'book', ips: ['100.64.0.1', 'fd7a:115c:a1e0::1'], tailnetDomain: 'tail1.ts.net' };
const peer: SimulatedPeer = {
  id: 'nGATE',
  hostname: 'gate',
  ips: ['100.64.0.2', 'fd7a:115c:a1e0::2'],
  tags: ['tag:gateway'],
  routes: ['10.1.0.0/24'],
};

const undo = (act: () => void): AsyncDisposable => ({ [Symbol.asyncDispose]: async () => act() });

/** The suite that runs on real daemons in test/lab/local-api.test.ts. */
describe.each([
  ['as a router', { ...node, advertisedRoutes: ['10.8.0.0/24', '10.9.0.0/24'], approvedRoutes: ['10.9.0.0/24'] }, peer],
  ['with a peer that a user owns', node, { ...peer, tags: [], user: 'anna@acme.example' }],
])('the simulator %s', (name, own, { tags, ...other }) => {
  describeLocalApi(`simulator, ${name}`, async () => {
    await using stack = new AsyncDisposableStack();
    const folder = mkdtempSync(join(tmpdir(), 'bifrost-local-api-'));
    stack.defer(() => rmSync(folder, { recursive: true, force: true }));
    const agentProgram = await buildAgent(folder);
    const socketPath = join(folder, 's.sock');
    const peers = [tags && tags.length > 0 ? { ...other, tags } : other];
    const daemon = stack.use(new TailscaledSimulator({ socketPath, node: own, peers }));
    await daemon.start({ signal: AbortSignal.timeout(5_000) });
    const owned = stack.move();
    return {
      ...{ socketPath, agentProgram },
      peer: { ip: '100.64.0.2', hostname: 'gate' },
      rename: async (hostname) => daemon.setNode({ ...own, hostname }),
      suspend: async () => {
        daemon.freeze();
        return undo(() => daemon.thaw());
      },
      putDown: async () => {
        daemon.setBackendState('Stopped');
        return undo(() => daemon.setBackendState('Running'));
      },
      cutControl: async () => {
        daemon.setControlLink(false);
        return undo(() => daemon.setControlLink(true));
      },
      relayPeer: async () => {
        daemon.relay();
        return undo(() => daemon.restoreLink());
      },
      letKeyExpire: async () => {
        daemon.setNode({ ...own, keyExpiry: '2126-01-01T00:00:00Z' });
        return undo(() => daemon.setNode(own));
      },
      talk: async () => daemon.addTraffic('nGATE', 100, 100),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  });
});
