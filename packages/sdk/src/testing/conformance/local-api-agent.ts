import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromWire, type ReportV1 } from '@bifrost/types/core';

/** A real agent process beside the daemon under test. */
export interface AgentBeside extends AsyncDisposable {
  readonly reports: readonly ReportV1[];
  /** GET on its status server. */
  get(path: string): Promise<string>;
}

/** A manager's door that takes whatever comes. */
async function openDoor(reports: ReportV1[], stack: AsyncDisposableStack): Promise<string> {
  const door = createServer(async (incoming, response) => {
    let body = '';
    for await (const chunk of incoming.setEncoding('utf8')) body += chunk;
    reports.push(fromWire(JSON.parse(body)) as ReportV1);
    response.end('{"v":1,"next_heartbeat_ms":200}');
  }).listen(0, '127.0.0.1');
  await once(door, 'listening');
  stack.defer(() => void door.close().closeAllConnections());
  return `http://127.0.0.1:${(door.address() as AddressInfo).port}/v1/reports`;
}

/** Starts the agent's program; it has what it needs from the daemon's socket alone. */
export async function agentBeside(program: string, socketPath: string): Promise<AgentBeside> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'bifrost-conformance-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'token'), 'token');
  const reports: ReportV1[] = [];
  const env = {
    BIFROST_SIDECAR_ID: 'conformance',
    BIFROST_POD_UID: 'conformance',
    BIFROST_INGEST_URL: await openDoor(reports, stack),
    BIFROST_TOKEN_FILE: join(folder, 'token'),
    BIFROST_TAILSCALED_SOCKET: socketPath,
    BIFROST_LISTEN: '127.0.0.1:0',
    BIFROST_HEARTBEAT_MS: '200',
    BIFROST_ACCEPT_ROUTES: 'true',
    BIFROST_WEDGED_AFTER_MS: '1000',
  };
  const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  stack.defer(async () => {
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  const owned = stack.move();
  return {
    reports,
    async get(path) {
      const port = /"message":"agent started".*?"port":(\d+)/.exec(said)?.[1];
      return (await fetch(`http://127.0.0.1:${port}${path}`)).text();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
