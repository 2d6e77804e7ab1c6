import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SimulatedPeer, TailscaledSimulator } from '@bifrost/sdk/testing';
import { pause } from '../support/pause.ts';
import { certificate } from './certificate.ts';
import { type BenchOptions, type BenchResult, median, rounded } from './harness.ts';

const MIB = 1024 * 1024;
const PEERS = 20;
/** As in the agent's image; the bare Node gets the same. */
const FLAGS = ['--max-old-space-size=24', '--max-semi-space-size=1', '--lite-mode', '--optimize-for-size', '--v8-pool-size=0', '--expose-gc'];

interface Usage {
  readonly rssBytes: number;
  readonly anonymousBytes: number;
  /** Seconds of CPU since the process began. */
  readonly cpuSeconds: number;
}

/** Linux: memory and CPU of one process, as the kernel accounts for it. */
function usage(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kibibytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [utime = Number.NaN, stime = Number.NaN] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return { rssBytes: kibibytes('VmRSS'), anonymousBytes: kibibytes('RssAnon'), cpuSeconds: (utime + stime) / 100 };
}

const peers: readonly SimulatedPeer[] = Array.from({ length: PEERS }, (_, index) => ({
  id: `n${String(index).padStart(6, '0')}CNTRL`,
  hostname: `machine-${index}`,
  ips: [`100.64.1.${index + 1}`],
  ...(index === 0 ? { routes: ['10.0.0.0/8'] } : {}),
}));

interface Beside extends AsyncDisposable {
  readonly environment: Readonly<Record<string, string>>;
  readonly daemon: TailscaledSimulator;
  readonly reports: () => number;
}

/** A simulated tailscaled with 20 peers, and a server that takes reports: by https with a CA of its own, as deployed. */
async function beside(): Promise<Beside> {
  const folder = await mkdtemp(join(tmpdir(), 'bifrost-bench-'));
  await writeFile(join(folder, 'token'), 'token');
  const socketPath = join(folder, 'tailscaled.sock');
  const node = { id: 'n999999CNTRL', hostname: 'book', ips: ['100.64.0.9'], tailnetDomain: 'tail1000.ts.net' };
  const daemon = new TailscaledSimulator({ socketPath, node, peers });
  await daemon.start({ signal: AbortSignal.timeout(5_000) });
  let reports = 0;
  await certificate(folder);
  const tls = { cert: readFileSync(join(folder, 'tls.crt')), key: readFileSync(join(folder, 'tls.key')) };
  const server = createServer({ ...tls, keepAliveTimeout: 75_000 }, (request, response) => {
    request.resume().on('end', () => {
      reports += 1;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"v":1,"next_heartbeat_ms":10000}');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const environment = {
    BIFROST_SIDECAR_ID: 'bench',
    BIFROST_POD_UID: 'bench',
    BIFROST_INGEST_URL: `https://127.0.0.1:${(server.address() as AddressInfo).port}/v1/reports`,
    BIFROST_CA_FILE: join(folder, 'tls.crt'),
    BIFROST_TOKEN_FILE: join(folder, 'token'),
    BIFROST_TAILSCALED_SOCKET: socketPath,
    BIFROST_LISTEN: '127.0.0.1:0',
    BIFROST_ACCEPT_ROUTES: 'true',
  };
  return {
    environment,
    daemon,
    reports: () => reports,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await daemon.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function startToFirstReport(program: string): Promise<number> {
  const world = await beside();
  const fromMs = performance.now();
  const child = spawn(process.execPath, [...FLAGS, program], { env: world.environment, stdio: 'ignore' });
  try {
    while (world.reports() === 0 && child.exitCode === null) await pause(2);
    return performance.now() - fromMs;
  } finally {
    await end(child);
    await world[Symbol.asyncDispose]();
  }
}

/** Memory and CPU from second 60 to 360 beside 20 peers, against a bare waiting Node with the same flags. */
export async function benchAgent({ smoke, say }: BenchOptions): Promise<BenchResult> {
  const [fromSeconds, toSeconds] = smoke ? [3, 8] : [60, 360];
  const program = createRequire(import.meta.url).resolve('@bifrost/agent/agent.cjs');
  const starts: number[] = [];
  for (let run = 0; run < (smoke ? 2 : 10); run += 1) starts.push(await startToFirstReport(program));
  say(`start to first report, ms: ${starts.map(Math.round).join(' ')}`);
  const world = await beside();
  const agent = spawn(process.execPath, [...FLAGS, program], { env: world.environment, stdio: 'ignore' });
  const bare = spawn(process.execPath, [...FLAGS, '-e', 'setInterval(() => {}, 10_000)'], { env: {}, stdio: 'ignore' });
  try {
    const [agentPid = 0, barePid = 0] = [agent.pid, bare.pid];
    const samples = { agent: [] as Usage[], bare: [] as Usage[] };
    await pause(fromSeconds * 1_000);
    const cpuBefore = usage(agentPid).cpuSeconds;
    const reportsBefore = world.reports();
    for (let second = fromSeconds; second < toSeconds; second += 1) {
      for (const { id } of peers) world.daemon.addTraffic(id, 10_000, 5_000);
      await pause(1_000);
      samples.agent.push(usage(agentPid));
      samples.bare.push(usage(barePid));
    }
    const cpuPercent = (100 * (usage(agentPid).cpuSeconds - cpuBefore)) / (toSeconds - fromSeconds);
    const of = (values: readonly Usage[], member: keyof Usage): number => rounded(median(values.map((value) => value[member])) / MIB);
    const [ours, baseline] = [of(samples.agent, 'rssBytes'), of(samples.bare, 'rssBytes')];
    return {
      name: 'agent',
      ours,
      baseline,
      ratio: rounded(ours / baseline),
      unit: 'MiB RSS',
      anonymous_mib: of(samples.agent, 'anonymousBytes'),
      baseline_anonymous_mib: of(samples.bare, 'anonymousBytes'),
      cpu_percent: rounded(cpuPercent),
      reports: world.reports() - reportsBefore,
      peers: PEERS,
      seconds: [fromSeconds, toSeconds],
      start_to_first_report_ms: rounded(median(starts)),
    };
  } finally {
    await end(agent);
    await end(bare);
    await world[Symbol.asyncDispose]();
  }
}
