import { NetworkManager, type NetworkManagerOptions, type WorkloadReference } from '@bifrost/sdk';
import { ManualClock, MemoryAuditSink, MemoryCluster, MemoryControlPlane, MemoryStore, SimulatedControl } from '@bifrost/sdk/testing';
import { Agents } from './agents.ts';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const RANGES = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['10.250.0.1/32'] };

/** A manager on memory adapters with two customers, in the public API's words. Two worlds to which the same is done are equal, ids and all. */
export class World implements AsyncDisposable {
  readonly clock = new ManualClock({ seed: 1 });
  readonly audit = new MemoryAuditSink();
  readonly cluster: MemoryCluster;
  readonly agents: Agents;
  readonly manager: NetworkManager;

  private constructor(settings: Partial<NetworkManagerOptions>) {
    const { clock, audit } = this;
    const control = new SimulatedControl({ clock, tailnetLimit: 1000 });
    this.agents = new Agents({ control, clock, deliver: (token, document) => this.manager.ingestReport({ token, document }) });
    this.cluster = new MemoryCluster({ clock, runtime: this.agents, ranges: RANGES });
    this.manager = new NetworkManager({
      cluster: this.cluster,
      store: new MemoryStore({ clock }),
      controlPlane: new MemoryControlPlane({ control }),
      audit,
      clock,
      images: { tailscale: `tailscale@${digest('1')}`, agent: `bifrost-agent@${digest('2')}` },
      ingest: { url: 'https://bifrost.bifrost.svc/v1/reports' },
      tenancy: 'organization',
      ...settings,
    });
  }

  static async open(settings: Partial<NetworkManagerOptions> = {}): Promise<World> {
    const world = new World(settings);
    await world.manager.start();
    for (const customer of ['customer-a', 'customer-b']) await world.cluster.createNamespace({ name: customer, customerId: customer });
    return world;
  }

  addBook(namespace: string, name: string): Promise<WorkloadReference> {
    return this.cluster.createWorkload({
      namespace,
      name,
      labels: { 'bifrost.dev/book-deployment-id': name },
      containers: [{ name: 'book', image: 'book' }],
    });
  }

  /** Lets what is under way, and needs no time, come to its end. */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < 10; turn += 1) await this.clock.advance(0);
  }

  /** Moves time on until it is true. */
  async until(condition: () => Promise<boolean>): Promise<void> {
    for (let turn = 0; turn < 400; turn += 1) {
      if (await condition()) return;
      await this.clock.advance(500);
    }
    throw new Error(`not within the world's time: ${condition.toString()}`);
  }

  /** A tailnet and a sidecar of a book of the same name, connected. */
  async connected(name: string, customerId = 'customer-a'): Promise<{ readonly sidecarId: string }> {
    await this.addBook(customerId, name);
    await this.manager.createTailnet({ customerId, tailnetName: name, config: { allowedNetworks: ['10.1.0.0/16'] } });
    await this.until(async () => (await this.manager.getTailnet(name)).status !== 'creating');
    const { sidecarId } = await this.manager.attachSidecar({ bookDeploymentId: name, tailnetName: name, config: { hostname: name } });
    await this.until(async () => (await this.manager.getSidecar(sidecarId)).status === 'connected');
    return { sidecarId };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.manager.stop();
    await this.cluster[Symbol.asyncDispose]();
  }
}
