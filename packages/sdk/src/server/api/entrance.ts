import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, createSecureServer, type Http2SecureServer, type Http2Session } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { peekProtocol } from './protocol-peek.ts';
import type { HttpRequest, HttpResponse } from './rest-door.ts';

/** PEM. */
export interface ApiTls {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Authorities of client certificates. Without it none is asked for. */
  readonly clientCa?: string | Buffer;
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

export interface EntranceOptions {
  readonly handle: (request: HttpRequest, response: HttpResponse) => void;
  readonly tls: ApiTls | undefined;
  readonly maxConnections: number;
}

/** One port: HTTP/1.1 and HTTP/2, by TLS or in clear. */
export class Entrance {
  readonly #server: TcpServer | Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<Http2Session>();
  readonly #closeIdle: () => void;

  constructor({ handle, tls, maxConnections }: EntranceOptions) {
    if (tls === undefined) {
      const http1 = createHttpServer(HTTP, handle);
      http1.maxHeadersCount = MAX_HEADERS;
      const http2 = createHttp2Server(HTTP2, handle).on('session', (session) => this.#keep(session));
      this.#server = createTcpServer((socket) => {
        peekProtocol(socket, { limitMs: HTTP.headersTimeout }, (protocol) => (protocol === 'http2' ? http2 : http1).emit('connection', socket));
      });
      this.#closeIdle = () => http1.closeIdleConnections();
    } else {
      const secure = createSecureServer({
        ...HTTP,
        ...HTTP2,
        ...contextOf(tls),
        allowHTTP1: true,
        requestCert: tls.clientCa !== undefined,
        rejectUnauthorized: false, // one of another authority counts as none
      });
      secure.on('request', handle).on('session', (session) => this.#keep(session));
      this.#server = secure;
      this.#closeIdle = () => {};
    }
    this.#server.maxConnections = maxConnections;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
  }

  async listen(port: number, host: string): Promise<AddressInfo> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening'); // rejects with the server's error
    return this.#server.address() as AddressInfo;
  }

  setTls(tls: ApiTls): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(contextOf(tls));
  }

  /** No new connections; HTTP/2 clients are told to go elsewhere. Resolves when all connections have ended. */
  async close(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : Promise.resolve();
    this.#server.close();
    for (const session of this.#sessions) session.close();
    this.#closeIdle();
    await closed;
  }

  /** Ends what is left. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
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
