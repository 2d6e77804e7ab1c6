import type { AttachSidecarInput, CreateTailnetInput } from '@bifrost/types';
import { BifrostError, type ManagerEventName, type ManagerEvents, type Secret, type WorkloadReference } from '@bifrost/types/core';
import { MemoryAuditSink } from '../../src/adapters/memory/audit-sink.ts';
import { MemoryCluster, type MemoryWorkload } from '../../src/adapters/memory/cluster.ts';
import { MemoryControlPlane } from '../../src/adapters/memory/control-plane.ts';
import { MemoryLogger } from '../../src/adapters/memory/logger.ts';
import { SimulatedControl } from '../../src/adapters/memory/simulated-control.ts';
import { MemoryStore } from '../../src/adapters/memory/store.ts';
import { isIdentityTag } from '../../src/domain/policy/identity-tags.ts';
import { EVENT_NAMES } from '../../src/manager/event-bus.ts';
import { NetworkManager } from '../../src/manager/network-manager.ts';
import type { NetworkManagerOptions } from '../../src/manager/options.ts';
import type { ControlCredential } from '../../src/ports/index.ts';
import { ManualClock } from '../../src/testing/manual-clock.ts';
import { FakeAgents } from './agents.ts';
import { PortGuard } from './guarded-ports.ts';

export const IMAGES = { tailscale: `tailscale@sha256:${'1'.repeat(64)}`, agent: `bifrost-agent@sha256:${'2'.repeat(64)}` } as const;
export const RANGES = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['192.168.65.0/24'] } as const;
export const BOOK_TAG = 'tag:bifrost-book';
export const SHARED_SECRET = 'bifrost-shared';

/** The specification's example, as a request. */
export const ACME: CreateTailnetInput = {
  customerId: 'acme-corp',
  tailnetName: 'acme-corp-production',
  config: { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: ['10.99.0.0/16'], accessPolicy: 'restrictive', enableLogging: true },
  tags: ['production', 'customer-acme'],
};
export const BOOK: AttachSidecarInput = {
  bookDeploymentId: 'customer-support-book',
  tailnetName: 'acme-corp-production',
  config: { hostname: 'book-customer-support', acceptRoutes: true },
};

export interface Happened {
  readonly name: ManagerEventName;
  readonly event: ManagerEvents[ManagerEventName];
}

export interface WorldOptions {
  readonly settings?: Partial<NetworkManagerOptions>;
  /** Whether the cluster can tell its ranges. @default true */
  readonly knowsRanges?: boolean;
  /** Tailnets of the organization. @default 10 */
  readonly tailnetLimit?: number;
  readonly seed?: number;
}

interface CustomerForm {
  readonly ownTailnet?: boolean;
  readonly secretName?: string;
  /** Of the customer's own tailnet; default: everything is allowed. */
  readonly policy?: string;
  /** Of the client in the Secret; default: all that we may need. */
  readonly scopes?: readonly string[];
  /** Of that client; default: that of all books. */
  readonly tags?: readonly string[];
}

/** A manager on memory adapters with everything around it: time stands still unless a test moves it. */
export class World implements AsyncDisposable {
  readonly clock: ManualClock;
  readonly control: SimulatedControl;
  readonly store: MemoryStore;
  readonly cluster: MemoryCluster;
  readonly controlPlane: MemoryControlPlane;
  readonly audit = new MemoryAuditSink();
  readonly logger = new MemoryLogger();
  readonly agents: FakeAgents;
  /** Before every call of store, cluster and control plane. */
  readonly guard = new PortGuard();
  readonly events: Happened[] = [];
  /** Of tailnets that are not in the organization. */
  readonly credentials: ControlCredential[] = [];
  manager: NetworkManager;
  readonly #settings: Partial<NetworkManagerOptions>;

