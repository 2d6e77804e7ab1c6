import type { Exchange, Treatment } from './exchange.ts';
import { wholeAnswer } from './faults.ts';

interface Version {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
  readonly text: string;
}

/**
 * Reads answer with what the same request was answered before: an older version of the object, or of the list. A request that is new is answered, and
 * what it was answered is what later ones get. Only an answer that the server would not give any more counts as a fault.
 */
export function stale(): (exchange: Exchange) => Treatment | undefined {
  const first = new Map<string, Version>();
  return (exchange) => {
    if (exchange.method !== 'GET' || exchange.operation.endsWith('.watch')) return undefined;
    // The same object whole and its metadata only are two answers.
    const request = `${exchange.headers.accept} ${exchange.target}`;
    return async ({ forward, response }) => {
      exchange.isFaulted = false;
      const now = await wholeAnswer(forward);
      const version = first.get(request) ?? now;
      // "There is none" is no older version of anything here: absence has a test of its own.
      if (version.status === 200) first.set(request, version);
      exchange.isFaulted = contentOf(version) !== contentOf(now);
      response.writeHead(version.status, version.headers).end(version.text);
    };
  };
}

/** What it says of objects: the version of a list moves with every write to anything. */
function contentOf({ status, text }: Version): string {
  if (status !== 200 || !text.startsWith('{')) return `${status} ${text}`;
  const body = JSON.parse(text) as { readonly items?: unknown };
  return JSON.stringify(body.items ?? body);
}
