import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type AttachSidecarInput,
  BifrostError,
  type CreateTailnetInput,
  ERROR_CODES,
  fromWire,
  type NetworkManager,
  Secret,
  toWire,
  wirePath,
} from '@bifrost/sdk';
import { CHANGES } from './changes.ts';
import { type Answer, isSet, made, ok, type Route, seen, wrong } from './route.ts';

/** Says who holds a bearer token, or undefined. */
export type Authenticate = (token: Secret, signal: AbortSignal) => Promise<string | undefined>;

/** The specification's REST paths, in their simplest form. `toWire` gives the bodies their snake_case names. */
const ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: /^\/tailnets$/,
    run: async ({ manager, body, actor, signal }) => made(await manager.createTailnet(body as CreateTailnetInput, { actor, signal })),
  },
  { method: 'GET', path: /^\/tailnets$/, run: async ({ manager, signal }) => ok({ tailnets: (await manager.listTailnets({ signal })).map(seen) }) },
  {
    method: 'GET',
    path: /^\/tailnets\/([^/]+)$/,
    run: async ({ manager, parameters: [name = ''], signal }) => ok(seen(await manager.getTailnet(name, { signal }))),
  },
  {
    method: 'DELETE',
    path: /^\/tailnets\/([^/]+)$/,
    run: async ({ manager, parameters: [name = ''], query, actor, signal }) => {
      await manager.deleteTailnet(name, { cascade: isSet(query, 'cascade'), abandon: isSet(query, 'abandon'), actor, signal });
      return { status: 202, body: {} };
    },
  },
  {
    method: 'GET',
    path: /^\/tailnets\/([^/]+)\/status$/,
    run: async ({ manager, parameters: [name = ''], signal }) => ok(await manager.getNetworkStatus(name, { signal })),
  },
  {
    method: 'POST',
    path: /^\/sidecars$/,
    run: async ({ manager, body, actor, signal }) => made(await manager.attachSidecar(body as AttachSidecarInput, { actor, signal })),
  },
  {
    method: 'POST',
    path: /^\/sidecars:plan$/,
    run: async ({ manager, body, signal }) => ({
      status: 200,
      body: { plan: JSON.stringify(await manager.planAttach(body as AttachSidecarInput, { signal })) },
    }),
  },
  { method: 'GET', path: /^\/sidecars$/, run: async ({ manager, signal }) => ok({ sidecars: (await manager.listSidecars({ signal })).map(seen) }) },
  {
    method: 'DELETE',
    path: /^\/sidecars\/([^/]+)$/,
    run: async ({ manager, parameters: [sidecarId = ''], query, actor, signal }) => {
      await manager.detachSidecar(sidecarId, { abandon: isSet(query, 'abandon'), actor, signal });
      return { status: 202, body: {} };
    },
  },
  ...CHANGES,
  { method: 'GET', path: /^\/metrics$/, run: async ({ manager, signal }) => ok({ metrics: await manager.getConnectionMetrics({ signal }) }) },
  { method: 'GET', path: /^\/leftovers$/, run: async ({ manager, signal }) => ok({ leftovers: await manager.listLeftovers({ signal }) }) },
  { method: 'GET', path: /^\/adapters$/, run: async ({ manager }) => ok({ ...manager.adapters }) },
];

const PREFIX = '/api/v1/networks';
const MAX_BODY_BYTES = 262_144;

/** The service's own door: the specification's REST calls for callers whose token is vouched for. `GET /events` streams events as lines of JSON. */
export function createApiHandler(manager: NetworkManager, authenticate: Authenticate): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    handle({ manager, authenticate }, request, response).catch((error: unknown) => refuse(request, response, error));
  };
}

async function handle(
  { manager, authenticate }: { manager: NetworkManager; authenticate: Authenticate },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort(new Error('the caller left')));
  const url = URL.parse(request.url ?? '/', 'https://api');
  if (url === null) throw wrong('INVALID_ARGUMENT', 'path', 'The path is not well-formed.');
  if (url.pathname === '/healthz') return send(response, ok({ status: 'ok' }));
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const actor = bearer === undefined ? undefined : await authenticate(new Secret(bearer), gone.signal);
  if (actor === undefined)
    throw wrong('UNAUTHENTICATED', 'authorization', 'Show the projected token (audience bifrost) of a pod whose service account may call.');
  const path = url.pathname.startsWith(PREFIX) ? url.pathname.slice(PREFIX.length) : '';
  if (request.method === 'GET' && path === '/events')
    return streamEvents(manager, response, { tailnetName: url.searchParams.get('tailnet_name') ?? undefined, signal: gone.signal });
  for (const route of ROUTES) {
    const match = route.method === request.method ? route.path.exec(path) : null;
    if (!match) continue;
    const parameters = match.slice(1).map(decoded);
    const body = request.method === 'POST' || request.method === 'PATCH' ? fromWire(await readJson(request)) : undefined;
    return send(response, await route.run({ manager, parameters, query: url.searchParams, body, actor, signal: gone.signal }));
  }
  throw wrong('PATH_NOT_FOUND', 'path', 'There is no such path.');
}

function decoded(parameter: string): string {
  try {
    return decodeURIComponent(parameter);
  } catch {
    throw wrong('INVALID_ARGUMENT', 'path', 'The path has a malformed percent escape.');
  }
}

async function streamEvents(
  manager: NetworkManager,
  response: ServerResponse,
  { tailnetName, signal }: { tailnetName: string | undefined; signal: AbortSignal },
): Promise<void> {
  const events = manager.monitorConnectivity({ signal, ...(tailnetName === undefined ? {} : { tailnetName }) });
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
  try {
    for await (const event of events) {
      response.write(`${JSON.stringify(toWire(event))}\n`);
    }
  } catch (error) {
    if (!signal.aborted) response.destroy(error instanceof Error ? error : undefined);
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Without destroying what is left: the refusal goes out on the same connection.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw wrong('BODY_TOO_LARGE', '', `A body has at most ${MAX_BODY_BYTES} bytes.`);
    chunks.push(chunk);
  }
  if (size === 0) return {}; // `:pause` and its like need no word
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw wrong('INVALID_ARGUMENT', '', 'The body is not JSON.');
  }
}

function send(response: ServerResponse, { status, body }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(toWire(body)));
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return;
  const told = BifrostError.is(error) ? error : new BifrostError({ code: 'INTERNAL', message: 'The call failed.' });
  if (!request.complete) {
    response.setHeader('connection', 'close'); // nobody waits for the rest of the body
    request.resume(); // what is under way is drained, or its end would reset the connection under the answer
  }
  const issues = told.issues.map(({ path, message }) => ({ path: wirePath(path), message }));
  send(response, { status: ERROR_CODES[told.code].http, body: { code: told.code, message: told.message, issues, runbook: told.runbook } });
}
