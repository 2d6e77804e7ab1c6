import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, RequestOptions, request } from 'node:http';

export interface Exchange {
  readonly options: RequestOptions;
  readonly body?: string;
  readonly timeoutMs: number;
  /** A longer answer counts as a failure. */
  readonly maxBytes: number;
}
export type Outcome =
  | { readonly ok: true; readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string }
  /** `reason` is `timeout`, `too-large`, or the system's code, such as `ECONNREFUSED`. */
  | { readonly ok: false; readonly reason: string };

/** A kept connection that the other side had already closed says one of these; nothing was answered on it. */
const STALE = ['ECONNRESET', 'EPIPE'];

/** One request, one answer. Rejects only on abort, with `signal.reason` itself. Once more at once where a kept connection turned out to be closed. */
export async function exchange(send: typeof request, what: Exchange, { signal }: { readonly signal: AbortSignal }): Promise<Outcome> {
  signal.throwIfAborted();
  const first = await attempt(send, what, signal);
  const last = first.ok || !first.stale ? first : await attempt(send, what, signal);
  signal.throwIfAborted();
  return last;
}

function attempt(send: typeof request, what: Exchange, signal: AbortSignal): Promise<Outcome & { readonly stale?: boolean }> {
  return new Promise((resolve) => {
    let outgoing: ClientRequest | undefined;
    const end = (outcome: Outcome & { readonly stale?: boolean }) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      resolve(outcome);
      if (!outcome.ok) outgoing?.destroy();
    };
    const fail = (reason: string) => end({ ok: false, reason, stale: outgoing?.reusedSocket === true && STALE.includes(reason) });
    const onAbort = () => end({ ok: false, reason: 'aborted' });
    const timer = setTimeout(() => end({ ok: false, reason: 'timeout' }), what.timeoutMs);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) return onAbort();
    try {
      outgoing = send(what.options, (incoming) => collect(incoming, what.maxBytes, end));
      outgoing.on('error', (error: NodeJS.ErrnoException) => fail(codeOf(error)));
      outgoing.end(what.body);
    } catch (error) {
      fail(codeOf(error)); // a header that HTTP cannot carry, e.g. from a damaged token file
    }
  });
}

function collect(incoming: IncomingMessage, maxBytes: number, end: (outcome: Outcome) => void): void {
  let body = '';
  incoming.setEncoding('utf8');
  incoming.on('data', (chunk: string) => {
    body += chunk;
    if (body.length > maxBytes) end({ ok: false, reason: 'too-large' });
  });
  incoming.on('error', (error) => end({ ok: false, reason: codeOf(error) }));
  incoming.on('end', () => end({ ok: true, status: incoming.statusCode ?? 0, headers: incoming.headers, body }));
}

/** The system's code; never the message, which may carry what was sent. */
export const codeOf = (error: unknown): string => {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'failed';
};

/** Parsed JSON, or undefined. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
