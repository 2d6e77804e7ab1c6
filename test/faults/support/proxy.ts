import { createServer as createPlain, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecure } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import type { Attribution } from './attribution.ts';
import { type Exchange, type ExchangeLog, type Given, passOn, type Side, type Treat } from './exchange.ts';

export interface ProxyOptions {
  readonly side: Side;
  readonly upstream: string;
  /** With a certificate it speaks HTTPS. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly attribution: Attribution;
  readonly log: ExchangeLog;
  /** Which process asks at the moment. */
  readonly process: () => number;
}

/** Stands before one server: knows the operation of every request, and passes it on unless `treat` says otherwise. */
export class FaultProxy implements AsyncDisposable {
  /** Asked in this order; the first that answers decides. */
  readonly treats = new Set<Treat>();
  readonly #options: ProxyOptions;
  readonly #pool: Pool;
  readonly #server: Server;
  readonly #watches = new Set<ServerResponse>();

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#pool = new Pool(options.upstream, { connections: 256, connect: { rejectUnauthorized: false }, headersTimeout: 0, bodyTimeout: 0 });
    const serve = (request: IncomingMessage, response: ServerResponse): void => void this.#serve(request, response);
    this.#server = options.tls === undefined ? createPlain(serve) : createSecure(options.tls, serve);
    this.#server.keepAliveTimeout = 60_000;
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return this;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http${this.#options.tls === undefined ? '' : 's'}://127.0.0.1:${port}`;
  }

  breakWatches(): void {
    for (const response of this.#watches) response.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.#pool.destroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.on('close', () => {
      this.#watches.delete(response);
      gone.abort();
    });
    response.on('error', () => {}); // the manager was killed
    try {
      const exchange = await this.#read(request);
      this.#options.log.add(exchange);
      if (exchange.operation.endsWith('.watch')) this.#watches.add(response);
      response.on('finish', () => {
        exchange.status = response.statusCode;
      });
      const given = { exchange, response, forward: this.#forwarding(exchange, gone.signal) };
      for (const treat of this.treats) {
        const treatment = treat(exchange);
        if (treatment === undefined) continue;
        exchange.isFaulted = true;
        return await treatment(given);
      }
      await passOn(given);
    } catch {
      response.destroy(); // one of the two sides left
    }
  }

  async #read(request: IncomingMessage): Promise<Exchange> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const seen = { target: request.url ?? '/', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') };
    const { side, attribution, process } = this.#options;
    const operation = /\(([\w.]+)\)/.exec(request.headers['user-agent'] ?? '')?.[1] ?? '';
    const exchange: Exchange = {
      ...{ side, operation, method: request.method ?? 'GET', ...seen, customer: attribution.customerOf(seen) },
      ...{ atMs: performance.now(), process: process(), status: 0, isFaulted: false },
    };
    attribution.learn(exchange, '');
    return exchange;
  }

  #forwarding(exchange: Exchange, gone: AbortSignal): Given['forward'] {
    let sent: ReturnType<Given['forward']> | undefined;
    const send = async (): ReturnType<Given['forward']> => {
      const { host: _, connection: __, 'content-length': ___, ...headers } = exchange.headers;
      const isWatch = exchange.operation.endsWith('.watch');
      const answer = await this.#pool.request({
        ...{ method: exchange.method as 'GET', path: exchange.target, headers: headers as Record<string, string> },
        ...(exchange.body === '' ? {} : { body: exchange.body }),
        // A request whose sender has died goes on, as it would on a real server. Only a watch ends with its reader.
        ...(isWatch ? { signal: gone } : {}),
      });
      if (!this.#options.attribution.isInstructive(exchange)) return answer;
      const text = await answer.body.text();
      this.#options.attribution.learn(exchange, text);
      return { ...answer, body: replayed(text) as unknown as typeof answer.body };
    };
    return () => {
      sent ??= send();
      return sent;
    };
  }
}

/** A body that has been read, to be read once more. */
const replayed = (text: string) => ({
  text: async () => text,
  async *[Symbol.asyncIterator]() {
    yield Buffer.from(text);
  },
});
