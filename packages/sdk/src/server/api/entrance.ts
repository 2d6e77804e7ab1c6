import { once } from 'node:events';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import {
  constants,
  createServer as createHttp2Server,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
} from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import { BifrostError } from '@bifrost/types/core';
import { peekProtocol } from './protocol-peek.ts';
import type { HttpRequest, HttpResponse } from './rest-door.ts';

/** PEM. */
export interface ApiTls {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Authorities of client certificates. Without it none is asked for. */
  readonly clientCa?: string | Buffer;
}

interface Http1Limits {
  readonly maxHeaderSize: number;
  readonly headersTimeout: number;
  readonly requestTimeout: number;
  readonly keepAliveTimeout: number;
  readonly connectionsCheckingInterval: number;
}
const HTTP = {
  maxHeaderSize: 32_768,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 5_000,
} satisfies Http1Limits;
const MAX_HEADERS = 100;
const HANDSHAKE_MS = 10_000;
/** HTTP/1.1 has its own limit for it. */
const BODY_MS = 30_000;
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
  /** Of HTTP/1.1, where they are to be others. */
  readonly http1?: Partial<Http1Limits>;
}

/** One port: HTTP/1.1 and HTTP/2, by TLS or in clear. */
export class Entrance {
  readonly #server: TcpServer | Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<Http2Session>();
  readonly #peeking = new Set<Socket>();
  /** Whose limits hold for HTTP/1.1. */
  readonly #http1: HttpServer | Http2SecureServer;
  readonly #limits: Http1Limits;
  #isClosing = false;

  constructor({ handle, tls, maxConnections, http1: limits = {} }: EntranceOptions) {
    this.#limits = { ...HTTP, ...limits };
    const limited = (request: HttpRequest, response: HttpResponse): void => {
      endSlow(request, response);
      handle(request, response);
    };
    if (tls === undefined) {
      const http1 = createHttpServer(this.#limits, limited);
      http1.emit('listening'); // it never listens by itself, and its checks of slow and idle connections begin with this
      const http2 = createHttp2Server(HTTP2, limited).on('session', (session) => this.#keep(session));
      this.#server = createTcpServer((socket) => this.#peek(socket, { http1, http2 }));
      this.#http1 = http1;
    } else {
      const secure = secureServer(tls, { handle: limited, limits: this.#limits }).on('session', (session) => this.#keep(session));
      this.#server = secure;
      this.#http1 = secure;
    }
    Object.assign(this.#http1, { maxHeadersCount: MAX_HEADERS });
    this.#server.maxConnections = maxConnections;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
  }

  #peek(socket: Socket, { http1, http2 }: { readonly http1: HttpServer; readonly http2: Http2Server }): void {
    this.#peeking.add(socket);
    socket.once('close', () => this.#peeking.delete(socket));
    peekProtocol(socket, { limitMs: this.#limits.headersTimeout }, (protocol) => {
      this.#peeking.delete(socket);
      (protocol === 'http2' ? http2 : http1).emit('connection', socket);
    });
  }

  async listen(port: number, host: string): Promise<AddressInfo> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening'); // rejects with the server's error
    return this.#server.address() as AddressInfo;
  }

  setTls(tls: ApiTls): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(checkedContextOf(tls));
  }

  /** No new connections; HTTP/2 clients are told to go elsewhere. Resolves when all connections have ended. */
  async close(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : Promise.resolve();
    this.#isClosing = true;
    Object.assign(this.#http1, { keepAliveTimeout: 1 }); // whoever still gets an answer is not waited for after it
    this.#server.close();
    if (this.#http1 !== this.#server) this.#http1.close();
    for (const session of this.#sessions) session.close();
    for (const socket of this.#peeking) socket.destroy();
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
    if (this.#isClosing) session.close();
  }
}

/** What a secure server does not take from its options, it takes as members: those of HTTP/1.1. */
function secureServer(tls: ApiTls, { handle, limits }: Pick<EntranceOptions, 'handle'> & { readonly limits: Http1Limits }): Http2SecureServer {
  const secure = createSecureServer({
    ...HTTP2,
    ...checkedContextOf(tls),
    allowHTTP1: true,
    handshakeTimeout: HANDSHAKE_MS,
    requestCert: tls.clientCa !== undefined,
    rejectUnauthorized: false, // one of another authority counts as none
  });
  return Object.assign(secure, limits).on('request', handle);
}

/** A request over HTTP/2 whose body does not come is ended. */
function endSlow(request: HttpRequest, response: HttpResponse): void {
  if (!('stream' in response)) return;
  const { stream } = response;
  const late = setTimeout(() => !request.complete && stream.close(constants.NGHTTP2_CANCEL), BODY_MS).unref();
  stream.once('close', () => clearTimeout(late));
}

/** @throws {BifrostError} `INVALID_OPTIONS` */
function checkedContextOf(tls: ApiTls): ReturnType<typeof contextOf> {
  const context = contextOf(tls);
  try {
    createSecureContext(context);
    return context;
  } catch {
    // Its error may show where the key was read.
    const issues = [{ path: 'tls', message: 'is not a certificate and its key, in PEM' }];
    throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'The certificate cannot be used.', issues });
  }
}

const contextOf = ({ cert, key, clientCa }: ApiTls) => ({
  cert,
  key,
  minVersion: 'TLSv1.2' as const,
  ...(clientCa === undefined ? {} : { ca: clientCa }),
});
