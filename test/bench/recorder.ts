import type { KubernetesConnection } from '@bifrost/sdk/kubernetes';
import { Pool } from 'undici';
import type { ApiServer } from '../support/api-server.ts';

type Send = KubernetesConnection['send'];
type Sent = Parameters<Send>[0];

/** One request as it was sent, and the version of the object in its answer. */
export interface Traced {
  readonly method: Sent['method'];
  readonly path: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly answeredVersion: string | undefined;
}

/** A workload that the recorded requests are sent to again. */
export interface Target {
  readonly name: string;
  readonly uid: string;
  readonly sidecarId: string;
}

const targetOf = ({ path, query }: Sent): string => {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) parameters.append(name, String(value));
  return parameters.size === 0 ? path : `${path}?${parameters}`;
};

/** A connection that counts what passes through it, and writes it down while asked to. */
export class Recorder implements KubernetesConnection {
  readonly #inner: KubernetesConnection;
  #reads = 0;
  #writes = 0;
  #trace: (Traced | undefined)[] | undefined;

  constructor(inner: KubernetesConnection) {
    this.#inner = inner;
  }

  get logger() {
    return this.#inner.logger;
  }

  async send<T>(request: Sent) {
    if (request.method === 'GET') this.#reads += 1;
    else this.#writes += 1;
    // In the order of sending: an answer may come after that of a request sent later.
    const slot = this.#trace?.push(undefined) ?? 0;
    const trace = this.#trace;
    const answer = await this.#inner.send<T>(request);
    if (trace !== undefined) trace[slot - 1] = traced(request, answer);
    return answer;
  }

  stream(request: Parameters<KubernetesConnection['stream']>[0]) {
    this.#reads += 1;
    return this.#inner.stream(request);
  }

  retain(): AsyncDisposable {
    return this.#inner.retain();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#inner[Symbol.asyncDispose]());
  }

  async trace(action: () => Promise<unknown>): Promise<readonly Traced[]> {
    const trace: (Traced | undefined)[] = [];
    this.#trace = trace;
    await action();
    this.#trace = undefined;
    return trace.filter((one) => one !== undefined);
  }

  count(): { readonly reads: number; readonly writes: number } {
    return { reads: this.#reads, writes: this.#writes };
  }

  since(before: { readonly reads: number; readonly writes: number }): { readonly reads: number; readonly writes: number } {
    return { reads: this.#reads - before.reads, writes: this.#writes - before.writes };
  }
}

function traced(request: Sent, answer: unknown): Traced {
  const { ok, body } = answer as { ok: boolean; body?: { metadata?: { resourceVersion?: string } } };
  return {
    method: request.method,
    path: request.path,
    target: targetOf(request),
    headers: {
      accept: request.accept ?? 'application/json',
      ...(request.body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json' }),
    },
    body: request.body === undefined ? undefined : JSON.stringify(request.body),
    answeredVersion: ok ? body?.metadata?.resourceVersion : undefined,
  };
}

interface ReplayInput {
  readonly api: ApiServer;
  readonly trace: readonly Traced[];
  readonly recorded: Target;
  readonly targets: readonly Target[];
  readonly inFlight: number;
}

/** The recorded requests again for each target, in order, by a bare client: attaches per second. Names are written in before the clock starts. */
export async function replay({ api, trace, recorded, targets, inFlight }: ReplayInput): Promise<number> {
  const sidecarIdOfTrace =
    /bifrost-([0-9a-f-]{36})/.exec(trace.find(({ path }) => path.includes('/secrets/bifrost-'))?.path ?? '')?.[1] ?? recorded.sidecarId;
  const prepared = targets.map((target) => {
    const written = (text: string): string =>
      text.replaceAll(recorded.uid, target.uid).replaceAll(sidecarIdOfTrace, target.sidecarId).replaceAll(recorded.name, target.name);
    return trace.map((one) => ({ ...one, target: written(one.target), body: one.body === undefined ? undefined : written(one.body) }));
  });
  const pool = new Pool(api.url, { connections: inFlight, connect: { ca: api.certificateAuthority } });
  const authorization = `Bearer ${api.adminToken}`;
  try {
    const fromMs = performance.now();
    const worker = async (): Promise<void> => {
      for (let requests = prepared.pop(); requests !== undefined; requests = prepared.pop()) {
        let version = ''; // of the attachment: its state is written by compare-and-swap
        for (const { method, target, headers, body, answeredVersion } of requests) {
          const answer = await pool.request({
            method,
            path: target,
            headers: { ...headers, authorization },
            ...(body === undefined ? {} : { body: current(body, version) }),
          });
          const text = await answer.body.text();
          const parsed = JSON.parse(text) as { metadata?: { resourceVersion?: string } };
          if (answeredVersion !== undefined && answer.statusCode > 299)
            throw new RangeError(`${method} ${target}: HTTP ${answer.statusCode} ${text.slice(0, 300)}`);
          if (target.includes('/sidecarattachments')) version = parsed.metadata?.resourceVersion ?? version;
        }
      }
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
    return targets.length / ((performance.now() - fromMs) / 1_000);
  } finally {
    await pool.close();
  }
}

/** The version that a recorded write insisted on, as it is now. */
const current = (body: string, version: string): string =>
  body.includes('/metadata/resourceVersion') ? body.replace(/("path":"\/metadata\/resourceVersion","value":")\d+(")/, `$1${version}$2`) : body;
