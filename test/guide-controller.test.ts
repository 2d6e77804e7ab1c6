import { createServer, type RequestListener } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { NetworkManager, systemClock } from '@bifrost/sdk';
import { createReportHandler } from '@bifrost/sdk/server';
import { MemoryCluster, MemoryControlPlane, MemoryStore, SimulatedControl, SimulatedPodRuntime } from '@bifrost/sdk/testing';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

/** What is under test: your controller. It is given a manager and never makes one, so that a test can give it another. */
class BookController implements Disposable {
  readonly #manager: NetworkManager;
  readonly #listening: Disposable;
  /** Stands for the status of your own objects. */
  readonly health = new Map<string, string>();

  constructor(manager: NetworkManager) {
    this.#manager = manager;
    this.#listening = manager.on('instance:disconnected', ({ bookDeploymentId, cause }) => this.health.set(bookDeploymentId, `cut off: ${cause}`));
  }
  async connect(customerId: string, book: string): Promise<void> {
    const signal = AbortSignal.timeout(60_000);
    await this.#manager.createTailnet({ customerId, tailnetName: customerId, config: { allowedNetworks: ['10.0.0.0/8'] } });
    const config = { hostname: 'book', acceptRoutes: true };
    const { sidecarId } = await this.#manager.attachSidecar({ bookDeploymentId: book, tailnetName: customerId, config });
    const { ipAddress } = await this.#manager.waitFor({ sidecarId, status: 'connected' }, { signal });
    this.health.set(book, `at ${ipAddress}`);
  }
  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }
}

const stack: AsyncDisposableStack[] = [];
const world = async () => {
  const owned = new AsyncDisposableStack();
  stack.push(owned);
  const clock = systemClock();
  const control = new SimulatedControl(); // what Tailscale would hold
  const agentProgram = createRequire(import.meta.url).resolve('@bifrost/agent/agent.cjs'); // a real process in each pod
  const runtime = new SimulatedPodRuntime({ control, agentProgram });
  const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['192.0.2.1/32'] };
  const cluster = owned.use(new MemoryCluster({ clock, runtime, ranges }));
  // Agents must know the door before the manager is made.
  let handle: RequestListener = (_, response) => void response.writeHead(503).end();
  const door = createServer((request, response) => handle(request, response)).listen(0, '127.0.0.1');
  owned.defer(() => void door.close().closeAllConnections());
  await vi.waitFor(() => expect(door.listening).toBe(true));
  const controlPlane = new MemoryControlPlane({ control });
  const pinned = (name: string): string => `${name}@sha256:${'0'.repeat(64)}`;
  const manager = owned.use(
    new NetworkManager({
      cluster,
      controlPlane,
      store: new MemoryStore({ clock }),
      images: { tailscale: pinned('tailscale'), agent: pinned('agent') },
      ingest: { url: `http://127.0.0.1:${(door.address() as AddressInfo).port}/v1/reports` },
      heartbeatMs: 200,
      silenceMs: 2_000,
    }),
  );
  handle = createReportHandler(manager);
  await manager.start();
  // The customer's side: a tailnet with a router, and the OAuth client that they gave us.
  const { controlId, credential } = control.addTailnet({ displayName: 'acme', tags: ['tag:bifrost-book'] });
  control.addDevice({ controlId, hostname: 'router', advertiseRoutes: ['10.0.0.0/8'] });
  const data = { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() };
  await cluster.createSecret({ namespace: 'bifrost', name: 'bifrost-customer-acme', data });
  // Yours: a namespace of that customer, and a book.
  await cluster.createNamespace({ name: 'acme', customerId: 'acme' });
  await cluster.createWorkload({ namespace: 'acme', name: 'book', replicas: 1 });
  return { manager, cluster, control, controlPlane, runtime, controller: owned.use(new BookController(manager)) };
};

let at: Awaited<ReturnType<typeof world>>;
beforeEach(async () => {
  at = await world();
});
afterEach(() => stack.pop()?.disposeAsync());
const soon = { timeout: 20_000, interval: 20 };

it('a book is connected, and says where it is', async () => {
  await at.controller.connect('acme', 'acme/book');
  expect(at.controller.health.get('acme/book')).toMatch(/^at 100\./);
});

it('a cut link is told with its cause', async () => {
  await at.controller.connect('acme', 'acme/book');
  const [sidecar] = await at.manager.listSidecars();
  at.runtime.pod(sidecar?.instances[0]?.podUid ?? '')?.tailscaled.cutLink();
  await vi.waitFor(() => expect(at.controller.health.get('acme/book')).toBe('cut off: relay'), soon);
});

it('a book in quarantine is cut off, and comes back as another device', async () => {
  await at.controller.connect('acme', 'acme/book');
  const [{ sidecarId = '', instances = [] } = {}] = await at.manager.listSidecars();
  const signal = AbortSignal.timeout(20_000);
  await at.manager.quarantineSidecar({ sidecarId, reason: 'speaks to a host that it never spoke to' });
  await at.manager.waitFor({ sidecarId, status: 'disconnected' }, { signal });
  expect(at.controller.health.get('acme/book')).toBe('cut off: key');
  await at.manager.readmitSidecar(sidecarId);
  const back = await at.manager.waitFor({ sidecarId, status: 'connected' }, { signal });
  expect(back.instances[0]?.podUid).toBe(instances[0]?.podUid);
  expect(back.instances[0]?.deviceId).not.toBe(instances[0]?.deviceId);
});

it('a control plane that fails for a moment delays, and hinders nothing', async () => {
  at.controlPlane.failNext('CONTROL_UNAVAILABLE');
  at.controlPlane.failNext('CONTROL_RATE_LIMITED', { retryAfterMs: 50 });
  await at.controller.connect('acme', 'acme/book');
  expect(at.controller.health.get('acme/book')).toMatch(/^at 100\./);
});

it('nothing is left behind', async () => {
  await at.controller.connect('acme', 'acme/book');
  await at.manager.deleteTailnet('acme', { cascade: true });
  await at.manager.waitFor({ tailnetName: 'acme', status: 'gone' }, { signal: AbortSignal.timeout(20_000) });
  expect(await at.manager.listLeftovers()).toEqual([]);
  expect(at.control.keys()).toEqual([]);
});
