// The manager as a process of its own, made of the public API and the real adapters. It reads its settings from the environment, prints one line of
// JSON when it is up, logs to stderr, and takes calls (`POST /call`) and reports (`POST /v1/reports`) on a free port. It ends with
// its stdin: so also when its parent was killed.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { flushCompileCache } from 'node:module';
import type { AddressInfo } from 'node:net';
import { BifrostError, NetworkManager, type NetworkManagerOptions, Secret, streamAuditSink, streamLogger } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { createReportHandler } from '@bifrost/sdk/server';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';

interface Settings {
  readonly kubeconfig: string;
  readonly kubernetes: { readonly timeoutMs?: number; readonly relistMs?: number };
  readonly control: { readonly baseUrl: string; readonly timeoutMs?: number; readonly relaysKeptMs?: number };
  readonly organization: { readonly clientId: string; readonly clientSecret: string };
  readonly manager: Pick<NetworkManagerOptions, 'images' | 'ingest'> & Partial<NetworkManagerOptions>;
}

const settings = JSON.parse(process.env['BIFROST_FAULTS_SETTINGS'] ?? '{}') as Settings;

const logger = streamLogger(process.stderr, { level: 'info' });
const connection = kubernetes({ kubeconfig: settings.kubeconfig, logger, ...settings.kubernetes });
const { clientId, clientSecret } = settings.organization;
const manager = new NetworkManager({
  cluster: kubernetesCluster({ connection }),
  store: kubernetesStore({ connection }),
  controlPlane: tailscaleControlPlane({ ...settings.control, organization: { clientId, clientSecret: new Secret(clientSecret) } }),
  audit: streamAuditSink(process.stderr),
  logger,
  ...settings.manager,
});

type Callable = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

async function answerCall(request: IncomingMessage): Promise<{ readonly status: number; readonly body: unknown }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const { method, args } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { readonly method: string; readonly args: readonly unknown[] };
  try {
    return { status: 200, body: { result: (await (manager as unknown as Callable)[method]?.(...args)) ?? null } };
  } catch (error) {
    if (!BifrostError.is(error)) return { status: 500, body: { code: 'UNEXPECTED', message: String(error), retry: 'never' } };
    return { status: 409, body: { code: error.code, message: error.message, retry: error.retry } };
  }
}

async function serveCall(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, body } = await answerCall(request);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

await manager.start();
const takeReport = createReportHandler(manager);
const server = createServer((request, response) => {
  if (request.url === '/call') serveCall(request, response).catch(() => response.destroy());
  else takeReport(request, response);
});
await new Promise<void>((resolve) => {
  server.listen(0, '127.0.0.1', resolve);
});
process.stdin.on('end', () => process.exit(1)).resume();
flushCompileCache(); // a killed process would leave none for the next
process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port, adapters: manager.adapters })}\n`);
