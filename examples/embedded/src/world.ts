import { createServer, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { NetworkManager, type Secret, systemClock, type WorkloadReference } from '@bifrost/sdk';
import { createReportHandler } from '@bifrost/sdk/server';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';
import { MemoryCluster, MemoryStore, SimulatedControl, SimulatedPodRuntime, TailscaleApiSimulator } from '@bifrost/sdk/testing';

/** Everything around the manager: simulated control plane and cluster, real agents, a real report door. */
export interface World extends AsyncDisposable {
  readonly manager: NetworkManager;
  readonly cluster: MemoryCluster;
  readonly control: SimulatedControl;
  readonly runtime: SimulatedPodRuntime;
}

const HEARTBEAT_MS = 500;
const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;

export async function openWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const clock = systemClock();
  const control = new SimulatedControl();
  const api = stack.use(new TailscaleApiSimulator(control));
  await api.start();
  const agentProgram = createRequire(import.meta.url).resolve('@bifrost/agent/agent.cjs');
  const runtime = new SimulatedPodRuntime({ control, agentProgram, restartMs: 3_000 });
  const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['10.250.0.1/32'] };
  const cluster = stack.use(new MemoryCluster({ clock, runtime, ranges }));
  // The door opens before the manager exists: the manager must know its address.
  let handle: RequestListener = (_, response) => void response.writeHead(503).end();
  const door = await listen((request, response) => handle(request, response));
  stack.defer(() => {
    door.close();
    door.closeAllConnections();
  });
  const { port } = door.address() as AddressInfo;
  const manager = stack.use(
    new NetworkManager({
      cluster,
      store: new MemoryStore({ clock }),
      controlPlane: tailscaleControlPlane({ baseUrl: api.url, organization: control.organization }),
      images: { tailscale: `tailscale@${digest('1')}`, agent: `bifrost-agent@${digest('2')}` },
      ingest: { url: `http://127.0.0.1:${port}/v1/reports` },
      heartbeatMs: HEARTBEAT_MS,
      silenceMs: 3 * HEARTBEAT_MS,
    }),
  );
  handle = createReportHandler(manager);
  await manager.start();
  const owned = stack.move();
  return { manager, cluster, control, runtime, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const listen = (handler: RequestListener): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer(handler);
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });

/** A customer's side: their own tailnet with a router, and the OAuth client that they hand to us by Secret. */
export async function addCustomerTailnet(world: World, { customerId, tags }: { customerId: string; tags: readonly string[] }): Promise<void> {
  const { controlId, credential } = world.control.addTailnet({ displayName: customerId, tags });
  world.control.addDevice({ controlId, hostname: 'router', advertiseRoutes: ['10.0.0.0/8'], tags: ['tag:router'] });
  await putCredential(world, customerId, credential);
}

/** The router that a customer joins to a tailnet that was made for them. Its display name begins with the tailnet's. */
export function addRouter({ control }: World, tailnetName: string): void {
  const made = control.tailnets().find(({ displayName }) => displayName.startsWith(tailnetName));
  if (made !== undefined)
    control.addDevice({ controlId: made.controlId, hostname: 'router', advertiseRoutes: ['10.0.0.0/8'], tags: ['tag:bifrost-router'] });
}

const putCredential = (world: World, customerId: string, credential: { clientId: string; clientSecret: Secret }): Promise<void> =>
  world.cluster.createSecret({
    namespace: 'bifrost',
    name: `bifrost-customer-${customerId}`,
    data: { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() },
  });

/** A book in its customer's namespace. */
export async function addBook(
  world: World,
  { customerId, name, replicas = 1 }: { customerId: string; name: string; replicas?: number },
): Promise<WorkloadReference> {
  const namespace = `customer-${customerId}`;
  await world.cluster.createNamespace({ name: namespace, customerId });
  const containers = [{ name: 'book', image: 'book', ports: [{ containerPort: 8080 }] }];
  return world.cluster.createWorkload({ namespace, name, replicas, containers });
}
