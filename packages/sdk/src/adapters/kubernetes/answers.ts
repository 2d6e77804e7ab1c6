import { BifrostError } from '@bifrost/types/core';
import type { Dispatcher } from 'undici';
import { type Expected, isAnswer, isStatus } from './answer-shapes.ts';
import { type ApiProblem, problemOf, unavailable } from './errors.ts';
import type { DiagnosticOperation, KubernetesOperation } from './operations.ts';

export interface ApiRequest extends Expected {
  /** What it is for; goes out in `User-Agent`. */
  readonly operation: KubernetesOperation | DiagnosticOperation;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Built of literals and {@link segment}s. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** Of the body. @default application/json */
  readonly contentType?: string;
  /** @default application/json */
  readonly accept?: string;
  readonly signal: AbortSignal;
}

/** What the API server said. */
export type Answer<T> = { readonly ok: true; readonly body: T } | { readonly ok: false; readonly problem: ApiProblem };

/** True for what can be the name of an object. */
export const isName = (text: string): boolean => /^[A-Za-z0-9](?:[A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$/.test(text);

/** One name in a path. Names of Kubernetes hold nothing that needs escaping; what does is no name. */
export function segment(name: string): string {
  if (isName(name)) return name;
  throw new BifrostError({ code: 'CLUSTER_REJECTED', message: 'a name is not one that Kubernetes knows' });
}

export function targetOf({ path, query }: ApiRequest): string {
  if (query === undefined) return path;
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
  return parameters.size === 0 ? path : `${path}?${parameters}`;
}

export function headersOf(request: ApiRequest, credentials: Readonly<Record<string, string>>, json: string): Record<string, string> {
  const headers: Record<string, string> = { ...credentials, accept: request.accept ?? json, 'user-agent': `bifrost (${request.operation})` };
  if (request.body !== undefined) headers['content-type'] = request.contentType ?? json;
  return headers;
}

/** Reads to the end, so that the connection can be used again. */
export async function drop(response: Dispatcher.ResponseData): Promise<void> {
  await response.body.dump();
}

/** The answer in `response`, or `CLUSTER_UNAVAILABLE` when a proxy, a captive portal, half a document or the answer to another question stands there. */
export async function readAnswer<T>(
  response: Dispatcher.ResponseData,
  request: Expected & Pick<ApiRequest, 'method' | 'path'>,
  maxBytes: number,
): Promise<Answer<T>> {
  const { statusCode: status, headers } = response;
  const { method, path, kind } = request;
  const subject = `${method} ${path}`;
  const text = await readText(response.body, subject, maxBytes);
  const type = String(headers['content-type'] ?? '');
  const retryAfter = typeof headers['retry-after'] === 'string' ? headers['retry-after'] : undefined;
  const document = type.startsWith('application/json') ? parseDocument(text) : undefined;
  if (status >= 300 && isStatus(document)) return { ok: false, problem: problemOf(status, document, retryAfter) };
  if (status < 300 && isSuccess<T>(document, request)) return { ok: true, body: document };
  // Go's own page for a path that no API group serves, and the plain text of the server's overload filters.
  const plain = type.startsWith('text/plain');
  if (plain && ((status === 404 && text.trim() === '404 page not found') || status === 429 || status >= 500)) {
    return { ok: false, problem: problemOf(status, {}, retryAfter) };
  }
  throw unavailable(
    subject,
    new SyntaxError(`HTTP ${status} with ${text.length} characters of ${type || 'no type'} instead of a ${status < 300 ? kind : 'Status'}`),
  );
}

/** An error dressed as a success would read as an object without labels, owner or content, or as an empty list: books would be taken apart by it. */
function isSuccess<T>(document: unknown, request: Expected & Pick<ApiRequest, 'method'>): document is T {
  const isDeleted = request.method === 'DELETE' && isStatus(document) && document.status === 'Success';
  return isDeleted || isAnswer(document, request);
}

/** The parser's own error is dropped: it quotes the text, which may be a Secret's. */
function parseDocument(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readText(body: AsyncIterable<Buffer>, subject: string, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw unavailable(subject, new RangeError(`the answer is longer than ${maxBytes} bytes`));
    chunks.push(chunk);
  }
  return (chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)).toString('utf8');
}

const NEWLINE = 0x0a;

/** JSON documents, one per line. An unfinished last line is a connection that broke: the rest is not read. */
export async function* readLines(body: AsyncIterable<Buffer>, subject: string, maxLineBytes: number): AsyncGenerator<unknown, void, void> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const line = Buffer.concat([...parts, chunk.subarray(from, end)]).toString('utf8');
      parts = [];
      size = 0;
      from = end + 1;
      if (line.trim() !== '') yield parseLine(line, subject);
    }
    if (from < chunk.length) parts.push(chunk.subarray(from));
    size += chunk.length - from;
    if (size > maxLineBytes) throw unavailable(subject, new RangeError(`a line is longer than ${maxLineBytes} bytes`));
  }
  if (size > 0) throw unavailable(subject, new SyntaxError('the stream ended inside a line'));
}

function parseLine(line: string, subject: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw unavailable(subject, new SyntaxError(`a line of ${line.length} characters is not JSON`));
  }
}
