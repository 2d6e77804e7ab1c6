import { Agent, type IncomingMessage, request } from 'node:http';
import { BifrostError } from '@bifrost/types/core';
import { type BusHint, readNotify } from '../../domain/bus.ts';
import { readStatus } from '../../domain/daemon.ts';
import type { PingAnswer } from '../../domain/pings.ts';
import { readDroppedPackets, readIdentity, readPrefs } from '../../domain/survey.ts';
import type { CallOptions, DaemonCheck, LocalApi, TimedCallOptions } from '../../ports/local-api.ts';
import { codeOf, exchange, type Outcome, parseJson } from './call.ts';
import { LineSplitter } from './line-splitter.ts';

const HOST = 'local-tailscaled.sock'; // the daemon answers 403 to any other Host
const PING_TIMEOUT_MS = 2000;
const EXTRA_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 3000;
/** A status with more than some thousands of peers; without its peers it is small. */
const MAX_STATUS_BYTES = 4 * 1024 * 1024;
const MAX_LINE_BYTES = 256 * 1024;
/** Of everything but the status. */
const MAX_ANSWER_BYTES = 128 * 1024;
const GONE = ['ENOENT', 'ECONNREFUSED'];
/** The socket's queue of connections is full: somebody listens, and does not take them. */
const SILENT = ['timeout', 'EAGAIN'];

interface RawPing {
  readonly Err?: unknown;
  readonly LatencySeconds?: unknown;
  readonly Endpoint?: unknown;
  readonly PeerRelay?: unknown;
  readonly DERPRegionID?: unknown;
}

