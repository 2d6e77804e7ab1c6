import type { IncomingMessage, ServerResponse } from 'node:http';
import { BifrostError, ERROR_CODES, type ErrorCode, REPORT_LIMITS, Secret, toWire, wirePath } from '@bifrost/types/core';
import type { NetworkManager } from '../manager/network-manager.ts';

type Ingest = Pick<NetworkManager, 'ingestReport'>;

/** Options of {@link createReportHandler}. */
export interface ReportHandlerOptions {
  /** What one report may take, from its first byte to its answer, milliseconds. @default 10000 */
  readonly timeLimitMs?: number;
}

/**
 * The door for agents: `POST /v1/reports`. Mount it in any node:http or node:https server; it answers 404 to other paths. Serve it by https
 * (plain http is for loopback only): reports carry tokens.
 *
 * @example
 * createServer({ cert, key }, createReportHandler(manager)).listen(8443);
 */
export function createReportHandler(
  manager: Ingest,
  { timeLimitMs = 10_000 }: ReportHandlerOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(late()), timeLimitMs);
    answer(manager, request, timeout.signal)
      .then(
        (body) => send(response, 200, body),
        (error: unknown) => refuse(request, response, error),
      )
      .catch(() => response.destroy())
      .finally(() => clearTimeout(timer));
  };
}

const late = (): BifrostError =>
  new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: 'The report could not be taken in time: send it again.', retryAfterMs: 1_000 });

/** What is wrong with the request itself: a part of it, or the whole body (an empty path). */
const wrong = (code: ErrorCode, path: string, message: string): BifrostError => new BifrostError({ code, message, issues: [{ path, message }] });

async function answer(manager: Ingest, request: IncomingMessage, signal: AbortSignal): Promise<unknown> {
  if (request.url?.split('?')[0] !== '/v1/reports') throw wrong('PATH_NOT_FOUND', 'path', 'Reports are posted to /v1/reports.');
  if (request.method !== 'POST') throw wrong('REPORT_INVALID', 'method', 'Reports are posted.');
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) throw wrong('REPORT_UNAUTHENTICATED', 'authorization', 'Show the pod token as a bearer token.');
  const text = await readBody(request, signal);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw wrong('REPORT_INVALID', '', 'The body is not JSON.'); // without the cause: it quotes the body
  }
  return manager.ingestReport({ token: new Secret(token), document, signal });
}

/** The whole body, or the time limit. By listeners: an iteration could not be left while it waits for the next piece. */
function readBody(request: IncomingMessage, signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  let size = 0;
  const onData = (chunk: Buffer): void => {
    size += chunk.length;
    if (size <= REPORT_LIMITS.maxBytes) chunks.push(chunk);
    else reject(wrong('REPORT_TOO_LARGE', '', `A report has at most ${REPORT_LIMITS.maxBytes} bytes.`));
  };
  const onEnd = (): void => resolve(Buffer.concat(chunks).toString('utf8'));
  const onClose = (): void => {
    // It closes after its end too; an error made for nothing would cost more than reading the body.
    if (!request.readableEnded) reject(wrong('REPORT_INVALID', '', 'The body ended early.'));
  };
  const onAbort = (): void => reject(signal.reason);
  request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  signal.addEventListener('abort', onAbort);
  return promise.finally(() => {
    request.off('data', onData).off('end', onEnd).off('close', onClose);
    signal.removeEventListener('abort', onAbort);
  });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(toWire(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return;
  const told = BifrostError.is(error) ? error : new BifrostError({ code: 'INTERNAL', message: 'The report could not be taken now.' });
  if (!request.complete) {
    response.setHeader('connection', 'close'); // nobody waits for the rest of the body
    request.resume(); // what is under way is drained, or its end would reset the connection under the answer
  }
  if (told.retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(told.retryAfterMs / 1000));
  const issues = told.issues.map(({ path, message }) => ({ path: wirePath(path), message }));
  send(response, ERROR_CODES[told.code].http, { code: told.code, message: told.message, issues, runbook: told.runbook });
}
