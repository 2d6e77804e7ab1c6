import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

/** One request as it goes over the socket. */
export interface WireRequest {
  /** @default 'GET' */
  readonly method?: string;
  /** Below `/localapi/v0/`, such as `status?peers=false`. */
  readonly path: string;
  /** Over `Host: local-tailscaled.sock`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}
/** What came back on the wire. */
export interface WireAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Of the daemon's JSON, what the suite reads by name. Go writes an empty list as null. */
export interface MachineJson {
  readonly ID: string;
  readonly UserID: number;
  readonly HostName: string;
  readonly PublicKey: string;
  readonly Relay: string;
  readonly TailscaleIPs: readonly string[];
  readonly AllowedIPs: readonly string[];
  readonly LastHandshake: string;
  /** Absent when its key does not expire. */
  readonly KeyExpiry?: string;
}
export interface StatusJson {
  readonly Version: string;
  readonly BackendState: string;
  readonly TailscaleIPs: readonly string[];
  readonly Self: MachineJson;
  readonly Peer: Readonly<Record<string, MachineJson>>;
  readonly User: Readonly<Record<string, unknown>>;
  readonly CertDomains: unknown;
  readonly ExtraRecords: unknown;
  readonly ClientVersion: unknown;
}
export interface WhoIsJson {
  readonly Node: { readonly StableID: string; readonly Name: string; readonly Key: string; readonly Tags?: readonly string[] | null };
  readonly UserProfile: { readonly LoginName: string };
}
export interface PingJson {
  readonly LatencySeconds: number;
}
/** One message of the bus. */
export interface NotifyJson {
  readonly State?: number | null;
  readonly Health?: { readonly Warnings: Readonly<Record<string, unknown>> | null };
  readonly [member: string]: unknown;
}
export interface PrefsJson {
  readonly AdvertiseRoutes: readonly string[] | null;
}

const TIMEOUT_MS = 10_000;

function open(socketPath: string, { method = 'GET', path, headers = {}, body }: WireRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { socketPath, method, path: `/localapi/v0/${path}`, agent: false as const, signal: AbortSignal.timeout(TIMEOUT_MS) };
    request({ ...options, headers: { host: 'local-tailscaled.sock', ...headers } }, resolve)
      .on('error', reject)
      .end(body);
  });
}

/** Sends one request on a connection of its own. */
export async function send(socketPath: string, what: WireRequest): Promise<WireAnswer> {
  const incoming = await open(socketPath, what);
  let body = '';
  for await (const chunk of incoming.setEncoding('utf8')) body += chunk;
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body };
}

/** An open stream of the bus. */
export interface Bus extends Disposable {
  readonly status: number;
  /** What has come so far. */
  readonly messages: readonly NotifyJson[];
}

/** Follows the bus; resolves when the headers have come. */
export async function followBus(socketPath: string, mask: number | string): Promise<Bus> {
  const incoming = await open(socketPath, { path: `watch-ipn-bus?mask=${mask}` });
  const messages: NotifyJson[] = [];
  let rest = '';
  incoming.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (incoming.statusCode === 200) for (const line of lines) messages.push(JSON.parse(line) as NotifyJson);
  });
  incoming.on('error', () => {}); // it is we who close it
  return { status: incoming.statusCode ?? 0, messages, [Symbol.dispose]: () => void incoming.destroy() };
}