/** tailscaled's LocalAPI on its unix socket. Opens nothing before the first call. */
export class UnixLocalApi implements LocalApi {
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8, maxFreeSockets: 2 });
  #isHuge = false;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  async status({ signal, timeoutMs }: TimedCallOptions) {
    const read = () => {
      const options = this.#to('GET', this.#isHuge ? 'status?peers=false' : 'status');
      return exchange(request, { options, timeoutMs, maxBytes: MAX_STATUS_BYTES }, { signal });
    };
    let outcome = await read();
    if (!outcome.ok && outcome.reason === 'too-large') {
      this.#isHuge = true; // and stays so: peers that come and go would count their bytes twice
      outcome = await read();
    }
    const status = readStatus(parseJson(bodyOf(outcome, 'status')));
    if (!status) throw new BifrostError({ code: 'LOCALAPI_UNAVAILABLE', message: 'status: the answer is not a status' });
    return status;
  }

  async answers({ signal, timeoutMs }: TimedCallOptions): Promise<boolean> {
    const options = { ...this.#to('GET', 'status?peers=false'), agent: false as const }; // on a connection of its own
    return (await exchange(request, { options, timeoutMs, maxBytes: MAX_STATUS_BYTES }, { signal })).ok;
  }

  async ping(ip: string, { signal, sizeBytes }: CallOptions & { readonly sizeBytes?: number }): Promise<PingAnswer | undefined> {
    const size = sizeBytes === undefined ? '' : `&size=${sizeBytes}`;
    const options = this.#to('POST', `ping?ip=${encodeURIComponent(ip)}&type=disco${size}`);
    const outcome = await exchange(request, { options, timeoutMs: PING_TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES }, { signal });
    if (!outcome.ok && outcome.reason === 'timeout') return undefined;
    if (outcome.ok && outcome.status === 500) return undefined; // e.g. the peer left the map meanwhile
    return pingAnswer(parseJson(bodyOf(outcome, 'ping')));
  }

  async whoIs(ip: string, options: CallOptions) {
    const body = await this.#extra(`whois?addr=${encodeURIComponent(ip)}`, options);
    return body === undefined ? undefined : readIdentity(parseJson(body));
  }

  async prefs(options: CallOptions) {
    const body = await this.#extra('prefs', options);
    return body === undefined ? undefined : readPrefs(parseJson(body));
  }

  async warns(check: DaemonCheck, options: CallOptions): Promise<boolean | undefined> {
    const body = await this.#extra(`check-${check}`, options);
    const json = body === undefined ? undefined : parseJson(body);
    if (typeof json !== 'object' || json === null || !('Warning' in json)) return undefined;
    return json.Warning !== '';
  }

  async droppedPackets(options: CallOptions) {
    const body = await this.#extra('usermetrics', options);
    return body === undefined ? undefined : readDroppedPackets(body);
  }

  async *watch(mask: number, { signal }: CallOptions): AsyncGenerator<BusHint, void, void> {
    const incoming = await this.#open(`watch-ipn-bus?mask=${mask}`, signal);
    const onAbort = () => incoming.destroy();
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    try {
      const lines = new LineSplitter(MAX_LINE_BYTES);
      for await (const chunk of incoming.setEncoding('utf8')) {
        for (const line of lines.push(chunk as string)) {
          const hint = line === undefined ? {} : readNotify(parseJson(line));
          if (hint) yield hint;
        }
      }
    } catch (error) {
      if (!signal.aborted) throw unavailable('watch-ipn-bus', codeOf(error));
    } finally {
      signal.removeEventListener('abort', onAbort);
      incoming.destroy();
    }
    signal.throwIfAborted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
  }

  #to(method: string, path: string) {
    return { socketPath: this.#socketPath, method, path: `/localapi/v0/${path}`, agent: this.#agent, headers: { host: HOST } };
  }

  /** The answer's body; undefined where the daemon was built without the endpoint, or knows nothing there. */
  async #extra(path: string, { signal }: CallOptions): Promise<string | undefined> {
    const what = { options: this.#to('GET', path), timeoutMs: EXTRA_TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES };
    const outcome = await exchange(request, what, { signal });
    return outcome.ok && outcome.status === 404 ? undefined : bodyOf(outcome, path);
  }

  #open(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const outgoing = request(this.#to('GET', path));
      const end = (reason: string) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        outgoing.destroy();
        reject(signal.aborted ? signal.reason : unavailable(path, reason));
      };
      const onAbort = () => end('aborted');
      const timer = setTimeout(end, CONNECT_TIMEOUT_MS, 'timeout');
      signal.addEventListener('abort', onAbort);
      outgoing.on('error', (error) => end(codeOf(error)));
      outgoing.on('response', (incoming) => {
        if (incoming.statusCode !== 200) return end(`status-${incoming.statusCode}`);
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        resolve(incoming);
      });
      outgoing.end();
    });
  }
}

function bodyOf(outcome: Outcome, what: string): string {
  if (!outcome.ok) throw unavailable(what, outcome.reason);
  if (outcome.status === 200) return outcome.body;
  if (outcome.status === 403) throw new BifrostError({ code: 'LOCALAPI_DENIED', message: `${what}: the daemon refused the request` });
  throw unavailable(what, `status-${outcome.status}`);
}

const unavailable = (what: string, reason: string): BifrostError =>
  new BifrostError({
    code: 'LOCALAPI_UNAVAILABLE',
    message: `${what.split('?', 1)[0]}: no answer from the daemon (${reason})`,
    details: { reason: GONE.includes(reason) ? 'gone' : SILENT.includes(reason) ? 'timeout' : reason },
  });

function pingAnswer(json: unknown): PingAnswer | undefined {
  const raw: RawPing = typeof json === 'object' && json !== null ? json : { Err: 'not an answer' };
  if (raw.Err || typeof raw.LatencySeconds !== 'number' || raw.LatencySeconds < 0) return undefined;
  const path = raw.Endpoint ? 'direct' : raw.PeerRelay ? 'peer-relay' : raw.DERPRegionID ? 'derp' : 'none';
  return { latencyMs: Math.round(raw.LatencySeconds * 1e5) / 1e2, path };
}
