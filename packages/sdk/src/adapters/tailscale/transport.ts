import { BifrostError } from '@bifrost/types/core';
import { Agent } from 'undici';
import type { CallOptions } from '../../ports/store.ts';
import type { TailscaleOperation } from './operations.ts';
import type { ResolvedTailscaleOptions } from './options.ts';

const MAX_BODY_BYTES = 8 * 1024 * 1024;

/** One HTTP exchange, and the words for it in error messages. */
export interface ApiRequest {
  readonly operation: TailscaleOperation;
  /** What is being done: "listing devices". */
  readonly action: string;
  /** The OAuth scope that it needs. */
  readonly scope: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** @default 'api' */
  readonly server?: 'api' | 'login';
  /** After `/api/v2`, or after the login server's own, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly text: string;
}

/** The only user of the HTTP library: one pool of connections, a deadline per exchange, bounded bodies, faults by code. */
export class ApiTransport implements AsyncDisposable {
  readonly #options: ResolvedTailscaleOptions;
  readonly #agent: Agent;
  readonly #servers: Readonly<Record<'api' | 'login', { readonly origin: string; readonly prefix: string }>>;
  #closing: Promise<void> | undefined;

  constructor(options: ResolvedTailscaleOptions) {
    this.#options = options;
    this.#servers = { api: serverOf(options.baseUrl, '/api/v2'), login: serverOf(options.loginServer, '') };
    // The deadline below covers connecting, headers and body together.
    this.#agent = new Agent({ connections: 64, headersTimeout: 0, bodyTimeout: 0, maxResponseSize: MAX_BODY_BYTES, connect: { timeout: 0 } });
  }

  async send(request: ApiRequest, options: CallOptions): Promise<ApiAnswer> {
    options.signal.throwIfAborted();
    if (this.#closing) throw new BifrostError({ code: 'MANAGER_STOPPED', message: 'this control plane was disposed; make a new one' });
    const exchange = new AbortController();
    const settled = new AbortController();
    const onAbort = () => exchange.abort(options.signal.reason);
    options.signal.addEventListener('abort', onAbort, { once: true });
    const { clock, timeoutMs } = this.#options;
    const late = new DOMException(`no answer within ${timeoutMs} ms`, 'TimeoutError');
    clock.sleep(timeoutMs, { signal: settled.signal }).then(
      () => exchange.abort(late),
      () => {},
    );
    try {
      return await this.#exchange(request, exchange.signal);
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      throw toBifrostError(request, error);
    } finally {
      options.signal.removeEventListener('abort', onAbort);
      settled.abort();
    }
  }

  async #exchange(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    const { origin, prefix } = this.#servers[request.server ?? 'api'];
    const answer = await this.#agent.request({
      origin,
      path: prefix + request.path,
      method: request.method,
      headers: { accept: 'application/json', 'user-agent': `${this.#options.userAgent} (${request.operation})`, ...request.headers },
      body: request.body ?? null,
      signal,
    });
    const text = await answer.body.text();
    const header = (name: string): string | undefined => {
      const value = answer.headers[name];
      return Array.isArray(value) ? value[0] : value;
    };
    return { status: answer.statusCode, header, text };
  }

  /** Waits for exchanges under way (their deadlines bound it), then closes all connections. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#agent.close();
    return this.#closing;
  }
}

function serverOf(url: string, path: string): { readonly origin: string; readonly prefix: string } {
  const { origin, pathname } = new URL(url);
  return { origin, prefix: pathname.replace(/\/+$/, '') + path };
}

function codeOf(error: unknown): string {
  for (let at = error; typeof at === 'object' && at !== null; at = (at as { cause?: unknown }).cause) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string') return code;
  }
  return '';
}

function toBifrostError({ action }: ApiRequest, error: unknown): BifrostError {
  const code = codeOf(error);
  // A parser's fault carries the bytes that it stumbled over, maybe a key: it is named, not kept as the cause.
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE' || code.startsWith('HPE_')) {
    const message = `${action}: the answer is not HTTP or larger than ${MAX_BODY_BYTES} bytes; check that baseUrl leads to API v2`;
    return new BifrostError({ code: 'CONTROL_ANSWER_INVALID', message, details: { fault: code } });
  }
  const message = `${action}: the control plane did not answer; check baseUrl, DNS and egress if this stays`;
  return new BifrostError({ code: 'CONTROL_UNAVAILABLE', message, cause: error, ...(code === '' ? {} : { details: { fault: code } }) });
}
