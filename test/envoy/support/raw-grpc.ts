import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';

export interface RawAnswer {
  readonly http: number;
  /** As the wire has it; NaN: the other side said none. */
  readonly status: number;
  readonly message: string;
  readonly body: Buffer;
}

/** A gRPC frame. */
export function framed(bytes: Uint8Array, { flags = 0, length = bytes.length }: { readonly flags?: number; readonly length?: number } = {}): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

/** HTTP/2 by hand: whatever bytes are given. */
export class RawGrpc implements Disposable {
  readonly #session: ClientHttp2Session;

  constructor(port: number) {
    this.#session = connect(`http://127.0.0.1:${port}`);
    this.#session.on('error', () => {});
  }

  async send(path: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<RawAnswer> {
    const stream = this.#session.request({ ':method': 'POST', ':path': path, te: 'trailers', 'content-type': 'application/grpc', ...headers });
    let [head, trailers]: [IncomingHttpHeaders, IncomingHttpHeaders] = [{}, {}];
    const chunks: Buffer[] = [];
    stream.on('response', (given) => (head = given));
    stream.on('trailers', (given) => (trailers = given));
    stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
    stream.on('end', () => stream.destroy()); // what was not sent by now nobody waits for
    stream.on('error', () => {}); // a reset: there is no status then
    stream.end(body);
    await once(stream, 'close');
    const status = trailers['grpc-status'] ?? head['grpc-status'];
    const message = trailers['grpc-message'] ?? head['grpc-message'] ?? '';
    return {
      http: Number(head[':status']),
      status: status === undefined ? Number.NaN : Number(status),
      message: String(message),
      body: Buffer.concat(chunks),
    };
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}
