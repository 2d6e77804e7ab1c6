import { Agent, type IncomingHttpHeaders, request as send } from 'node:http';
import { ErrorInfoSchema, HelpSchema, NetworkManager } from '@bifrost/types/proto';
import { type Client, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { expect, vi } from 'vitest';
import { type ApiServer, type ApiServerOptions, apiKeyAuthenticator, createApiKey, createApiServer } from '../../../src/server/index.ts';
import { BOOK, type Opened, openWorld, type WorldOptions } from '../../support/world.ts';

export const PLENTY = { pointsPerSecond: 100_000, burst: 1_000_000 } as const;
export const ROLES = ['viewer', 'operator', 'admin'] as const;
export const TAILNET = 'acme-corp-production';
export const EVERYBODY = [
  'viewer:acme-corp',
  'operator:acme-corp',
  'admin:acme-corp',
  'viewer:other-corp',
  'operator:other-corp',
  'admin:other-corp',
  'admin:*',
];

export interface Sent {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}
export interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: unknown;
}
export type GrpcClient = Client<typeof NetworkManager>;

const KEYS = new Map(EVERYBODY.map((roles) => [roles, createApiKey({ id: roles.replace(':', '-').replace('*', 'all') })]));

/** A started world with a served manager: REST and gRPC on one port of loopback. Callers are named by what they may do: `viewer:acme-corp`. */
export class Served implements AsyncDisposable {
  readonly world: Opened;
  readonly server: ApiServer;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 200 });
  readonly #ends = new AbortController();
  port = 0;

  private constructor(world: Opened, server: ApiServer) {
    this.world = world;
    this.server = server;
  }

  static async open({ world: options = {}, ...api }: Partial<ApiServerOptions> & { readonly world?: WorldOptions } = {}): Promise<Served> {
    const world = await openWorld(options);
    await world.addCustomer('other-corp');
    const server = createApiServer({
      manager: world.manager,
      audit: world.audit,
      logger: world.logger,
      clock: world.clock,
      authenticator: apiKeyAuthenticator({
        keys: [...KEYS].map(([roles, { id, sha256 }]) => ({ id, sha256, subject: roles, roles: [roles] })),
      }),
      rateLimits: { caller: PLENTY, customer: PLENTY, attempt: PLENTY },
      ...api,
    });
    const served = new Served(world, server);
    served.port = (await server.listen(0)).port;
    return served;
  }

  key(who: string): string {
    return KEYS.get(who)?.key.reveal() ?? who;
  }

  as(who: string): { readonly 'x-api-key': string } {
    return { 'x-api-key': this.key(who) };
  }

  grpc(who: string, headers: Readonly<Record<string, string>> = {}, heard?: (headers: Headers) => void): GrpcClient {
    const shown: Interceptor = (next) => async (request) => {
      for (const [name, value] of Object.entries({ ...(who === '' ? {} : this.as(who)), ...headers })) request.header.set(name, value);
      const response = await next({ ...request, signal: AbortSignal.any([request.signal, this.#ends.signal]) });
      heard?.(response.header);
      return response;
    };
    return createClient(NetworkManager, createGrpcTransport({ baseUrl: `http://127.0.0.1:${this.port}`, interceptors: [shown] }));
  }

  rest(who: string, { method = 'GET', path, headers = {}, body }: Sent): Promise<Received> {
    const text = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const shown = {
      ...(who === '' ? {} : this.as(who)),
      ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
      ...headers,
    };
    return new Promise((resolve, reject) => {
      const sent = send({ host: '127.0.0.1', port: this.port, agent: this.#agent, method, path, headers: shown }, (response) => {
        let got = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (got += chunk));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text: got, body: parsed(got) }));
      });
      sent.on('error', reject);
      sent.end(text);
    });
  }

  /** Moves the world's time on until `work` is done: a stream takes a moment of real time to be opened. */
  async beating<Result>(work: Promise<Result>): Promise<Result> {
    let isDone = false;
    const mark = (): void => {
      isDone = true;
    };
    work.then(mark, mark);
    const turn = async (): Promise<void> => {
      await this.world.clock.advance(1_000);
      expect(isDone).toBe(true);
    };
    await vi.waitFor(turn, { timeout: 10_000, interval: 5 });
    return work;
  }

  /** Attaches the world's book and waits for it; the sidecar's id. */
  async connected(): Promise<string> {
    const { sidecarId } = await this.world.manager.attachSidecar(BOOK);
    await this.world.until(async () => (await this.world.sidecars())[0]?.state.phase === 'connected');
    return sidecarId;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ends.abort();
    this.#agent.destroy();
    await this.server.close({ graceMs: 0 });
    await this.world[Symbol.asyncDispose]();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The reason of an error body of REST, with what is wrong. */
export function reasonOf({ body }: Received): { readonly reason: string | undefined; readonly fields: readonly string[] } {
  const { details = [] } = (body ?? {}) as {
    readonly details?: readonly { readonly reason?: string; readonly field_violations?: readonly { readonly field: string }[] }[];
  };
  return {
    reason: details.find(({ reason }) => reason !== undefined)?.reason,
    fields: details.flatMap(({ field_violations = [] }) => field_violations).map(({ field }) => field),
  };
}

/** The whole error of a gRPC call, but for what tells one call from another. */
export async function toldBy(call: () => Promise<unknown>): Promise<Readonly<Record<string, unknown>>> {
  try {
    return { answer: await call() };
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const [info] = error.findDetails(ErrorInfoSchema);
    const { request_id: _, ...metadata } = info?.metadata ?? {};
    const links = error.findDetails(HelpSchema).flatMap((help) => help.links.map(({ url }) => url));
    return { code: error.code, message: error.rawMessage, reason: info?.reason, metadata, links };
  }
}
