import { type ClientHttp2Session, connect } from 'node:http2';
import { NetworkManager } from '@bifrost/types/proto';
import { create, toBinary } from '@bufbuild/protobuf';
import { Pool } from 'undici';
import { framed } from '../envoy/support/raw-grpc.ts';

export interface Sides<Where> {
  readonly ours: Where;
  readonly baseline: Where;
}

export interface HttpCall {
  readonly port: number;
  readonly method: 'GET' | 'POST';
  readonly path: string;
}

/** What the server's process says first. */
export interface ApiBenchServer {
  readonly apiKey: string;
  readonly tailnetName: string;
  readonly answerBytes: number;
  /** Ports. */
  readonly grpc: Sides<number>;
  readonly rest: Sides<HttpCall>;
  readonly page: HttpCall;
}

/** Figures are asked for; the other two are states of the pod's tailscaled. */
export type ApiBenchCommand = 'cpu' | 'memory' | 'Stopped' | 'Running';

/** One call, again and again. */
export interface Caller extends AsyncDisposable {
  call(): Promise<void>;
}

const service = `/${NetworkManager.typeName}/`;

/** Clients are as bare as can be, so that the servers' time is what is measured. */
const headersOf = (method: string, apiKey: string) => ({
  ':method': 'POST',
  ':path': `${service}${method}`,
  te: 'trailers',
  'content-type': 'application/grpc',
  'x-api-key': apiKey,
});

export function grpcCaller({ apiKey, tailnetName }: ApiBenchServer, port: number): Caller {
  const session = connect(`http://127.0.0.1:${port}`);
  const headers = headersOf('GetNetworkStatus', apiKey);
  const body = framed(toBinary(NetworkManager.method.getNetworkStatus.input, create(NetworkManager.method.getNetworkStatus.input, { tailnetName })));
  const call = (): Promise<void> =>
    new Promise((resolve, reject) => {
      let status: unknown;
      const stream = session.request(headers);
      stream.on('response', (head) => (status = head['grpc-status']));
      stream.on('trailers', (trailers) => (status = trailers['grpc-status']));
      stream.on('error', reject);
      stream.on('close', () => (Number(status) === 0 ? resolve() : reject(new RangeError(`grpc-status ${String(status)}`))));
      stream.resume().end(body);
    });
  return { call, [Symbol.asyncDispose]: async () => session.destroy() };
}

/** @param connections as many calls at once as there are connections */
export function httpCaller({ apiKey, tailnetName }: ApiBenchServer, { port, method, path }: HttpCall, connections: number): Caller {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections });
  const headers = { 'x-api-key': apiKey, ...(method === 'POST' ? { 'content-type': 'application/json' } : {}) };
  const sent = method === 'POST' ? { body: JSON.stringify({ tailnetName }) } : {};
  const call = async (): Promise<void> => {
    const { statusCode, body } = await pool.request({ method, path, headers, ...sent });
    await body.dump();
    if (statusCode !== 200) throw new RangeError(`HTTP ${statusCode}`);
  };
  return { call, [Symbol.asyncDispose]: () => pool.close() };
}

/** Readers of MonitorConnectivity, many on a connection as behind a proxy. */
export class Readers implements Disposable {
  readonly #sessions: readonly ClientHttp2Session[];
  /** When each reader heard its last event, in the wall clock's milliseconds. */
  readonly heardAtMs: Float64Array;
  #left = 0;
  #allHeard = Promise.withResolvers<void>();

  constructor(apiKey: string, { port, readers, connections }: { readonly port: number; readonly readers: number; readonly connections: number }) {
    this.heardAtMs = new Float64Array(readers);
    this.#sessions = Array.from({ length: connections }, () => connect(`http://127.0.0.1:${port}`));
    const { input } = NetworkManager.method.monitorConnectivity;
    const body = framed(toBinary(input, create(input, { eventTypes: ['disconnected'], heartbeatSeconds: 300 })));
    const headers = headersOf('MonitorConnectivity', apiKey);
    for (let reader = 0; reader < readers; reader += 1) {
      const stream = this.#sessions[reader % connections]?.request(headers);
      stream?.on('data', () => this.#hear(reader));
      stream?.on('error', (error) => this.#allHeard.reject(error));
      stream?.on('close', () => this.#allHeard.reject(new RangeError('a stream has ended')));
      stream?.end(body);
    }
    this.#allHeard.promise.catch(() => {}); // whoever waits hears of it
  }

  /** Forgets what was heard. @returns resolves when each reader has heard one event from now on. */
  next(): Promise<void> {
    this.#left = this.heardAtMs.length;
    this.heardAtMs.fill(0);
    this.#allHeard = Promise.withResolvers<void>();
    return this.#allHeard.promise;
  }

  #hear(reader: number): void {
    if (this.heardAtMs[reader] !== 0) return;
    this.heardAtMs[reader] = performance.timeOrigin + performance.now();
    this.#left -= 1;
    if (this.#left === 0) this.#allHeard.resolve();
  }

  [Symbol.dispose](): void {
    for (const session of this.#sessions) session.destroy();
  }
}
