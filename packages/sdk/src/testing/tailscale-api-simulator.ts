import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BifrostError } from '@bifrost/types/core';
import type { SimulatedControl } from './simulated-control.ts';
import { type ApiCall, type ApiReply, ENDPOINTS, type Endpoint, fail, refused, relayMap, success } from './tailscale-api-simulator-endpoints.ts';
import { TokenDesk } from './tailscale-api-simulator-tokens.ts';

const MAX_BODY_BYTES = 1024 * 1024;

/** How one HTTP exchange goes wrong. Without `afterEffect` the request has no effect. */
export interface HttpFault {
  /** Only for paths after `/api/v2` that begin so, e.g. `/oauth/token`. */
  readonly path?: string;
  readonly method?: string;
  /** Answer with this status, `headers` and `body` instead. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** No answer at all; the connection stays open. */
  readonly hang?: boolean;
  /** The connection is reset. */
  readonly reset?: boolean;
  /** The answer breaks off in the middle of its body. */
  readonly truncated?: boolean;
  /** The request takes effect, and then its reply is lost or replaced. */
  readonly afterEffect?: boolean;
  /** How many exchanges it hits. @default 1 */
  readonly count?: number;
}

/** One exchange as the simulator saw it: no headers, no bodies, no secrets. */
export interface SeenRequest {
  readonly method: string;
  /** After `/api/v2`, where it begins so, with its query. */
  readonly path: string;
  /** 0 when no answer was sent. */
  readonly status: number;
}

/**
 * Tailscale's API v2, and the login server's map of relays, over HTTP on 127.0.0.1, backed by a {@link SimulatedControl}, as strict as the real one where a mistake would hide:
 * tags are obligatory, keys are listed with `all=true` only, routes with `fields=all` only, policies need their etag, secrets come once.
 *
 * @example
 * await using api = new TailscaleApiSimulator(new SimulatedControl());
 * await api.start();
 * await using controlPlane = tailscaleControlPlane({ baseUrl: api.url, organization: api.control.organization, clock });
 */
export class TailscaleApiSimulator implements AsyncDisposable {
  readonly control: SimulatedControl;
  readonly #tokens: TokenDesk;
  readonly #faults: (HttpFault & { left: number })[] = [];
  readonly #seen: SeenRequest[] = [];
  #server: Server | undefined;
  #underWay = 0;
  #mostUnderWay = 0;

  /** Inert until `start`. `tokenSeconds`: life of an access token, default 3600. */
  constructor(control: SimulatedControl, options: { readonly tokenSeconds?: number; readonly nowMs?: () => number } = {}) {
    this.control = control;
    this.#tokens = new TokenDesk(control, { tokenSeconds: options.tokenSeconds ?? 3_600, nowMs: options.nowMs ?? Date.now });
  }

  /** Base URL for the adapter: scheme, host and port. @throws {BifrostError} `MANAGER_STOPPED` — not started */
  get url(): string {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    if (!address) throw new BifrostError({ code: 'MANAGER_STOPPED', message: 'start the simulator first' });
    return `http://127.0.0.1:${address.port}`;
  }

  /** Every exchange since the start, the newest last; at most 10000. */
  get requests(): readonly SeenRequest[] {
    return [...this.#seen];
  }

  /** The most exchanges that were under way at the same time. */
  get mostConcurrent(): number {
    return this.#mostUnderWay;
  }

  /** Listens on a free port. Started already: nothing changes. */
  async start(): Promise<void> {
    if (this.#server) return;
    const server = createServer((request, response) => void this.#serve(request, response));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
  }

  /** Closes the port and every connection. Stopped already is success. The state stays. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  /** Ends the server, open connections too. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** The next exchange that fits goes wrong so; several faults queue up, the first that fits is taken. */
  failNext(fault: HttpFault): void {
    this.#faults.push({ ...fault, left: fault.count ?? 1 });
  }

  /** All access tokens given so far are refused from now on; clients may sign in again. */
  expireTokens(): void {
    this.#tokens.clear();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#underWay += 1;
    this.#mostUnderWay = Math.max(this.#mostUnderWay, this.#underWay);
    response.once('close', () => {
      this.#underWay -= 1;
    });
    const method = request.method ?? 'GET';
    const path = (request.url ?? '').replace(/^\/api\/v2/, '');
    try {
      const body = await readBody(request);
      const fault = this.#takeFault(method, path);
      const reply = fault && !fault.afterEffect ? undefined : this.#answer({ method, path, body, request });
      const status = fault ? breakReply(response, fault, reply) : sendReply(response, reply ?? fail(500, 'no reply'));
      if (this.#seen.push({ method, path, status }) > 10_000) this.#seen.shift();
    } catch {
      response.destroy(); // the other side left
    }
  }

  #answer(init: { method: string; path: string; body: string; request: IncomingMessage }): ApiReply {
    const { headers, url } = init.request;
    if (url === '/derpmap/default' && init.method === 'GET') return success(relayMap(this.control.relays));
    if (!(url ?? '').startsWith('/api/v2/')) return fail(404, 'not found');
    const [path = '', query = ''] = init.path.split('?');
    if (path === '/oauth/token' && init.method === 'POST') return this.#tokens.issue(headers, init.body);
    const found = findEndpoint(init.method, path);
    if (found === undefined) return fail(404, 'not found');
    const grant = this.#tokens.grantOf(headers.authorization);
    if (grant === undefined) return fail(401, 'API token invalid');
    const call: ApiCall = { control: this.control, grant, parts: found.parts, query: new URLSearchParams(query), headers, body: init.body };
    try {
      return found.endpoint.answer(call);
    } catch (error) {
      if (BifrostError.is(error)) return refused(error);
      return fail(500, 'the simulator broke');
    }
  }

  #takeFault(method: string, path: string): HttpFault | undefined {
    const fits = (fault: HttpFault): boolean => path.startsWith(fault.path ?? '') && (fault.method ?? method) === method;
    const fault = this.#faults.find(fits);
    if (fault === undefined) return undefined;
    fault.left -= 1;
    if (fault.left <= 0) this.#faults.splice(this.#faults.indexOf(fault), 1);
    return fault;
  }
}

function findEndpoint(method: string, path: string): { readonly endpoint: Endpoint; readonly parts: readonly string[] } | undefined {
  for (const endpoint of ENDPOINTS) {
    const match = endpoint.method === method ? endpoint.path.exec(path) : null;
    if (match) return { endpoint, parts: match.slice(1).map(decodeURIComponent) };
  }
  return undefined;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function sendReply(response: ServerResponse, { status, headers, body }: ApiReply): number {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body);
  return status;
}

/** Sends the fault's own answer, or loses the reply that there would have been. Gives the status sent. */
function breakReply(response: ServerResponse, fault: HttpFault, reply: ApiReply | undefined): number {
  if (fault.hang) return 0;
  if (fault.reset) {
    response.socket?.resetAndDestroy();
    return 0;
  }
  const status = fault.status ?? reply?.status ?? 200;
  const body = fault.body ?? reply?.body ?? JSON.stringify({ message: 'injected by failNext' });
  const headers = { 'content-type': 'application/json', ...reply?.headers, ...fault.headers };
  if (!fault.truncated) return sendReply(response, { status, headers, body });
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) + 1 });
  response.write(body.slice(0, Math.ceil(body.length / 2)), () => response.destroy());
  return status;
}
