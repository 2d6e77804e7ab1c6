// One side of the ingest bench: `ours` is the manager's report door, `baseline` a bare server that reads and parses the same body.
import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { NetworkManager, systemClock } from '@bifrost/sdk';
import { createReportHandler } from '@bifrost/sdk/server';
import { MemoryCluster, MemoryControlPlane, MemoryStore, SimulatedControl } from '@bifrost/sdk/testing';
import { type Reporter, withTokenReviews } from './ingest-cluster.ts';

const [mode = 'baseline', folder = '.'] = process.argv.slice(2);

const PODS = 200;

interface Side {
  readonly handler: RequestListener;
  readonly reporters: readonly Reporter[];
  readonly sidecarId: string;
}

const bare: RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { v } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { v: number };
    const text = JSON.stringify({ v, next_heartbeat_ms: 10_000 });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  });
};

async function ours(): Promise<Side> {
  const clock = systemClock();
  const control = new SimulatedControl();
  const memory = new MemoryCluster({ clock, ranges: { pods: ['10.244.0.0/16'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] } });
  const { cluster, issue } = withTokenReviews(memory);
  const digest = `sha256:${'0'.repeat(64)}`;
  const manager = new NetworkManager({
    cluster,
    store: new MemoryStore({ clock }),
    controlPlane: new MemoryControlPlane({ control }),
    images: { tailscale: `tailscale@${digest}`, agent: `agent@${digest}` },
    ingest: { url: 'https://127.0.0.1/v1/reports' },
  });
  await manager.start();
  const { credential } = control.addTailnet({ displayName: 'acme', tags: ['tag:bifrost-book'] });
  await memory.createSecret({
    namespace: 'bifrost',
    name: 'bifrost-customer-acme',
    data: { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() },
  });
  await memory.createNamespace({ name: 'acme', customerId: 'acme' });
  const workload = await memory.createWorkload({ namespace: 'acme', name: 'book', replicas: PODS });
  const signal = AbortSignal.timeout(60_000);
  await manager.createTailnet({ customerId: 'acme', tailnetName: 'acme', config: { allowedNetworks: ['10.0.0.0/8'] } });
  await manager.waitFor({ tailnetName: 'acme', status: 'active' }, { signal });
  const { sidecarId } = await manager.attachSidecar({
    bookDeploymentId: 'acme/book',
    tailnetName: 'acme',
    config: { hostname: 'book', acceptRoutes: true },
  });
  while ((await manager.listSidecars())[0]?.instances.length !== PODS) await clock.sleep(20, { signal });
  await memory.settled({ signal });
  const pods = memory.podsOf(workload).filter(({ labels, deleting }) => labels['bifrost.dev/sidecar-id'] === sidecarId && !deleting);
  return { handler: createReportHandler(manager), reporters: pods.map(issue), sidecarId };
}

const pretended = (): readonly Reporter[] => Array.from({ length: PODS }, (_, index) => ({ token: 'x'.repeat(1_144), podUid: `pod-${index}` }));
const side: Side = mode === 'ours' ? await ours() : { handler: bare, reporters: pretended(), sidecarId: crypto.randomUUID() };
const tls = { cert: readFileSync(join(folder, 'tls.crt')), key: readFileSync(join(folder, 'tls.key')) };
const server = createServer(tls, side.handler).listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.send?.({ port, reporters: side.reporters, sidecarId: side.sidecarId });
});
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ cpu: user + system });
});
process.on('disconnect', () => process.exit(0));
