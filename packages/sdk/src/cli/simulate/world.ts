import { MemoryCluster } from '../../adapters/memory/cluster.ts';
import { MemoryControlPlane } from '../../adapters/memory/control-plane.ts';
import { SimulatedControl } from '../../adapters/memory/simulated-control.ts';
import { MemoryStore } from '../../adapters/memory/store.ts';
import { NetworkManager } from '../../manager/network-manager.ts';
import type { Clock } from '../../ports/clock.ts';
import { createApiServer } from '../../server/api/api-server.ts';
import type { Principal } from '../../server/auth/principal.ts';
import { simulatedPods } from './pods.ts';

export const CUSTOMERS = ['acme', 'globex'] as const;
export const BOOKS = ['customer-support-book', 'billing-book'] as const;

/** Whoever calls may do everything. */
const ANYBODY: Principal = { subject: 'anybody', via: 'local', grants: [{ role: 'admin', customers: '*' }] };
/** Whoever tries things out should not have to wait. */
const PLENTY = { pointsPerSecond: 1_000, burst: 100_000 };
const GRACE_MS = 500;
const HEARTBEAT_MS = 1_000;
const BOOK_TAG = 'tag:bifrost-book';
const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;

export interface SimulatedWorld extends AsyncDisposable {
  readonly manager: NetworkManager;
  readonly address: string;
}

export interface SimulationOptions {
  readonly port: number;
  readonly disturbMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A manager on a cluster and a control plane in memory, with the network API on loopback. Whoever calls is let in. */
export async function openSimulatedWorld({ port, disturbMs, clock, signal }: SimulationOptions): Promise<SimulatedWorld> {
  await using stack = new AsyncDisposableStack();
  const control = new SimulatedControl({ clock });
  const runtime = simulatedPods({
    control,
    clock,
    heartbeatMs: HEARTBEAT_MS,
    disturbMs,
    deliver: (token, document) => manager.ingestReport({ token, document }),
  });
  const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['192.168.65.0/24'] };
  const cluster = new MemoryCluster({ clock, runtime, ranges });
  const manager: NetworkManager = new NetworkManager({
    ...{ cluster, store: new MemoryStore({ clock }), controlPlane: new MemoryControlPlane({ control }), clock },
    images: { tailscale: `tailscale@${digest('1')}`, agent: `bifrost-agent@${digest('2')}` },
    ingest: { url: 'http://127.0.0.1/v1/reports' },
    ...{ heartbeatMs: HEARTBEAT_MS, silenceMs: 5 * HEARTBEAT_MS },
  });
  stack.use(manager);
  await manager.start({ signal });
  for (const customerId of CUSTOMERS) {
    await cluster.createNamespace({ name: customerId, customerId });
    const { controlId, credential } = control.addTailnet({ displayName: customerId, tags: [BOOK_TAG] });
    control.addDevice({ controlId, hostname: 'router', advertiseRoutes: ['10.0.0.0/8'], tags: ['tag:router'] });
    const data = { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() };
    await cluster.createSecret({ namespace: 'bifrost', name: `bifrost-customer-${customerId}`, data });
    for (const name of BOOKS) await cluster.createWorkload({ namespace: customerId, name, replicas: 2 });
  }
  const server = createApiServer({
    ...{ manager, clock, authenticator: { authenticate: async () => ANYBODY } },
    rateLimits: { caller: PLENTY, customer: PLENTY, attempt: PLENTY },
  });
  stack.defer(() => server.close({ graceMs: GRACE_MS }));
  const address = await server.listen(port);
  const owned = stack.move();
  return { manager, address: `http://127.0.0.1:${address.port}`, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
