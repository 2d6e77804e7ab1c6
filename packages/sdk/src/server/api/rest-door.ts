import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { BifrostError } from '@bifrost/types/core';
import type { DescMessage, DescMethodServerStreaming, DescMethodUnary, MessageShape } from '@bufbuild/protobuf';
import type { ApiCall } from './api-call.ts';
import type { Peer } from './caller.ts';
import { httpStatusOf, statusJson } from './errors.ts';
import { formFor, writeEvents } from './events-door.ts';
import { wireOf } from './fields.ts';
import { bindingsOf, type Match, match } from './http-rules.ts';
import type { NetworkApi } from './network-api.ts';
import { readBody, textOf } from './rest-body.ts';
import { wrong } from './rest-error.ts';
import { requestMessage } from './rest-request.ts';
import { parseStrict } from './strict-json.ts';

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

export interface RestDoorOptions {
  readonly api: NetworkApi;
  readonly maxBodyBytes: number;
  readonly peerOf: (request: HttpRequest) => Peer;
}

/** A door in front that transcodes asks here first, with the request as it came, whether it is well-formed: its own reading is laxer than ours. */
const CHECK = '/.bifrost/check';

const headerOf = (request: HttpRequest, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
};

interface Read {
  readonly match: Match;
  readonly message: MessageShape<DescMessage>;
}

/** REST over any HTTP of Node's, driven by the annotations of the proto. */
export class RestDoor {
  readonly #options: RestDoorOptions;
  readonly #bindings = bindingsOf();

  constructor(options: RestDoorOptions) {
    this.#options = options;
  }

  /** Answers one request; never rejects. */
  async handle(request: HttpRequest, response: HttpResponse): Promise<void> {
    const gone = new AbortController();
    response.on('close', () => gone.abort(new Error('the caller left')));
    const { api, peerOf } = this.#options;
    const call = api.begin({ header: (name) => headerOf(request, name), peer: peerOf(request), signal: gone.signal });
    try {
      await call.admit(this.#methodOf(request));
      await this.#answer(call, { request, response, signal: gone.signal });
    } catch (error) {
      refuse(request, response, { error: call.told(error), call });
    }
  }

  async #answer(
    call: ApiCall,
    { request, response, signal }: { readonly request: HttpRequest; readonly response: HttpResponse; readonly signal: AbortSignal },
  ): Promise<void> {
    const url = request.url ?? '/';
    if (url.startsWith(`${CHECK}/`)) {
      await this.#read(request, url.slice(CHECK.length));
      return send(response, { status: 200, body: {}, headers: {} });
    }
    const { match: found, message } = await this.#read(request, url);
    const { method } = found.binding;
    if (method.methodKind === 'server_streaming') {
      const events = await call.open(method as DescMethodServerStreaming, message);
      const form = formFor(headerOf(request, 'accept'));
      response.statusCode = 200;
      setHeaders(response, { 'content-type': form.contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no', ...call.headers });
      (response as ServerResponse).flushHeaders(); // HTTP/2 has it too; its type does not say so
      return writeEvents(response, events, { form, requestId: call.identity.requestId, signal });
    }
    const answer = await call.run(method as DescMethodUnary, message);
    const body = wireOf(method.output, answer.message);
    send(response, { status: answer.httpStatus, body, headers: call.headers });
  }

  /** For the record of one who is not known; it need not be well-formed. */
  #methodOf({ method = '', url = '' }: HttpRequest): string {
    const [path = ''] = (url.startsWith(`${CHECK}/`) ? url.slice(CHECK.length) : url).split('?');
    return match(this.#bindings, method, path)?.binding.method.name ?? '';
  }

  async #read(request: HttpRequest, url: string): Promise<Read> {
    const [, path = '', query = ''] = /^([^?]*)\??(.*)$/s.exec(url) ?? [];
    if (/#|[^\x21-\x7e]/.test(url)) throw wrong('path', 'has a character that belongs escaped');
    if (/%(?:2f|5c|00)/i.test(path)) throw wrong('path', 'has an escaped slash, backslash or NUL'); // of which path it is, proxies disagree
    const found = match(this.#bindings, request.method ?? '', resolved(path));
    if (found === undefined) {
      const issues = [{ path: 'path', message: 'is not known, or not with this method' }];
      throw new BifrostError({ code: 'PATH_NOT_FOUND', message: 'There is no such path.', issues });
    }
    const bytes = await readBody(request, this.#options.maxBodyBytes);
    if (bytes.length > 0) requireJson(request, found);
    const text = textOf(bytes);
    return { match: found, message: requestMessage({ match: found, query, body: text === '' ? undefined : parseStrict(text) }) };
  }
}

/** Dot segments are resolved, as every proxy does; the host of an absolute path is nothing to us. Two slashes at its beginning are no host. */
const resolved = (path: string): string => URL.parse(path.startsWith('/') ? `http://service${path}` : path)?.pathname ?? path;

/** @throws {BifrostError} `INVALID_ARGUMENT` */
function requireJson(request: HttpRequest, { binding }: Match): void {
  if (!binding.hasBody) throw wrong('', 'This call takes no body.');
  const [type, encoding] = [headerOf(request, 'content-type'), headerOf(request, 'content-encoding')];
  if (type !== undefined && !/^application\/json\s*(?:;|$)/i.test(type)) throw wrong('content-type', 'must be application/json');
  if (encoding !== undefined && encoding !== 'identity') throw wrong('content-encoding', 'is not taken: send the body as it is');
}

interface Sent {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
}

function setHeaders(response: HttpResponse, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
}

function send(response: HttpResponse, { status, body, headers }: Sent): void {
  response.statusCode = status;
  setHeaders(response, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers });
  response.end(JSON.stringify(body));
}

function refuse(request: HttpRequest, response: HttpResponse, { error, call }: { readonly error: BifrostError; readonly call: ApiCall }): void {
  if (response.headersSent || response.destroyed) return;
  if (!request.complete) {
    if (request.httpVersionMajor < 2) response.setHeader('connection', 'close'); // nobody waits for the rest of the body
    request.resume(); // what is under way is drained, or its end would reset the connection under the answer
  }
  send(response, { status: httpStatusOf(error), body: statusJson(error, call.identity.requestId), headers: call.headers });
}
