import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { fromWire, REPORT_LIMITS, Secret } from '@bifrost/types/core';
import type { Delivery, Ingest } from '../../ports/ingest.ts';
import { exchange, type Outcome, parseJson } from './call.ts';

export interface IngestOptions {
  readonly url: URL;
  /** Read at each use: the kubelet renews it. */
  readonly tokenFile: string;
  /** Read at each use: a new one is spread before the certificate changes. */
  readonly caFile?: string;
  readonly agentVersion: string;
}

const TIMEOUT_MS = 5000;

/** Posts reports to the manager over HTTPS, or HTTP on loopback. Opens nothing before the first call. */
export class HttpIngest implements Ingest {
  readonly #options: IngestOptions;
  #agent: Agent | undefined;
  #ca: string | undefined;

  constructor(options: IngestOptions) {
    this.#options = options;
  }

  async send(body: string, { signal }: { readonly signal: AbortSignal }): Promise<Delivery> {
    const token = readText(this.#options.tokenFile);
    if (!token) return { kind: 'later', reason: 'token-missing' };
    const ca = this.#options.caFile === undefined ? undefined : readText(this.#options.caFile);
    if (this.#options.caFile !== undefined && !ca) return { kind: 'later', reason: 'ca-missing' };
    const { url, agentVersion } = this.#options;
    const options = {
      agent: this.#agentFor(ca),
      protocol: url.protocol,
      hostname: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
      path: url.pathname + url.search,
      method: 'POST',
      headers: {
        authorization: `Bearer ${new Secret(token).reveal()}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': `bifrost-agent/${agentVersion}`,
      },
    };
    return deliveryOf(
      await exchange(
        this.#isPlain() ? request : secure().request,
        { options, body, timeoutMs: TIMEOUT_MS, maxBytes: REPORT_LIMITS.maxAnswerBytes },
        { signal },
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent?.destroy();
  }

  #isPlain(): boolean {
    return this.#options.url.protocol === 'http:';
  }

  #agentFor(ca: string | undefined): Agent {
    if (this.#agent && ca === this.#ca) return this.#agent;
    this.#agent?.destroy();
    this.#ca = ca;
    const options = { keepAlive: true, maxSockets: 1 };
    this.#agent = this.#isPlain() ? new Agent(options) : new (secure().Agent)({ ...options, ...(ca === undefined ? {} : { ca }) });
    return this.#agent;
  }
}

/** Loaded when needed: it costs two MiB that a plain loopback agent does not have to pay. */
const secure = () => process.getBuiltinModule('node:https');

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined; // not there yet, or being replaced
  }
}

function deliveryOf(outcome: Outcome): Delivery {
  if (!outcome.ok) return { kind: 'later', reason: outcome.reason };
  const { status, headers, body } = outcome;
  const reason = `status-${status}`;
  if (status >= 200 && status < 300) return { kind: 'taken', ...wishIn(body) };
  // 401 and 403 pass: the token or the attachment may only just be on its way to the manager.
  if (status >= 400 && status < 500 && ![401, 403, 408, 429].includes(status)) return { kind: 'refused', reason };
  const retryAfterMs = retryAfter(headers['retry-after']);
  return { kind: 'later', reason, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

function wishIn(body: string): { nextHeartbeatMs?: number; guard?: unknown } {
  const json = fromWire(parseJson(body));
  if (typeof json !== 'object' || json === null) return {};
  const { nextHeartbeatMs: wish, guard }: { readonly nextHeartbeatMs?: unknown; readonly guard?: unknown } = json;
  return { ...(typeof wish === 'number' && Number.isFinite(wish) ? { nextHeartbeatMs: wish } : {}), ...(guard === undefined ? {} : { guard }) };
}

/** Seconds, or an HTTP date. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const milliseconds = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return milliseconds >= 0 ? milliseconds : undefined;
}
