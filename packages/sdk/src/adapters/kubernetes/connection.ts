import { BifrostError } from '@bifrost/types/core';
import { type Dispatcher, Pool, ProxyAgent } from 'undici';
import { untilAborted } from '../../domain/until-aborted.ts';
import type { Logger } from '../../ports/logger.ts';
import { type Answer, type ApiRequest, drop, headersOf, readAnswer, readLines, targetOf } from './answers.ts';
import { CONTENT } from './api-types.ts';
import { type CredentialOptions, type CredentialSource, type Credentials, createCredentialSource } from './credentials.ts';
import { clusterError, unavailable } from './errors.ts';

/** Options of {@link kubernetes}. */
export interface KubernetesOptions extends CredentialOptions {
  /** Longest time for one answer. @default 15000 */
  readonly timeoutMs?: number;
  /** Connections for ordinary requests; watches have their own beside them. @default 16 */
  readonly maxConnections?: number;
  /** Largest answer that is read. @default 67108864 */
  readonly maxBodyBytes?: number;
  /** How often what is watched is listed anew all the same, milliseconds: a change that never came as an event is seen then. @default 600000 */
  readonly relistMs?: number;
  readonly logger?: Logger;
}

/** One API server, by one pool of connections. The adapters of the Cluster and Store ports share it. */
export interface KubernetesConnection extends AsyncDisposable {
  readonly logger: Logger;
  /** See {@link KubernetesOptions.relistMs}. */
  readonly relistMs?: number;
  /**
   * Sends one request. A refusal (any status of the API server) is an answer, not an error; nothing is repeated, except that a 401 is tried
   * once more when the credentials have meanwhile been renewed.
   *
   * @throws {BifrostError} `CLUSTER_UNAVAILABLE` — no answer in time, or one that does not come from an API server. `MANAGER_STOPPED` — disposed.
   */
  send<T>(request: ApiRequest): Promise<Answer<T>>;
  /**
   * The lines of a watch, parsed. Ends when the server ends it; rejects when nothing came for `idleTimeoutMs`.
   *
   * @throws {BifrostError} as {@link KubernetesConnection.send}, and the error of a refusal.
   */
  stream(request: Omit<ApiRequest, 'method'> & { readonly idleTimeoutMs: number }): AsyncGenerator<unknown, void, void>;
  /** One user more. When the last user is disposed the pool closes; a later user opens it again. */
  retain(): AsyncDisposable;
}

/** Watches that can run beside `maxConnections` requests without taking their room: pods, tailnets, sidecars, workloads of five kinds, and some to spare. */
const WATCH_CONNECTIONS = 12;
/** What a connection that says nothing of `relistMs` means by it. */
export const RELIST_MS = 600_000;
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const SILENT: Logger = { log: () => undefined };

/**
 * A connection to a Kubernetes API server for {@link kubernetesCluster} and {@link kubernetesStore}. Opens nothing before the first request.
 *
 * @example
 * const connection = kubernetes({ kubeconfig: '/etc/bifrost/kubeconfig' });
 * const cluster = kubernetesCluster({ connection });
 * const store = kubernetesStore({ connection });
 * // Disposing cluster and store closes the pool, once; disposing the connection closes it for good.
 */
export function kubernetes(options: KubernetesOptions = {}): KubernetesConnection {
  return new PooledConnection(options);
}

interface Transport {
  readonly key: string;
  readonly dispatcher: Dispatcher;
}

class PooledConnection implements KubernetesConnection {
  readonly logger: Logger;
  readonly relistMs: number;
  readonly #options: { readonly timeoutMs: number; readonly maxConnections: number; readonly maxBodyBytes: number };
  readonly #credentials: CredentialSource;
  readonly #streams = new Set<AbortController>();
  #transport: Transport | undefined;
  #users = 0;
  #disposed = false;

