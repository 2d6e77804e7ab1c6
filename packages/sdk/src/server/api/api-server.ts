import type { AddressInfo } from 'node:net';
import { BifrostError } from '@bifrost/types/core';
import { createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { AnonymousStreams, type AnonymousStreamsOptions } from './anonymous-streams.ts';
import { type ApiTls, Entrance } from './entrance.ts';
import { PEER, registerNetworkApi } from './grpc-door.ts';
import { registerHealth } from './health.ts';
import { withoutLongDeadline } from './long-deadlines.ts';
import { NetworkApi, type NetworkApiOptions } from './network-api.ts';
import { type Page, Pages } from './pages.ts';
import { peerOf } from './peer.ts';
import { registerReflection } from './reflection.ts';
import { type HttpRequest, type HttpResponse, RestDoor } from './rest-door.ts';

/** Options of {@link createApiServer}. */
export interface ApiServerOptions extends NetworkApiOptions, Omit<AnonymousStreamsOptions, 'trustsPeer'> {
  /** Without it the server speaks in clear: for loopback, behind a proxy in the same pod. */
  readonly tls?: ApiTls;
  /** What else is served to everybody, by path: `/openapi.json`, a page that shows it. */
  readonly pages?: Readonly<Record<string, Page>>;
  /** Largest message and body, bytes. @default 262144 */
  readonly maxBodyBytes?: number;
  /** Connections at once, of each port. @default 4096 */
  readonly maxConnections?: number;
}

/** A stream whose reader takes nothing for so long is ended; one that is merely quiet is not. */
const STALL_MS = 60_000;

/** gRPC, gRPC-Web, Connect and REST, each on the same ports. Owns its connections; disposing it ends them. */
export interface ApiServer extends AsyncDisposable {
  /** Opens a port, by TLS where that was given. @param host default: loopback */
  listen(port: number, host?: string): Promise<AddressInfo>;
  /** Opens a port in clear besides: for a proxy in the same pod, on loopback. */
  listenInClear(port: number): Promise<AddressInfo>;
  /** Takes up a renewed certificate: connections that are open keep the old one. @throws {BifrostError} `INVALID_OPTIONS` — it is none; the old one stays */
  setTls(tls: ApiTls): void;
  /** Ends streams and tells clients to go elsewhere, lets calls that are under way end for `graceMs`, then cuts. Safe to call twice. @default graceMs 10000 */
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

/**
 * The network API of a manager on a port. Inert until `listen`.
 *
 * @example
 * await using server = createApiServer({ manager, authenticator });
 * await server.listen(8445);
 */
export function createApiServer(options: ApiServerOptions): ApiServer {
  return new Server(options);
}

const speaksGrpc = ({ headers }: HttpRequest): boolean => (headers['content-type'] ?? '').startsWith('application/grpc');

/** What Connect looks at: gRPC, and its other protocols at the same paths. */
const isGrpc = (request: HttpRequest): boolean =>
  speaksGrpc(request) || ['/bifrost.network.', '/grpc.'].some((prefix) => request.url?.startsWith(prefix));

/** The handler of every protocol. */
function handlerOf(api: NetworkApi, options: ApiServerOptions): (request: HttpRequest, response: HttpResponse) => void {
  const { maxBodyBytes = 262_144, pages = {} } = options;
  const streams = new AnonymousStreams(options);
  const rest = new RestDoor({ api, maxBodyBytes, peerOf });
  const site = new Pages(api.readiness, pages);
  const notServed = (request: HttpRequest, response: HttpResponse): void => {
    if (speaksGrpc(request)) unknownMethod(response);
    else void rest.handle(request, response);
  };
  const grpc = connectNodeAdapter({
    routes: (router) => {
      registerNetworkApi(router, api);
      registerHealth(router, api.readiness, streams);
      registerReflection(router, streams);
    },
    readMaxBytes: maxBodyBytes,
    acceptCompression: [], // a small body must not become a large one
    fallback: notServed as never,
    contextValues: (request) => createContextValues().set(PEER, peerOf(request)),
  });
  return (request, response) => {
    endStalled(response);
    if (isGrpc(request)) {
      withoutLongDeadline(request);
      grpc(request as never, response as never);
    } else if (!site.answer(request, response)) void rest.handle(request, response);
  };
}

/** gRPC's own way to say that there is no such method. */
function unknownMethod(response: HttpResponse): void {
  response.statusCode = 200;
  for (const [name, value] of Object.entries({ 'content-type': 'application/grpc', 'grpc-status': '12', 'grpc-message': 'There is no such method.' }))
    response.setHeader(name, value);
  response.end();
}

/** A reader that takes nothing holds memory that others need. */
function endStalled(response: HttpResponse): void {
  response.setTimeout(STALL_MS, () => {
    if (response.writableNeedDrain || ('stream' in response && response.stream?.writableLength > 0)) response.destroy();
  });
}

const draining = (): BifrostError => new BifrostError({ code: 'SERVICE_DRAINING', message: 'The service is being stopped.' });

class Server implements ApiServer {
  readonly #api: NetworkApi;
  readonly #options: ApiServerOptions;
  readonly #handle: (request: HttpRequest, response: HttpResponse) => void;
  readonly #entrances: Entrance[] = [];
  #tls: ApiTls | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    this.#tls = options.tls;
    this.#api = new NetworkApi(options);
    this.#handle = handlerOf(this.#api, options);
  }

  listen(port: number, host = '127.0.0.1'): Promise<AddressInfo> {
    return this.#open(this.#tls, { port, host });
  }

  listenInClear(port: number): Promise<AddressInfo> {
    return this.#open(undefined, { port, host: '127.0.0.1' });
  }

  async #open(tls: ApiTls | undefined, { port, host }: { readonly port: number; readonly host: string }): Promise<AddressInfo> {
    if (this.#closed !== undefined) throw draining();
    const entrance = new Entrance({ handle: this.#handle, tls, maxConnections: this.#options.maxConnections ?? 4096 });
    this.#entrances.push(entrance);
    return entrance.listen(port, host);
  }

  setTls(tls: ApiTls): void {
    for (const entrance of this.#entrances) entrance.setTls(tls);
    this.#tls = tls;
  }

  close({ graceMs = 10_000 }: { readonly graceMs?: number } = {}): Promise<void> {
    this.#closed ??= this.#closeOnce(graceMs);
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #closeOnce(graceMs: number): Promise<void> {
    this.#api.readiness.drain(draining());
    const cut = setTimeout(() => {
      for (const entrance of this.#entrances) entrance.cut();
    }, graceMs);
    await Promise.all(this.#entrances.map((entrance) => entrance.close()));
    clearTimeout(cut);
    this.#api[Symbol.dispose]();
  }
}
