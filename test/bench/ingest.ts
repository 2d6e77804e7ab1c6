import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import { pause } from '../support/pause.ts';
import { certificate } from './certificate.ts';
import { alternating, type BenchOptions, type BenchResult, compared } from './harness.ts';
import type { Reporter } from './ingest-cluster.ts';
import { heartbeat } from './reports.ts';

const CONNECTIONS = 16;
/**
 * Agents report now and then; they do not queue up behind each other. Each connection rests between its reports, so that neither server is ever
 * the bottleneck and both pay for waking up their clients. (Without the rest a server that keeps its one client busy is spared that, and a slower
 * one is not.)
 */
const REST_MS = 10;

interface Server {
  readonly process: ChildProcess;
  readonly port: number;
  /** One per pod. */
  readonly reporters: readonly Reporter[];
  readonly sidecarId: string;
}

/** A server in a process of its own, so that its CPU is its own. */
async function start(mode: 'ours' | 'baseline', folder: string): Promise<Server> {
  const child = fork(fileURLToPath(new URL('ingest-server.ts', import.meta.url)), [mode, folder], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const [ready] = (await once(child, 'message')) as [Omit<Server, 'process'>];
  return { process: child, ...ready };
}

async function cpuMicroseconds({ process: child }: Server): Promise<number> {
  const answer = once(child, 'message') as Promise<[{ cpu: number }]>;
  child.send('cpu');
  return (await answer)[0].cpu;
}

/** Server CPU per report, microseconds, over one block of reports on warm TLS connections; pods report in turn. */
async function block(server: Server, { count, nextSeq }: { count: number; nextSeq: () => number }): Promise<number> {
  const { port, reporters, sidecarId } = server;
  const pool = new Pool(`https://127.0.0.1:${port}`, { connections: CONNECTIONS, connect: { rejectUnauthorized: false } });
  const send = async (): Promise<void> => {
    const seq = nextSeq();
    const pod = seq % reporters.length;
    const { token, podUid } = reporters[pod] ?? { token: '', podUid: '' };
    const body = JSON.stringify(heartbeat({ sidecarId, podUid, pod, seq }));
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await pool.request({ method: 'POST', path: '/v1/reports', headers, body });
    if (answer.statusCode !== 200) throw new RangeError(`the server answered ${answer.statusCode}: ${await answer.body.text()}`);
    await answer.body.dump();
  };
  const run = async (total: number): Promise<void> => {
    let left = total;
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        await send();
        await pause(REST_MS);
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  };
  try {
    await run(reporters.length + CONNECTIONS); // connections are open, and every token is known
    const before = await cpuMicroseconds(server);
    await run(count);
    return ((await cpuMicroseconds(server)) - before) / count;
  } finally {
    await pool.close();
  }
}

/**
 * Reports of many pods, each with its projected token, over TLS: the Kubernetes adapter's own check of tokens, its answers cached, and the state
 * updated. The baseline reads and JSON.parses the same body.
 */
export async function benchIngest({ smoke, say }: BenchOptions): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'bifrost-bench-'));
  const servers: Server[] = [];
  try {
    await certificate(folder);
    const [ours, baseline] = [await start('ours', folder), await start('baseline', folder)];
    servers.push(ours, baseline);
    let seq = 0;
    const options = { count: smoke ? 200 : 3_000, nextSeq: () => seq++ };
    for (const server of servers) await block(server, options);
    const figures = await alternating(
      smoke ? 1 : 7,
      () => block(ours, options),
      () => block(baseline, options),
    );
    say(
      `server CPU per report, microseconds: ours ${figures.ours.map(Math.round).join(' ')}, baseline ${figures.baseline.map(Math.round).join(' ')}`,
    );
    return {
      name: 'ingest',
      ...compared(figures),
      unit: 'us of server CPU per report',
      reports: options.count,
      pods: ours.reporters.length,
      connections: CONNECTIONS,
    };
  } finally {
    for (const { process: child } of servers) child.kill();
    await rm(folder, { recursive: true, force: true });
  }
}