  constructor(options: KubernetesOptions) {
    const { timeoutMs = 15_000, maxConnections = 16, maxBodyBytes = 64 * 1024 * 1024, relistMs = RELIST_MS, logger = SILENT } = options;
    if (!(timeoutMs > 0) || !(maxConnections >= 1) || !(maxBodyBytes > 0) || !(relistMs > 0)) {
      throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'timeoutMs, maxConnections, maxBodyBytes and relistMs must be positive' });
    }
    this.logger = logger;
    this.relistMs = relistMs;
    this.#options = { timeoutMs, maxConnections, maxBodyBytes };
    this.#credentials = createCredentialSource(options, () => performance.now());
  }

  async send<T>(request: ApiRequest): Promise<Answer<T>> {
    const { signal } = request;
    signal.throwIfAborted();
    const limit = new AbortController();
    const onAbort = (): void => limit.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    const timer = setTimeout(() => limit.abort(new DOMException('the API server did not answer in time', 'TimeoutError')), this.#options.timeoutMs);
    try {
      const response = await this.#open(request, limit.signal, this.#options.timeoutMs);
      return await readAnswer<T>(response, request, this.#options.maxBodyBytes);
    } catch (error) {
      throw translated(error, request);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async *stream(request: Omit<ApiRequest, 'method'> & { readonly idleTimeoutMs: number }): AsyncGenerator<unknown, void, void> {
    const { signal, idleTimeoutMs } = request;
    const get: ApiRequest = { ...request, method: 'GET' };
    signal.throwIfAborted();
    const limit = new AbortController();
    const onAbort = (): void => limit.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    this.#streams.add(limit);
    try {
      const response = await this.#open(get, limit.signal, idleTimeoutMs);
      if (response.statusCode !== 200) {
        const answer = await readAnswer(response, get, this.#options.maxBodyBytes);
        if (!answer.ok) throw clusterError(answer.problem, subjectOf(get));
      }
      yield* readLines(response.body, subjectOf(get), MAX_LINE_BYTES);
    } catch (error) {
      throw translated(error, get);
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#streams.delete(limit);
      limit.abort(); // `break` of the reader ends the request
    }
  }

  retain(): AsyncDisposable {
    this.#users += 1;
    let released = false;
    return {
      [Symbol.asyncDispose]: async () => {
        if (released) return;
        released = true;
        this.#users -= 1;
        if (this.#users === 0) await this.#close();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await this.#close();
  }

  async #open(request: ApiRequest, signal: AbortSignal, idleTimeoutMs: number): Promise<Dispatcher.ResponseData> {
    const credentials = await untilAborted(this.#credentials.current(), signal);
    const response = await this.#dispatch(request, credentials, { signal, idleTimeoutMs });
    if (response.statusCode !== 401) return response;
    const renewed = await untilAborted(this.#credentials.renew(), signal);
    if (sameHeaders(renewed.headers, credentials.headers) && renewed.poolKey === credentials.poolKey) return response;
    await drop(response);
    return this.#dispatch(request, renewed, { signal, idleTimeoutMs });
  }

  #dispatch(
    request: ApiRequest,
    credentials: Credentials,
    { signal, idleTimeoutMs }: { readonly signal: AbortSignal; readonly idleTimeoutMs: number },
  ): Promise<Dispatcher.ResponseData> {
    const body = request.body === undefined ? {} : { body: JSON.stringify(request.body) };
    return this.#dispatcher(credentials).request({
      origin: credentials.origin,
      path: credentials.pathPrefix + targetOf(request),
      method: request.method,
      headers: headersOf(request, credentials.headers, CONTENT.json),
      headersTimeout: this.#options.timeoutMs,
      bodyTimeout: idleTimeoutMs,
      signal,
      ...body,
    });
  }

  #dispatcher(credentials: Credentials): Dispatcher {
    if (this.#disposed) throw new BifrostError({ code: 'MANAGER_STOPPED', message: 'the connection to the API server is closed' });
    if (this.#transport?.key === credentials.poolKey) return this.#transport.dispatcher;
    // Another CA or client certificate: requests under way finish on the old pool.
    void this.#transport?.dispatcher.close();
    const dispatcher = createDispatcher(credentials, this.#options);
    this.#transport = { key: credentials.poolKey, dispatcher };
    return dispatcher;
  }

  async #close(): Promise<void> {
    const transport = this.#transport;
    this.#transport = undefined;
    const closed = new BifrostError({ code: 'MANAGER_STOPPED', message: 'the connection to the API server is closed' });
    for (const stream of this.#streams) stream.abort(closed);
    await transport?.dispatcher.close();
  }
}

function createDispatcher(
  credentials: Credentials,
  { timeoutMs, maxConnections }: { readonly timeoutMs: number; readonly maxConnections: number },
): Dispatcher {
  const common = { connections: maxConnections + WATCH_CONNECTIONS, pipelining: 1, allowH2: false, keepAliveTimeout: 30_000 };
  const connect = { ...credentials.tls, timeout: timeoutMs, keepAlive: true, keepAliveInitialDelay: 30_000 };
  if (credentials.proxyUrl !== undefined) return new ProxyAgent({ ...common, uri: credentials.proxyUrl, requestTls: connect });
  return new Pool(credentials.origin, { ...common, connect });
}

const subjectOf = ({ method, path }: ApiRequest): string => `${method} ${path}`;

function translated(error: unknown, request: ApiRequest): unknown {
  if (request.signal.aborted) return request.signal.reason;
  return BifrostError.is(error) ? error : unavailable(subjectOf(request), error);
}

function sameHeaders(left: Readonly<Record<string, string>>, right: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(left);
  return names.length === Object.keys(right).length && names.every((name) => left[name] === right[name]);
}
