import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, createSecureServer, type Http2SecureServer, type Http2Session } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { BifrostError } from '@bifrost/types/core';
import { createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { PEER, registerNetworkApi } from './grpc-door.ts';
import { registerHealth } from './health.ts';
import { NetworkApi, type NetworkApiOptions } from './network-api.ts';
import { type Page, Pages } from './pages.ts';
import { peerOf } from './peer.ts';
import { peekProtocol } from './protocol-peek.ts';
import { registerReflection } from './reflection.ts';
import { type HttpRequest, type HttpResponse, RestDoor } from './rest-door.ts';

/** PEM. */
export interface ApiTls {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Authorities of client certificates. Without it none is asked for. */
  readonly clientCa?: string | Buffer;
}

/** Options of {@link createApiServer}. */
export interface ApiServerOptions extends NetworkApiOptions {
  /** Without it the server speaks in clear: for loopback, behind a proxy in the same pod. */
  readonly tls?: ApiTls;
  /** What else is served to everybody, by path: `/openapi.json`, a page that shows it. */
  readonly pages?: Readonly<Record<string, Page>>;
  /** Largest message and body, bytes. @default 262144 */
  readonly maxBodyBytes?: number;
  /** Connections at once. @default 4096 */
  readonly maxConnections?: number;
}

const HTTP = {
  maxHeaderSize: 32_768,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 5_000,
} as const;
const MAX_HEADERS = 100;
const HTTP2 = {
  settings: { maxConcurrentStreams: 256, maxHeaderListSize: 32_768 },
  maxHeaderListPairs: MAX_HEADERS,
  // One that opens streams only to reset them is sent away.
  streamResetBurst: 1_000,
  streamResetRate: 100,
  unknownProtocolTimeout: 10_000,
} as const;
/** A stream whose reader takes nothing for so long is ended; one that is merely quiet is not. */
const STALL_MS = 60_000;

/** gRPC, gRPC-Web, Connect and REST on one port. Owns its connections; disposing it ends them. */
export interface ApiServer extends AsyncDisposable {
  /** @param host default: loopback */
  listen(port: number, host?: string): Promise<AddressInfo>;
  /** Takes up a renewed certificate: connections that are open keep the old one. */
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

const isGrpc = ({ url = '', headers }: HttpRequest): boolean =>
  (headers['content-type'] ?? '').startsWith('application/grpc') || url.startsWith('/bifrost.network.') || url.startsWith('/grpc.');

/** The handler of every protocol. */
function handlerOf(
  api: NetworkApi,
  { maxBodyBytes = 262_144, pages = {} }: ApiServerOptions,
): (request: HttpRequest, response: HttpResponse) => void {
  const rest = new RestDoor({ api, maxBodyBytes, peerOf });
  const site = new Pages(api.readiness, pages);
  const grpc = connectNodeAdapter({
    routes: (router) => {
      registerNetworkApi(router, api);
      registerHealth(router, api.readiness);
      registerReflection(router);
    },
    readMaxBytes: maxBodyBytes,
    acceptCompression: [], // a small body must not become a large one
    fallback: unknownMethod as never,
    contextValues: (request) => createContextValues().set(PEER, peerOf(request)),
  });
  return (request, response) => {
    endStalled(response);
    if (isGrpc(request)) grpc(request as never, response as never);
    else if (!site.answer(request, response)) void rest.handle(request, response);
  };
}

/** gRPC's own way to say that there is no such method. */
function unknownMethod(_: HttpRequest, response: HttpResponse): void {
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

class Server implements ApiServer {
  readonly #api: NetworkApi;
  readonly #entrance: TcpServer | Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<Http2Session>();
  readonly #closeInner: () => void;
  #closed: Promise<void> | undefined;

  constructor(options: ApiServerOptions) {
    this.#api = new NetworkApi(options);
    const handle = handlerOf(this.#api, options);
    const { tls, maxConnections = 4096 } = options;
    if (tls === undefined) {
      const http1 = createHttpServer(HTTP, handle);
      http1.maxHeadersCount = MAX_HEADERS;
      const http2 = createHttp2Server(HTTP2, handle).on('session', (session) => this.#keep(session));
      this.#entrance = createTcpServer((socket) => {
        peekProtocol(socket, { limitMs: HTTP.headersTimeout }, (protocol) => (protocol === 'http2' ? http2 : http1).emit('connection', socket));
      });
      this.#closeInner = () => {
        http1.closeIdleConnections();
      };
    } else {
      const secure = createSecureServer({
        ...HTTP,
        ...HTTP2,
        ...contextOf(tls),
        allowHTTP1: true,
        requestCert: tls.clientCa !== undefined,
        rejectUnauthorized: false,
      });
      secure
        .on('request', handle)
        .on('session', (session) => this.#keep(session))
        .on('tlsClientError', () => {});
      this.#entrance = secure;
      this.#closeInner = () => {};
    }
    this.#entrance.maxConnections = maxConnections;
    this.#entrance.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
  }

  async listen(port: number, host = '127.0.0.1'): Promise<AddressInfo> {
    this.#entrance.listen(port, host);
    await once(this.#entrance, 'listening'); // rejects with the server's error
    return this.#entrance.address() as AddressInfo;
  }

  setTls(tls: ApiTls): void {
    if ('setSecureContext' in this.#entrance) this.#entrance.setSecureContext(contextOf(tls));
    else
      throw new BifrostError({
        code: 'INVALID_OPTIONS',
        message: 'This server speaks in clear.',
        issues: [{ path: 'tls', message: 'was not given' }],
      });
  }

  close({ graceMs = 10_000 }: { readonly graceMs?: number } = {}): Promise<void> {
    this.#closed ??= this.#closeOnce(graceMs);
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #closeOnce(graceMs: number): Promise<void> {
    const reason = new BifrostError({ code: 'SERVICE_DRAINING', message: 'The service is being stopped.' });
    this.#api.readiness.drain(reason);
    const closed = this.#entrance.listening ? once(this.#entrance, 'close') : Promise.resolve();
    this.#entrance.close();
    for (const session of this.#sessions) session.close(); // GOAWAY; what is under way ends
    this.#closeInner();
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(cut);
    this.#api[Symbol.dispose]();
  }

  #keep(session: Http2Session): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    session.on('error', () => session.destroy());
  }
}

const contextOf = ({ cert, key, clientCa }: ApiTls) => ({
  cert,
  key,
  minVersion: 'TLSv1.2' as const,
  ...(clientCa === undefined ? {} : { ca: clientCa }),
});
