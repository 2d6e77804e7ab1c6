import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SimulatedControl, TailscaleApiSimulator } from '@bifrost/sdk/testing';
import { certificate } from '../../bench/certificate.ts';
import { type ApiServer, applyManifest, kubeconfigOf, startApiServer } from '../../support/api-server.ts';
import { pause } from '../../support/pause.ts';
import { Admin } from './admin.ts';
import { Attribution } from './attribution.ts';
import { type Exchange, ExchangeLog, type Treat } from './exchange.ts';
import { ManagerProcess, Refused } from './manager-process.ts';
import { Mirror } from './mirror.ts';
import { SimulatedNode } from './node.ts';
import { FaultProxy } from './proxy.ts';

export const SYSTEM = 'bifrost';
export const BOOK_TAG = 'tag:bifrost-book';
const DIGEST = `sha256:${'0'.repeat(64)}`;
const MANIFESTS = ['namespace', 'crds', 'rbac', 'customer-label'];
const AGAIN_MS = 200;
const CALL_WITHIN_MS = 60_000;
const RESTART_AFTER_MS = 500;

export interface WorldOptions {
  /** Distinguishes the names of worlds that run side by side. */
  readonly name: string;
  /** Options of the manager, beside those that tests shorten. */
  readonly manager?: Readonly<Record<string, unknown>>;
  readonly kubernetes?: Readonly<Record<string, number>>;
  readonly control?: Readonly<Record<string, number>>;
  /** A manager that ends at its start is started again, as a Deployment does. One that ends later is a fault. Default: it is not. */
  readonly restarts?: boolean;
}

/** A real API server with controllers, a simulated control plane, a proxy before each, a node, and a manager as a process. */
export class World implements AsyncDisposable {
  readonly name: string;
  readonly admin: Admin;
  readonly control: SimulatedControl;
  readonly attribution: Attribution;
  readonly proxies: { readonly kubernetes: FaultProxy; readonly control: FaultProxy };
  readonly node: SimulatedNode;
  readonly mirror = new Mirror();
  /** All requests of both sides, in the order of arrival. */
  readonly log: ExchangeLog;
  manager: ManagerProcess;
  /** When the manager that runs now was started. */
  replacedAtMs = performance.now();
  readonly #stack: AsyncDisposableStack;
  readonly #settings: unknown;
  readonly #restarts: boolean;
  #isClosed = false;
  #processes = 1;
  #customers = 0;

  private constructor(parts: {
    readonly options: WorldOptions;
    readonly stack: AsyncDisposableStack;
    readonly admin: Admin;
    readonly control: SimulatedControl;
    readonly attribution: Attribution;
    readonly log: ExchangeLog;
    readonly proxies: World['proxies'];
    readonly settings: unknown;
  }) {
    this.name = parts.options.name;
    ({ admin: this.admin, control: this.control, attribution: this.attribution, log: this.log, proxies: this.proxies } = parts);
    this.#stack = parts.stack;
    this.#settings = parts.settings;
    this.#restarts = parts.options.restarts ?? false;
    const report = async (token: string, document: unknown): Promise<number> =>
      (await this.manager.post('/v1/reports', document, { authorization: `Bearer ${token}` })).status;
    this.node = new SimulatedNode({ admin: this.admin, control: this.control, report });
    this.manager = this.#spawn();
  }

  static async open(options: WorldOptions): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const api = stack.use(await startApiServer({ controllers: true }));
    const admin = stack.use(new Admin(api));
    for (const name of MANIFESTS) await applyManifest(admin.call, new URL(`../../../examples/deploy/${name}.yaml`, import.meta.url));
    const control = new SimulatedControl({ tailnetLimit: 10_000 });
    const simulator = stack.use(new TailscaleApiSimulator(control));
    await simulator.start();
    const attribution = new Attribution();
    let world: World | undefined;
    const log = new ExchangeLog();
    const common = { attribution, log, process: () => world?.manager.number ?? 1 };
    const tls = await certificateOf(stack);
    const proxies = {
      kubernetes: stack.use(await new FaultProxy({ ...common, side: 'kubernetes', upstream: api.url, tls }).start()),
      control: stack.use(await new FaultProxy({ ...common, side: 'control', upstream: simulator.url }).start()),
    };
    const settings = await settingsOf(options, { admin, api, control, proxies, tls });
    world = new World({ options, stack: stack.move(), admin, control, attribution, log, proxies, settings });
    try {
      world.mirror.follow(admin);
      await world.node.start();
      await world.manager.up();
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
    return world;
  }

