import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { BifrostError } from '@bifrost/types/core';
import { type DescMethodUnary, toJson } from '@bufbuild/protobuf';
import type { Caller } from './caller.ts';
import { httpStatusOf, statusJson, told } from './errors.ts';
import { bindingsOf, match } from './http-rules.ts';
import type { NetworkApi } from './network-api.ts';
import { readBody } from './rest-body.ts';
import { requestMessage, wrong } from './rest-request.ts';
import { parseStrict } from './strict-json.ts';

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

export interface RestDoorOptions {
  readonly api: NetworkApi;
  readonly maxBodyBytes: number;
}

const headerOf = (request: HttpRequest, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
};

/** Reserved characters stay escaped, as a door in front leaves them. @throws {BifrostError} `INVALID_ARGUMENT` */
function unescaped(text: string): string {
  try {
    return text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) => decodeURIComponent(run.replace(/%(?=21|2[346789A-Fa-f]|3[ABDFabdf]|40|5[BDbd])/g, '%25')));
  } catch {
    throw wrong('path', 'has a malformed percent escape');
  }
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
    try {
      await this.#answer(request, response, gone.signal);
    } catch (error) {
      refuse(request, response, told(error));
    }
  }

  async #answer(request: HttpRequest, response: HttpResponse, signal: AbortSignal): Promise<void> {
    const url = URL.parse(request.url ?? '/', 'http://service');
    const found = url === null ? undefined : match(this.#bindings, request.method ?? '', url.pathname);
    if (url === null || found === undefined)
      throw new BifrostError({ code: 'PATH_NOT_FOUND', message: 'There is no such path.', issues: [{ path: 'path', message: 'is not known' }] });
    const bound = new Map([...found.bound].map(([name, text]) => [name, unescaped(text)]));
    const text = found.binding.hasBody ? await readBody(request, this.#options.maxBodyBytes) : '';
    const body = text === '' ? undefined : parseStrict(text);
    const message = requestMessage({ match: { binding: found.binding, bound }, query: url.searchParams, body });
    const caller: Caller = { header: (name) => headerOf(request, name), peer: { address: request.socket?.remoteAddress ?? '' }, signal };
    const method = found.binding.method as DescMethodUnary;
    const answer = await this.#options.api.call(method, message, caller);
    const json = toJson(method.output, answer.message, { useProtoFieldName: true, alwaysEmitImplicit: true });
    send(response, { status: answer.httpStatus, body: json, headers: answer.headers });
  }
}

interface Sent {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

function send(response: HttpResponse, { status, body, headers = {} }: Sent): void {
  response.statusCode = status;
  const all = { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers };
  for (const [name, value] of Object.entries(all)) response.setHeader(name, value);
  response.end(JSON.stringify(body));
}

function refuse(request: HttpRequest, response: HttpResponse, error: BifrostError): void {
  if (response.headersSent || response.destroyed) return;
  if (!request.complete) {
    if (request.httpVersionMajor < 2) response.setHeader('connection', 'close'); // nobody waits for the rest of the body
    request.resume(); // what is under way is drained, or its end would reset the connection under the answer
  }
  send(response, { status: httpStatusOf(error), body: statusJson(error) });
}
