import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { BUS, type BusReaders, type Notify, parseMask } from './tailscaled-simulator-bus.ts';
import {
  BACKEND_STATES,
  healthJson,
  nodeJson,
  pingJson,
  prefsJson,
  type SimulatedWorld,
  statusJson,
  userMetrics,
} from './tailscaled-simulator-json.ts';

const PREFIX = '/localapi/v0/';

/** One request on its way through the simulator. */
export interface LocalApiRequest {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  /** The endpoint's name, such as `status`. */
  readonly endpoint: string;
}
interface Context {
  readonly world: SimulatedWorld;
  readonly readers: BusReaders;
}
type Handler = (request: LocalApiRequest, context: Context) => void;

export const localApiRequest = (incoming: IncomingMessage, response: ServerResponse): LocalApiRequest => {
  const url = new URL(incoming.url ?? '/', 'http://local-tailscaled.sock');
  return { incoming, response, url, endpoint: url.pathname.startsWith(PREFIX) ? url.pathname.slice(PREFIX.length) : '' };
};

/** Go's `http.Error`. */
export function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' }).end(`${text}\n`);
}
function json(response: ServerResponse, value: unknown, indent?: string): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(value, null, indent)}\n`);
}

/** What the daemon refuses before it looks at the endpoint. */
export function isForbidden({ headers }: IncomingMessage): boolean {
  return headers.referer !== undefined || headers.origin !== undefined || (headers.host !== 'local-tailscaled.sock' && headers.host !== '');
}

function firstMessage(world: SimulatedWorld, mask: number): Notify | undefined {
  const wantsFirst = mask & (BUS.initialState | BUS.initialPrefs | BUS.initialNetMap | BUS.initialStatus);
  if (!wantsFirst) return undefined; // InitialHealthState alone makes no first message
  return {
    ...(mask & BUS.initialState ? { SessionID: `${world.startedAt}`, State: BACKEND_STATES.indexOf(world.backendState) } : {}),
    ...(mask & BUS.initialPrefs ? { Prefs: prefsJson(world) } : {}),
    ...(mask & BUS.initialStatus ? { InitialStatus: statusJson(world, { withPeers: true }) } : {}),
    ...(mask & BUS.initialNetMap ? { NetMap: { Peers: world.peers.map((peer) => nodeJson(world, peer)) } } : {}),
    ...(mask & BUS.initialHealth ? { Health: healthJson(world) } : {}),
  };
}

const watch: Handler = ({ url, response }, { world, readers }) => {
  const mask = parseMask(url.searchParams.get('mask'));
  if (mask === undefined) return plain(response, 400, 'bad mask');
  response.writeHead(200, { 'content-type': 'application/json' });
  readers.add(response, mask, firstMessage(world, mask));
};

const ping: Handler = ({ incoming, url, response }, { world }) => {
  if (incoming.method !== 'POST') return plain(response, 400, 'want POST');
  const ip = url.searchParams.get('ip');
  if (!ip) return plain(response, 400, "missing 'ip' parameter");
  if (isIP(ip) === 0) return plain(response, 400, 'invalid IP');
  if (!url.searchParams.get('type')) return plain(response, 400, "missing 'type' parameter");
  const result = pingJson(world, ip);
  if (result) json(response, result); // else silence until the caller leaves, as with a peer that does not answer
};

const whois: Handler = ({ url, response }, { world }) => {
  const address = url.searchParams.get('addr');
  if (!address) return plain(response, 400, "missing 'addr' parameter");
  const machine = [world.node, ...world.peers].find(({ ips }) =>
    ips.some((ip) => address === ip || address.startsWith(`${ip}:`) || address.startsWith(`[${ip}]:`)),
  );
  if (!machine) return plain(response, 404, 'no match for IP:port');
  json(response, {
    Node: nodeJson(world, machine),
    UserProfile: { ID: 1000, LoginName: 'tagged-devices', DisplayName: 'Tagged Devices' },
    CapMap: null,
  });
};

const prefs: Handler = ({ incoming, response }, { world }) => {
  if (incoming.method === 'GET' || incoming.method === 'HEAD') return json(response, prefsJson(world));
  plain(response, incoming.method === 'PATCH' ? 403 : 405, incoming.method === 'PATCH' ? 'prefs write access denied' : 'unsupported method');
};

const HANDLERS: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['status', ({ url, response }, { world }) => json(response, statusJson(world, { withPeers: url.searchParams.get('peers') !== 'false' }), '\t')],
  ['watch-ipn-bus', watch],
  ['ping', ping],
  ['whois', whois],
  ['prefs', prefs],
  [
    'usermetrics',
    ({ response }, { world }) => {
      response.writeHead(200, { 'content-type': 'text/plain' }).end(userMetrics(world));
    },
  ],
]);

/** Answers one request as the daemon would. */
export function handleLocalApi(request: LocalApiRequest, context: Context): void {
  const handler = HANDLERS.get(request.endpoint);
  if (handler) handler(request, context);
  else plain(request.response, 404, '404 not found');
}
