import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';

export type Side = 'kubernetes' | 'control';

/** One request of the manager, as a proxy saw it. */
export interface Exchange {
  readonly side: Side;
  /** From `User-Agent`; empty when it names none. */
  readonly operation: string;
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Whose it is, as far as its path, body or token tell; undefined: the manager's own. */
  readonly customer: string | undefined;
  readonly atMs: number;
  /** Which process asked. */
  readonly process: number;
  /** As the manager got it; 0: no answer. */
  status: number;
  /** It was answered otherwise than the server would have, or not at all. */
  isFaulted: boolean;
}

/** Nothing was changed by it, and it was answered as it is: such a request explains nothing. */
const isPlain = ({ method, isFaulted }: Exchange): boolean => method === 'GET' && !isFaulted;

/** The last requests that may have led to what is wrong: writes, and what was answered otherwise. */
export const tellingOf = (exchanges: readonly Exchange[], most: number, customer?: string): readonly string[] =>
  exchanges
    .filter((exchange) => !isPlain(exchange) && (customer === undefined || exchange.customer === customer))
    .slice(-most)
    .map(
      ({ atMs, customer, operation, target, status, isFaulted }) =>
        `${Math.round(atMs)} ms: ${customer ?? 'nobody'}: ${operation} ${target.split('?')[0]}: ${status}${isFaulted ? ', faulted' : ''}`,
    );

/** Every request, and when each customer was last asked for. */
export class ExchangeLog {
  readonly exchanges: Exchange[] = [];
  readonly #latest = new Map<string | undefined, number>();

  add(exchange: Exchange): void {
    this.exchanges.push(exchange);
    this.#latest.set(exchange.customer, exchange.atMs);
  }

  latestMs(customer: string): number {
    return this.#latest.get(customer) ?? 0;
  }
}

export interface Given {
  readonly exchange: Exchange;
  /** The real server's answer; asking twice gives the same. */
  readonly forward: () => Promise<Dispatcher.ResponseData>;
  readonly response: ServerResponse;
}

/** What is done with one request instead of passing it on and its answer back. */
export type Treatment = (given: Given) => Promise<void>;

/** Looks at each request before it goes anywhere; undefined: nothing special. */
export type Treat = (exchange: Exchange) => Treatment | undefined;

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length']);

export const endToEnd = (headers: Dispatcher.ResponseData['headers']): Record<string, string | string[]> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined || HOP_BY_HOP.has(name.toLowerCase()) ? [] : [[name, value]])),
  );

/** The answer as it came, piece by piece: watches are never held back. */
export const passOn: Treatment = async ({ forward, response }) => {
  const { statusCode, headers, body } = await forward();
  response.writeHead(statusCode, endToEnd(headers));
  response.flushHeaders();
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (response.destroyed) return; // the manager left; what is left upstream goes with the body
    response.write(chunk);
  }
  response.end();
};
