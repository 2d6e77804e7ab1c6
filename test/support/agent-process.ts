import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type SimulatedPeer, TailscaledSimulator, type TailscaledSimulatorOptions } from '@bifrost/sdk/testing';
import { reportFromWire } from '@bifrost/types';
import { type GuardOrder, type ReportV1, toWire } from '@bifrost/types/core';
import { build } from 'tsup';

export const TOKEN = 'canary-token-of-the-pod';
export const GATEWAY: SimulatedPeer = { id: 'nGATE', hostname: 'gate', ips: ['100.64.0.2'], routes: ['10.1.0.0/24'], latencyMs: 7 };
const NODE = { id: 'nBOOK', hostname: 'book', ips: ['100.64.0.1'], tailnetDomain: 'tail1.ts.net' };
/** As in the image. */
const FLAGS = ['--max-old-space-size=24', '--max-semi-space-size=1', '--lite-mode', '--optimize-for-size', '--v8-pool-size=0', '--expose-gc'];
const source = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Builds the agent into `folder` from the sources of all packages, so that nothing stale is tested. Answers with the program's path. */
export async function buildAgent(folder: string): Promise<string> {
  await build({
    config: false,
    tsconfig: source('packages/agent/tsconfig.json'),
    entry: { agent: source('packages/agent/src/main.ts') },
    outDir: folder,
    format: 'cjs',
    platform: 'node',
    target: 'node22',
    silent: true,
    noExternal: [/.*/],
    outExtension: () => ({ js: '.cjs' }),
    esbuildOptions: (options) => {
      options.alias = { '@bifrost/types/core': source('packages/types/src/core/index.ts') };
    },
  });
  return join(folder, 'agent.cjs');
}

/** A manager's door that reads reports as the real one does, and wishes for `heartbeatMs`. */
async function openIngest(reports: ReportV1[], heartbeatMs: number) {
  const wanted: { guard: GuardOrder | undefined } = { guard: undefined };
  const authorizations = new Set<string | undefined>();
  const server = createServer(async (incoming, response) => {
    let body = '';
    for await (const chunk of incoming.setEncoding('utf8')) body += chunk;
    reports.push(reportFromWire(JSON.parse(body)));
    authorizations.add(incoming.headers.authorization);
    response.end(JSON.stringify(toWire({ v: 1, nextHeartbeatMs: heartbeatMs, guard: wanted.guard })));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => server.close().closeAllConnections();
  return { url: `http://127.0.0.1:${port}/v1/reports`, authorizations, wanted, [Symbol.asyncDispose]: close };
}

function spawnAgent(program: string, env: Record<string, string>) {
  const child = spawn(process.execPath, [...FLAGS, program], { env, stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
  const lines: Record<string, unknown>[] = [];
  let rest = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    const complete = (rest + chunk).split('\n');
    rest = complete.pop() ?? '';
    lines.push(...complete.map((line) => JSON.parse(line)));
  });
  const exit: Promise<{ code: unknown; killedBy: unknown }> = once(child, 'close').then(([code, killedBy]) => ({ code, killedBy }));
  const end = async () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    await exit;
  };
  const get = async (path: string): Promise<readonly [number, string]> => {
    const answer = await fetch(`http://127.0.0.1:${lines.find(({ message }) => message === 'agent started')?.['port']}${path}`);
    return [answer.status, await answer.text()];
  };
  return { child, lines, exit, get, [Symbol.asyncDispose]: end };
}

export interface AgentWorldOptions {
  readonly program: string;
  readonly heartbeatMs?: number;
  readonly acceptRoutes?: boolean;
  /** Default true: the daemon is there before the agent. */
  readonly daemonFirst?: boolean;
  readonly daemon?: Partial<TailscaledSimulatorOptions>;
  /** On top of what the agent needs. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A real agent process beside a simulated tailscaled; its reports land in `reports`. */
export async function agentWorld({ program, heartbeatMs = 300, acceptRoutes = true, daemonFirst = true, ...more }: AgentWorldOptions) {
  await using opening = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-agent-'));
  opening.defer(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'token'), `${TOKEN}\n`);
  const reports: ReportV1[] = [];
  const ingest = opening.use(await openIngest(reports, heartbeatMs));
  const daemon = opening.use(new TailscaledSimulator({ socketPath: join(folder, 's.sock'), node: NODE, peers: [GATEWAY], ...more.daemon }));
  const { signal } = new AbortController();
  if (daemonFirst) await daemon.start({ signal });
  const agent = opening.use(
    spawnAgent(program, {
      BIFROST_SIDECAR_ID: 'sidecar-1',
      BIFROST_POD_UID: 'pod-1',
      BIFROST_INGEST_URL: ingest.url,
      BIFROST_TOKEN_FILE: join(folder, 'token'),
      BIFROST_TAILSCALED_SOCKET: daemon.socketPath,
      BIFROST_LISTEN: '127.0.0.1:0',
      BIFROST_HEARTBEAT_MS: String(heartbeatMs),
      BIFROST_ACCEPT_ROUTES: String(acceptRoutes),
      ...more.environment,
    }),
  );
  const stack = opening.move();
  const last = (): ReportV1 | undefined => reports.at(-1);
  return { ...{ daemon, agent, ingest, reports, last, signal }, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
