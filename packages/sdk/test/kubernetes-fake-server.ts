import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}
export type Handler = (received: Received, response: ServerResponse) => void | Promise<void>;

/** A server of canned answers: each request takes the next queued handler, else `otherwise`. */
export interface FakeServer extends AsyncDisposable {
  readonly url: string;
  readonly received: readonly Received[];
  /** Connections accepted so far. */
  readonly connections: number;
  next(...handlers: Handler[]): void;
  otherwise(handler: Handler): void;
  /** A kubeconfig text for this server. */
  kubeconfig(user?: Readonly<Record<string, unknown>>): string;
}

export const json =
  (body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Handler =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  };

export const status = (code: number, reason: string, details: Readonly<Record<string, unknown>> = {}, message = 'refused'): Handler =>
  json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message, details }, code);

export const text =
  (body: string, type: string, code = 200): Handler =>
  (_, response) => {
    response.writeHead(code, { 'content-type': type }).end(body);
  };

/** Watch events, one per line; the stream stays open unless `end`. */
export const events =
  (lines: readonly unknown[], end = false): Handler =>
  (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const line of lines) response.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`);
    if (end) response.end();
  };

const KINDS: Readonly<Record<string, string>> = {
  pods: 'Pod',
  nodes: 'Node',
  secrets: 'Secret',
  servicecidrs: 'ServiceCIDR',
  networkpolicies: 'NetworkPolicy',
  deployments: 'Deployment',
  statefulsets: 'StatefulSet',
  daemonsets: 'DaemonSet',
  jobs: 'Job',
  cronjobs: 'CronJob',
  tailnets: 'Tailnet',
  sidecarattachments: 'SidecarAttachment',
};

/** A list as a real server writes it: its kind is that of what was asked for, and its items have none. */
export const list =
  (items: readonly unknown[], resourceVersion: string, next?: string): Handler =>
  (received, response) => {
    const isMetadataOnly = received.headers.accept?.includes('PartialObjectMetadataList') === true;
    const kind = isMetadataOnly ? 'PartialObjectMetadata' : KINDS[received.path.split('/').at(-1) ?? ''];
    const metadata = { resourceVersion, ...(next === undefined ? {} : { continue: next }) };
    return json({ kind: `${kind}List`, apiVersion: 'v1', metadata, items })(received, response);
  };

export async function startFakeServer(): Promise<FakeServer> {
  const received: Received[] = [];
  const queue: Handler[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  let otherwise: Handler = status(404, 'NotFound');
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    const body = Buffer.concat(chunks).toString('utf8');
    const entry = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: body && JSON.parse(body),
    };
    received.push(entry);
    await (queue.shift() ?? otherwise)(entry, response);
  });
  server.on('connection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    received,
    get connections() {
      return connections;
    },
    next: (...handlers) => void queue.push(...handlers),
    otherwise: (handler) => {
      otherwise = handler;
    },
    kubeconfig: (user = { token: 'canary-token' }) =>
      JSON.stringify({
        clusters: [{ name: 'c', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
