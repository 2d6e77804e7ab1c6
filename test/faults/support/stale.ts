import type { Exchange, Treatment } from './exchange.ts';
import { wholeAnswer } from './faults.ts';

interface Version {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
  readonly text: string;
}

/**
 * Reads answer with what the same request was answered before: an older version of the object, or of the list. A request that is new is answered, and
 * what it was answered is what later ones get.
 */
export function stale(): (exchange: Exchange) => Treatment | undefined {
  const first = new Map<string, Version>();
  return (exchange) => {
    if (exchange.method !== 'GET' || exchange.operation.endsWith('.watch')) return undefined;
    return async ({ forward, response }) => {
      const known = first.get(exchange.target);
      const version = known ?? (await wholeAnswer(forward));
      // "There is none" is no older version of anything.
      if (version.status === 200) first.set(exchange.target, version);
      response.writeHead(version.status, version.headers).end(version.text);
    };
  };
}