  constructor({ settings = {}, knowsRanges = true, tailnetLimit = 10, seed = 1 }: WorldOptions = {}) {
    this.#settings = settings;
    this.clock = new ManualClock({ seed });
    this.control = new SimulatedControl({ clock: this.clock, tailnetLimit });
    this.store = new MemoryStore({ clock: this.clock });
    this.agents = new FakeAgents({
      control: this.control,
      clock: this.clock,
      deliver: (token, document) => this.manager.ingestReport({ token, document }),
    });
    this.cluster = new MemoryCluster({ clock: this.clock, runtime: this.agents, ...(knowsRanges ? { ranges: RANGES } : {}) });
    this.controlPlane = new MemoryControlPlane({ control: this.control });
    this.manager = this.newManager();
  }

  /** Another manager on the same world. */
  newManager(settings: Partial<NetworkManagerOptions> = {}): NetworkManager {
    const manager = new NetworkManager({
      cluster: this.guard.wrap(this.cluster, 'cluster'),
      store: this.guard.wrap(this.store, 'store'),
      controlPlane: this.guard.wrap(this.controlPlane, 'controlPlane'),
      audit: this.audit,
      logger: this.logger,
      clock: this.clock,
      images: IMAGES,
      ingest: { url: 'https://bifrost.bifrost.svc/v1/reports' },
      ...this.#settings,
      ...settings,
    });
    for (const name of EVENT_NAMES) manager.on(name, (event) => void this.events.push({ name, event }));
    return manager;
  }

  /** Stops the manager and starts another on what it left. */
  async restart(settings: Partial<NetworkManagerOptions> = {}): Promise<void> {
    await this.manager.stop();
    this.manager = this.newManager(settings);
    await this.manager.start();
  }

  names(prefix = ''): readonly string[] {
    return this.events.map(({ name }) => name).filter((name) => name.startsWith(prefix));
  }

  /** A customer with a namespace of the same name; their own tailnet and the Secret with its client, unless they have none. */
  async addCustomer(
    customerId: string,
    { ownTailnet = true, secretName = `bifrost-customer-${customerId}`, policy, scopes, tags = [BOOK_TAG] }: CustomerForm = {},
  ): Promise<{ readonly controlId: string; readonly putSecret: () => Promise<void> }> {
    await this.cluster.createNamespace({ name: customerId, customerId });
    const { controlId, credential } = this.control.addTailnet({
      displayName: customerId,
      tags,
      ...(policy === undefined ? {} : { policy }),
      ...(scopes === undefined ? {} : { scopes }),
    });
    this.credentials.push(credential);
    const putSecret = (): Promise<void> =>
      this.cluster.createSecret({
        namespace: 'bifrost',
        name: secretName,
        data: { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() },
      });
    if (ownTailnet) await putSecret();
    return { controlId, putSecret };
  }

  /** The platform's tailnet that customers share, with the Secret that the option `sharedCredentialSecretName` names. */
  async addShared({ grants = [] }: { readonly grants?: readonly object[] } = {}): Promise<string> {
    const policy = JSON.stringify({ tagOwners: { [BOOK_TAG]: ['autogroup:admin'], 'tag:ops': [] }, grants });
    const { controlId, credential } = this.control.addTailnet({ displayName: 'shared', tags: [BOOK_TAG], policy });
    this.credentials.push(credential);
    await this.cluster.createSecret({
      namespace: 'bifrost',
      name: SHARED_SECRET,
      data: { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() },
    });
    return controlId;
  }

  async addBook(workload: Partial<MemoryWorkload> = {}): Promise<WorkloadReference> {
    const name = workload.name ?? 'customer-support-book';
    return this.cluster.createWorkload({ namespace: 'acme-corp', labels: { 'bifrost.dev/book-deployment-id': name }, ...workload, name });
  }

  /** Moves time on; agents report every ten seconds. */
  async run(milliseconds: number): Promise<void> {
    for (let left = milliseconds; left > 0; left -= 10_000) {
      await this.clock.advance(Math.min(left, 10_000));
      if (left >= 10_000) await this.agents.beat();
    }
    await this.quiet();
  }

