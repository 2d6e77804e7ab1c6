// The server of the api bench: the network API of a manager with one connected pod. Beside it, in the same process, servers of the library that it is
// built on, with a handler that answers a constant: what the API itself answered first. And the constant as a page of the API's own server.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import { apiKeyAuthenticator, createApiKey, createApiServer } from '@bifrost/sdk/server';
import { NetworkManager as Service } from '@bifrost/types/proto';
import { createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { managedPod } from '../support/managed-pod.ts';
import { pause } from '../support/pause.ts';
import type { ApiBenchCommand, ApiBenchServer } from './api-client.ts';

const READERS = Number(process.argv[2]);
const PLENTY = { pointsPerSecond: 1_000_000, burst: 1_000_000 };

const world = await managedPod({
  agentProgram: createRequire(import.meta.url).resolve('@bifrost/agent/agent.cjs'),
  heartbeatMs: 10_000,
});
const { manager, pod, tailnetName } = world;
const { key, sha256 } = createApiKey({ id: 'bench' });
const options = {
  manager,
  authenticator: apiKeyAuthenticator({ keys: [{ id: 'bench', sha256, subject: 'bench', roles: ['viewer:*'] }] }),
  rateLimits: { caller: PLENTY, customer: PLENTY, attempt: PLENTY },
  maxStreamsPerCaller: READERS,
};
const path = `/api/v1/networks/tailnets/${tailnetName}/status`;
const headers = { 'x-api-key': key.reveal() };

/** What the API answers, as the constant. */
async function answered() {
  await using server = createApiServer(options);
  const { port } = await server.listen(0);
  const client = createClient(Service, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
  const json = await fetch(`http://127.0.0.1:${port}${path}`, { headers });
  return { status: await client.getNetworkStatus({ tailnetName }, { headers }), json: Buffer.from(await json.arrayBuffer()) };
}
const { status, json } = await answered();

const server = createApiServer({ ...options, pages: { '/constant': { contentType: 'application/json', body: json } } });
const { port } = await server.listen(0);
const constant = connectNodeAdapter({
  routes: (router) =>
    router.service(Service, {
      getNetworkStatus: () => status,
      async *monitorConnectivity(_, { signal }) {
        yield {};
        await once(signal, 'abort');
      },
    }),
});

async function listening(bare: Server): Promise<number> {
  await once(bare.listen(0, '127.0.0.1'), 'listening');
  return (bare.address() as AddressInfo).port;
}

const ready: ApiBenchServer = {
  apiKey: key.reveal(),
  tailnetName,
  answerBytes: json.length,
  grpc: { ours: port, baseline: await listening(createHttp2Server(constant as never)) },
  rest: {
    ours: { port, method: 'GET', path },
    baseline: { port: await listening(createServer(constant)), method: 'POST', path: `/${Service.typeName}/GetNetworkStatus` },
  },
  page: { port, method: 'GET', path: '/constant' },
};

const now = (): number => performance.timeOrigin + performance.now();
const told = (message: unknown): void => void process.send?.(message);
manager.on('instance:disconnected', () => told({ atMs: now(), Stopped: true }));
manager.on('instance:connected', () => told({ atMs: now(), Running: true }));

async function memory(): Promise<number> {
  for (let turn = 0; turn < 5; turn += 1) {
    globalThis.gc?.();
    await pause(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

process.on('message', (command: ApiBenchCommand) => {
  if (command === 'cpu') {
    const { user, system } = process.cpuUsage();
    told({ cpuMicroseconds: user + system });
  } else if (command === 'memory') void memory().then((bytes) => told({ bytes }));
  else pod.tailscaled.setBackendState(command);
});
// With its agent's process, which would be left alone else.
process.on('disconnect', () => void Promise.resolve(world[Symbol.asyncDispose]()).finally(() => process.exit(0)));
told(ready);
