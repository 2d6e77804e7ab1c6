import { once } from 'node:events';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttp2Server, createSecureServer, type Http2SecureServer, type Http2Server } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { NetworkManager } from '@bifrost/types/proto';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { NetworkManager as Manager } from '../../manager/network-manager.ts';
import type { Caller } from './caller.ts';
import { registerNetworkApi } from './grpc-door.ts';
import { NetworkApi } from './network-api.ts';
import { peekProtocol } from './protocol-peek.ts';
import { type HttpRequest, type HttpResponse, RestDoor } from './rest-door.ts';

export interface ApiServerOptions {
  readonly manager: Manager;
  readonly authenticate: (caller: Caller) => Promise<string | undefined>;
  /** PEM. Without it the server speaks in clear: for loopback only. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
}

const MAX_BODY_BYTES = 262_144;

const isGrpc = (request: HttpRequest): boolean =>
  (request.headers['content-type'] ?? '').startsWith('application/grpc') ||
  (request.url ?? '').startsWith(`/${NetworkManager.typeName}/`) ||
  (request.url ?? '').startsWith('/grpc.');

/** gRPC, gRPC-Web, Connect and REST on one port. */
export class ApiServer implements AsyncDisposable {
  readonly #tcp: TcpServer | Http2SecureServer;
  readonly #inner: readonly (Server | Http2Server)[];
  readonly #sockets = new Set<Socket>();

  constructor({ manager, authenticate, tls }: ApiServerOptions) {
    const api = new NetworkApi({ manager, authenticate });
    const rest = new RestDoor({ api, maxBodyBytes: MAX_BODY_BYTES });
    const grpc = connectNodeAdapter({
      routes: (router) => registerNetworkApi(router, api),
      readMaxBytes: MAX_BODY_BYTES,
    });
    const handle = (request: HttpRequest, response: HttpResponse): void => {
      if (isGrpc(request)) grpc(request as never, response as never);
      else void rest.handle(request, response);
    };
    if (tls !== undefined) {
      this.#tcp = createSecureServer({ ...tls, allowHTTP1: true }, handle as never);
      this.#inner = [];
      return;
    }
    const [http1, http2] = [createHttpServer(handle), createHttp2Server(handle)];
    this.#inner = [http1, http2];
    this.#tcp = createTcpServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      peekProtocol(socket, (protocol) => {
        (protocol === 'http2' ? http2 : http1).emit('connection', socket);
        if (protocol === 'http1') socket.resume(); // HTTP/2 takes what is there by itself
      });
      socket.on('error', () => socket.destroy());
    });
  }

  async listen(port: number, host = '127.0.0.1'): Promise<AddressInfo> {
    this.#tcp.listen(port, host);
    await once(this.#tcp, 'listening');
    return this.#tcp.address() as AddressInfo;
  }

  async close(): Promise<void> {
    const closed = once(this.#tcp, 'close');
    this.#tcp.close();
    for (const server of this.#inner) server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
