import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BifrostError, NetworkManager, systemClock } from '@bifrost/sdk';
import { createReportHandler } from '@bifrost/sdk/server';
import { MemoryCluster, MemoryControlPlane, MemoryStore, SimulatedControl, type SimulatedPod, SimulatedPodRuntime } from '@bifrost/sdk/testing';

const CUSTOMER = 'acme';
const SPACE = 'acme-space';

type Handler = (incoming: IncomingMessage, response: ServerResponse) => void;

/** The manager's door for reports: a real one on loopback, that can be closed and opened again at the same address. */
class Door {
  handle: Handler = (_, response) => void response.writeHead(503).end();
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1/reports`;
  }

  async open(): Promise<void> {
    this.#server = createServer((incoming, response) => this.handle(incoming, response)).listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** As a manager's pod that is gone: connections end, new ones are refused. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
}

export interface ManagedPod extends AsyncDisposable {
  readonly manager: NetworkManager;
  readonly door: Door;
  /** One pod: a simulated tailscaled with one router, and a real agent process, which posts to the door. */
  readonly pod: SimulatedPod;
  readonly sidecarId: string;
  readonly tailnetName: string;
  /** The router's device id. */
  readonly routerId: string;
  /** Puts the customer's policy, as the customer does. */
  setPolicy(text: string): Promise<void>;
}

/** A manager on memory adapters with its real door, and one connected pod. */
export async function managedPod({
  agentProgram,
  heartbeatMs,
}: {
  readonly agentProgram: string;
  readonly heartbeatMs: number;
}): Promise<ManagedPod> {
  await using stack = new AsyncDisposableStack();
  const clock = systemClock();
  const control = new SimulatedControl();
  const { controlId, credential } = control.addTailnet({ displayName: CUSTOMER, tags: ['tag:bifrost-book'] });
  const router = control.addDevice({ controlId, hostname: 'router', advertiseRoutes: ['10.0.0.0/8'], tags: ['tag:router'] });
  const runtime = new SimulatedPodRuntime({ control, agentProgram });
  const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['10.250.0.1/32'] };
  const cluster = stack.use(new MemoryCluster({ clock, runtime, ranges }));
  const door = new Door();
  await door.open();
  stack.defer(() => door.close());
  const digest = `sha256:${'0'.repeat(64)}`;
  const manager = stack.use(
    new NetworkManager({
      ...{ cluster, heartbeatMs, store: new MemoryStore({ clock }), controlPlane: new MemoryControlPlane({ control }) },
      images: { tailscale: `tailscale@${digest}`, agent: `agent@${digest}` },
      ingest: { url: door.url },
    }),
  );
  door.handle = createReportHandler(manager);
  await manager.start();
  await cluster.createNamespace({ name: SPACE, customerId: CUSTOMER });
  await cluster.createWorkload({ namespace: SPACE, name: 'book', replicas: 1, containers: [{ name: 'book', image: 'book' }] });
  const controlPlane = stack.use(new MemoryControlPlane({ control }));
  const setPolicy = async (text: string): Promise<void> => {
    const [tailnet, options] = [controlPlane.tailnet({ credential }), { signal: AbortSignal.timeout(30_000) }];
    await tailnet.writePolicy(text, (await tailnet.readPolicy(options)).etag, options);
  };
  const data = { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() };
  await cluster.createSecret({ namespace: 'bifrost', name: `bifrost-customer-${CUSTOMER}`, data });
  await manager.createTailnet({ customerId: CUSTOMER, tailnetName: CUSTOMER, config: { allowedNetworks: ['10.0.0.0/8'] } });
  const config = { hostname: 'book', acceptRoutes: true };
  const { sidecarId } = await manager.attachSidecar({ bookDeploymentId: `${SPACE}/book`, tailnetName: CUSTOMER, config });
  const { instances } = await manager.waitFor({ sidecarId, status: 'connected' }, { signal: AbortSignal.timeout(30_000) });
  const pod = runtime.pod(instances[0]?.podUid ?? '');
  if (pod === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'the pod does not run' });
  const owned = stack.move();
  return {
    ...{ manager, door, pod, sidecarId, tailnetName: CUSTOMER, routerId: router.deviceId, setPolicy },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