  /** Lets what is under way, and needs no time, come to its end. */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < 10; turn += 1) await this.clock.advance(0);
  }

  /** Moves time on until `condition`; fails when it does not come within `limitMs` of the world's time. */
  async until(condition: () => unknown | Promise<unknown>, { limitMs = 600_000, stepMs = 500 } = {}): Promise<void> {
    for (let passedMs = 0; ; passedMs += stepMs) {
      if (await condition()) return;
      if (passedMs >= limitMs) throw new BifrostError({ code: 'WAIT_FAILED', message: `not reached: ${condition.toString()}\n${this.describe()}` });
      await this.clock.advance(stepMs);
      if (passedMs % 10_000 < stepMs) await this.agents.beat();
    }
  }

  describe(): string {
    const lines = this.logger.lines.slice(-15).map(({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields)}`);
    return [`events: ${this.names().join(' ')}`, `calls: ${this.guard.names.slice(-15).join(' ')}`, ...lines].join('\n');
  }

  /** Reads without going through the guard. */
  async tailnet(name = 'acme-corp-production') {
    return this.store.tailnets.get(name, { signal: AbortSignal.timeout(5_000) });
  }

  async sidecars() {
    return this.store.sidecars.list({ signal: AbortSignal.timeout(5_000) });
  }

  async ourSecrets(): Promise<readonly string[]> {
    return (await this.cluster.secrets.list({ signal: AbortSignal.timeout(5_000) })).map(({ namespace, name }) => `${namespace}/${name}`);
  }

  /** What was made outside and is still there, read back. */
  async outside() {
    return {
      devices: this.control.devices().filter(({ tags }) => tags.some((tag) => tag === BOOK_TAG || isIdentityTag(tag))).length,
      keys: this.control.keys().length,
      secrets: (await this.ourSecrets()).length,
      tailnets: this.control.tailnets().filter(({ inOrganization }) => inOrganization).length,
    };
  }

  /** Everything that a refused call must leave as it was. */
  async snapshot(workloads: readonly WorkloadReference[] = []): Promise<unknown> {
    const call = { signal: AbortSignal.timeout(5_000) };
    const secrets = await this.cluster.secrets.list(call);
    const withData = await Promise.all(
      secrets.map(async (secret) => [
        secret,
        [...((await this.cluster.secrets.get(secret, call)) ?? [])].map(([key, value]) => [key, value.reveal()]),
      ]),
    );
    return structuredClone({
      tailnets: await this.store.tailnets.list(call),
      sidecars: await this.store.sidecars.list(call),
      secrets: withData,
      devices: this.control.devices(),
      keys: this.control.keys(),
      controlTailnets: this.control.tailnets(),
      templates: await Promise.all(workloads.map((workload) => this.cluster.readWorkload(workload))),
      versions: await Promise.all(workloads.map(async (workload) => (await this.cluster.workloads.get(workload, call))?.version)),
    });
  }

  async token(podUid: string): Promise<Secret> {
    return this.cluster.issuePodToken(podUid, this.agents.audience);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.manager.stop();
    await this.cluster[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
    await this.controlPlane[Symbol.asyncDispose]();
  }
}

export type Opened = World & { readonly book: WorkloadReference };

/** A started world with the specification's customer, tailnet (active) and book. */
export async function openWorld(
  options: WorldOptions & { readonly book?: Partial<MemoryWorkload> } = {},
): Promise<World & { readonly book: WorkloadReference }> {
  const world = new World(options);
  await world.manager.start();
  await world.addCustomer('acme-corp');
  const book = await world.addBook(options.book);
  await world.manager.createTailnet(ACME);
  await world.until(async () => (await world.tailnet())?.state.phase === 'active');
  return Object.assign(world, { book });
}

/** The error that `work` ends with. */
export async function refusal(work: Promise<unknown>): Promise<BifrostError> {
  try {
    await work;
  } catch (error) {
    if (BifrostError.is(error)) return error;
    throw error;
  }
  throw new BifrostError({ code: 'INTERNAL', message: 'it was not refused' });
}
