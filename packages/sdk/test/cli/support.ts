import { readFileSync } from 'node:fs';
import { NetworkManager } from '@bifrost/types/proto';
import { createRouterTransport, type ServiceImpl } from '@connectrpc/connect';
import { systemClock } from '../../src/adapters/system/clock.ts';
import type { Cli, Output } from '../../src/cli/cli.ts';
import { type OpenCluster, usage } from '../../src/cli/connect.ts';
import { runCli } from '../../src/cli/run.ts';
import { createApiServer, type Principal } from '../../src/server/index.ts';
import { BOOK, type Opened, openWorld, type World, type WorldOptions } from '../support/world.ts';

/** Keeps what was written. */
export class Captured implements Output {
  readonly isTTY: boolean;
  text = '';
  onWrite: () => void = () => {};

  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
    this.onWrite();
  }
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly isTTY?: boolean;
  readonly signal?: AbortSignal;
  readonly clock?: Cli['clock'];
  readonly openCluster?: OpenCluster;
  /** Hears of each write, with all that was written until then. */
  readonly onWrite?: (ran: Omit<Ran, 'code'>) => void;
}

/** A clock of which every pause is over at once: `bifrost` waits for somebody who needs no time. */
export const hurriedClock = (): Cli['clock'] => ({
  ...systemClock(),
  sleep: (_, { signal }) => new Promise((resolve, reject) => setImmediate(() => (signal.aborted ? reject(signal.reason) : resolve()))),
});

/** One run of the command in this process. */
export async function bifrost(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const [stdout, stderr] = [new Captured(options.isTTY), new Captured(options.isTTY)];
  const told = (): void => options.onWrite?.({ out: stdout.text, err: stderr.text });
  stdout.onWrite = told;
  stderr.onWrite = told;
  const code = await runCli(argv, {
    env: options.env ?? {},
    stdin: (async function* () {
      yield options.stdin ?? '';
    })(),
    stdout,
    stderr,
    signal: options.signal ?? new AbortController().signal,
    clock: options.clock ?? hurriedClock(),
    user: 'tester',
    openCluster: options.openCluster ?? (() => Promise.reject(usage('no cluster here'))),
  });
  return { code, out: stdout.text, err: stderr.text };
}

export interface Caller {
  /** The environment of a caller. */
  readonly env: Readonly<Record<string, string>>;
  readonly url: string;
  /** The command as a caller of this world's service. */
  readonly bifrost: (argv: readonly string[], options?: RunOptions) => Promise<Ran>;
}

const TESTER: Principal = { subject: 'tester', via: 'api-key', grants: [{ role: 'admin', customers: '*' }] };

export const TOKEN = 'canary-token-of-a-caller';

/** The service of a world's manager, on loopback. */
export async function serve(world: World): Promise<Caller & AsyncDisposable> {
  const generous = { pointsPerSecond: 1_000, burst: 100_000 };
  const server = createApiServer({
    manager: world.manager,
    audit: world.audit,
    authenticator: {
      authenticate: async (shown) => ([shown.bearer, shown.apiKey].some((secret) => secret?.reveal() === TOKEN) ? TESTER : undefined),
    },
    rateLimits: { caller: generous, customer: generous, attempt: generous },
  });
  const { port } = await server.listen(0);
  const url = `http://127.0.0.1:${port}`;
  const env = { BIFROST_SERVER: url, BIFROST_TOKEN: TOKEN };
  return {
    env,
    url,
    bifrost: (argv, run = {}) => bifrost(argv, { ...run, env: { ...env, ...run.env } }),
    [Symbol.asyncDispose]: () => server.close({ graceMs: 1_000 }),
  };
}

export type Served = Opened & Caller;

/** A started world with the specification's tailnet and book, and its service. */
export async function openServed(options: WorldOptions = {}): Promise<Served> {
  const world = await openWorld(options);
  const served = await serve(world);
  const closeWorld = world[Symbol.asyncDispose].bind(world);
  return Object.assign(world, {
    ...served,
    async [Symbol.asyncDispose]() {
      await served[Symbol.asyncDispose]();
      await closeWorld();
    },
  });
}

/** Attaches the world's book and waits until it is connected. */
export async function attach(world: Opened): Promise<string> {
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.manager.listSidecars()).some(({ status }) => status === 'connected'));
  return sidecarId;
}

/** A clock that moves the world on while the command waits for it. */
export const clockOf = (world: Opened): Cli['clock'] => ({
  nowMs: () => world.clock.nowMs(),
  newId: () => world.clock.newId(),
  random: () => world.clock.random(),
  sleep: async (milliseconds, { signal }) => {
    await world.run(Math.min(milliseconds, 10_000));
    signal.throwIfAborted();
  },
});

export const versionOfPackage = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string }).version;

/** For `--cluster`: a service that answers these calls so, and no other. */
export const serving =
  (calls: Partial<ServiceImpl<typeof NetworkManager>>): OpenCluster =>
  async () => ({
    transport: createRouterTransport(({ service }) => void service(NetworkManager, calls)),
    ...{ isLive: true, place: 'a script', [Symbol.asyncDispose]: async () => {} },
  });
