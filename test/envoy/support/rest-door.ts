import { readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request as send } from 'node:http';
import { type CallOptions, type Door, type Headers, type Json, type Opened, refusal, StreamEnd, type Told, type Verdict } from './door.ts';

interface Operation {
  readonly operationId: string;
  readonly parameters: readonly { readonly name?: string; readonly in?: string }[];
  readonly requestBody?: unknown;
}
interface Route {
  readonly verb: string;
  readonly path: string;
  readonly operation: Operation;
}

/** As a generated client has it: from the published document, not from the server's code. */
const document = JSON.parse(readFileSync(new URL('../../../packages/types/proto/openapi.json', import.meta.url), 'utf8')) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};
export const ROUTES: ReadonlyMap<string, Route> = new Map(
  Object.entries(document.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]): [string, Route] => [operation.operationId, { verb: verb.toUpperCase(), path, operation }]),
  ),
);

export interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers?: Headers;
  readonly body?: string | Buffer;
  readonly signal?: AbortSignal;
}
export interface Received {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
}

/** Where a call goes, and with what. */
export function encode(method: string, request: Json): Pick<Sent, 'method' | 'path' | 'body'> {
  const route = ROUTES.get(method);
  if (route === undefined) throw new RangeError(`no REST path for ${method}`);
  const left = new Map(Object.entries(request).filter(([, value]) => value !== undefined));
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(left.get(name) ?? '');
    left.delete(name);
    return encodeURIComponent(value);
  });
  if (route.operation.requestBody !== undefined) return { method: route.verb, path, body: JSON.stringify(Object.fromEntries(left)) };
  const query = new URLSearchParams(
    [...left].flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((each): [string, string] => [name, String(each)])),
  );
  return { method: route.verb, path: left.size === 0 ? path : `${path}?${query}` };
}

const headersOf = (headers: Readonly<Record<string, string | string[] | undefined>>): ReadonlyMap<string, string> =>
  new Map(Object.entries(headers).map(([name, value]) => [name, String(value)]));

/** REST on a port of loopback. */
export class RestDoor implements Door {
  readonly kind = 'rest';
  readonly name: string;
  readonly port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor({ name, port }: { readonly name: string; readonly port: number }) {
    this.name = name;
    this.port = port;
  }

  /** Whatever bytes are given. */
  async send(sent: Sent): Promise<Received> {
    const response = await this.#begin(sent);
    return { status: response.statusCode ?? 0, headers: headersOf(response.headers), text: await textOf(response) };
  }

  #begin({ method, path, headers = {}, body, signal }: Sent): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      // Said for GET and DELETE too, or the body would be read as the next request.
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      const options = {
        host: '127.0.0.1',
        port: this.port,
        agent: this.#agent,
        method,
        path,
        headers: { ...length, ...headers },
        ...(signal === undefined ? {} : { signal }),
      };
      const sent = send(options, resolve);
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /** Events in the form that is asked for. @throws {StreamEnd} it was refused */
  async open(request: Json, { headers = {}, signal, form = 'sse' }: CallOptions & { readonly form?: 'sse' | 'ndjson' } = {}): Promise<Opened> {
    const accept = form === 'sse' ? 'text/event-stream' : 'application/x-ndjson';
    const { method, path } = encode('MonitorConnectivity', request);
    const response = await this.#begin({ method, path, headers: { accept, ...headers }, ...(signal === undefined ? {} : { signal }) });
    response.on('error', () => {}); // who leaves before it reads hears of it elsewhere
    const [status, told] = [response.statusCode ?? 0, headersOf(response.headers)];
    if (status !== 200) throw new StreamEnd(verdictOf({ status, headers: told, text: await textOf(response) }));
    return { events: form === 'sse' ? serverSent(response) : lines(response), headers: told };
  }

  async call(method: string, request: Json, { headers = {}, signal }: CallOptions = {}): Promise<Verdict> {
    const encoded = encode(method, request);
    const json = encoded.body === undefined ? {} : { 'content-type': 'application/json' };
    return verdictOf(await this.send({ ...encoded, headers: { ...json, ...headers }, ...(signal === undefined ? {} : { signal }) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
  }
}

/** A body that is no JSON is told as such. */
export function verdictOf({ status, headers, text }: Received): Verdict {
  const body = parsed(text);
  if (status < 300) return { kind: 'rest', code: 0, http: status, fields: [], body, headers };
  return { kind: 'rest', ...refusal(body), http: status, body, headers };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { notJson: text.slice(0, 200) };
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}

async function* blocks(response: IncomingMessage, end: string): AsyncGenerator<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const parts = (text + chunk).split(end);
    text = parts.pop() ?? '';
    yield* parts;
  }
}

const failed = (status: unknown): StreamEnd => new StreamEnd({ kind: 'rest', ...refusal(status), http: 200, body: status, headers: new Map() });

async function* lines(response: IncomingMessage): AsyncGenerator<Told> {
  for await (const line of blocks(response, '\n')) {
    const told = JSON.parse(line) as Told & { readonly error?: unknown };
    if (told.error !== undefined) throw failed(told.error);
    yield told;
  }
}

async function* serverSent(response: IncomingMessage): AsyncGenerator<Told> {
  for await (const block of blocks(response, '\n\n')) {
    const of = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    if (of('event') === 'error') throw failed(JSON.parse(of('data') ?? ''));
    const data = of('data');
    yield data === undefined ? { tailnet_name: '', event_type: '', details: {}, resume_token: of('id') ?? '' } : (JSON.parse(data) as Told);
  }
}