  get exchanges(): readonly Exchange[] {
    return this.log.exchanges;
  }

  /** Lets `treat` look at every request until disposed. */
  treat(treat: Treat): Disposable {
    for (const proxy of Object.values(this.proxies)) proxy.treats.add(treat);
    return { [Symbol.dispose]: () => Object.values(this.proxies).forEach((proxy) => void proxy.treats.delete(treat)) };
  }

  /** Ends every open watch: it begins anew, under what `treat` says then. */
  breakWatches(): void {
    this.proxies.kubernetes.breakWatches();
  }

  /** SIGKILL to the manager, and another one in its place, which may not be up yet. */
  async replaceManager(): Promise<void> {
    await this.manager.kill();
    this.#processes += 1;
    this.manager = this.#spawn();
    this.replacedAtMs = performance.now();
  }

  /**
   * A call as a caller makes it who does what errors advise: the same again when the manager ended, or advised to come back.
   *
   * @throws {Refused}
   */
  async call(method: string, ...args: readonly unknown[]): Promise<unknown> {
    const begunMs = performance.now();
    for (;;) {
      try {
        return await this.manager.call(method, args);
      } catch (error) {
        if (error instanceof Refused && error.retry !== 'backoff') throw error;
        if (performance.now() - Math.max(begunMs, this.replacedAtMs) > CALL_WITHIN_MS) throw error;
        await pause(AGAIN_MS);
      }
    }
  }

  /** An id that is in every name of one customer, and no part of another's. */
  newCustomer(prefix: string): string {
    this.#customers += 1;
    const customer = `${prefix}-${this.name}-${String(this.#customers).padStart(4, '0')}x`;
    this.attribution.add(customer);
    return customer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.node.stop();
    this.#isClosed = true;
    await this.manager.kill();
    await this.#stack.disposeAsync();
  }

  #spawn(): ManagerProcess {
    const manager = new ManagerProcess({
      ...{ number: this.#processes, settings: this.#settings },
      program: process.env['BIFROST_FAULTS_PROGRAM'] ?? '',
    });
    if (this.#restarts) manager.ended.addEventListener('abort', () => void this.#startAgain(manager), { once: true });
    return manager;
  }

  async #startAgain(ended: ManagerProcess): Promise<void> {
    if (!ended.failedToStart) return;
    await pause(RESTART_AFTER_MS);
    if (this.manager === ended && !this.#isClosed) await this.replaceManager();
  }
}

async function certificateOf(stack: AsyncDisposableStack): Promise<{ readonly key: string; readonly cert: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'bifrost-proxy-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await certificate(folder);
  return { key: await readFile(join(folder, 'tls.key'), 'utf8'), cert: await readFile(join(folder, 'tls.crt'), 'utf8') };
}

interface Around {
  readonly admin: Admin;
  readonly api: ApiServer;
  readonly control: SimulatedControl;
  readonly proxies: World['proxies'];
  readonly tls: { readonly cert: string };
}

/** The manager has the rights of examples/deploy/rbac.yaml and no others. */
async function settingsOf(options: WorldOptions, { admin, control, proxies, tls }: Around): Promise<unknown> {
  const request = { spec: { audiences: ['https://kubernetes.default.svc'], expirationSeconds: 86_400 } };
  const token = (await admin.must('POST', `/api/v1/namespaces/${SYSTEM}/serviceaccounts/bifrost/token`, request))['status'].token as string;
  const { clientId, clientSecret } = control.organization;
  return {
    kubeconfig: `${kubeconfigOf({ url: proxies.kubernetes.url, token, certificateAuthority: tls.cert })}\n`,
    kubernetes: options.kubernetes ?? {},
    control: { baseUrl: proxies.control.url, relaysKeptMs: 0, ...options.control },
    organization: { clientId, clientSecret: clientSecret.reveal() },
    manager: {
      images: { tailscale: `tailscale@${DIGEST}`, agent: `agent@${DIGEST}` },
      ingest: { url: 'https://bifrost.bifrost.svc/v1/reports' },
      ...{ heartbeatMs: 1_000, silenceMs: 30_000, resyncMs: 10_000, networkPolicyEnforced: true, networkPolicies: 'enforce' },
      ...options.manager,
    },
  };
}
