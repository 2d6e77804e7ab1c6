import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { BUS, type BusReaders, type Notify, parseMask, wantsFirst } from './tailscaled-simulator-bus.ts';
import {
  BACKEND_STATES,
  healthJson,
  nodeJson,
  nodeKeyOf,
  pingJson,
  type SimulatedChecks,
  type SimulatedNode,
  type SimulatedPeer,
  type SimulatedWorld,
  statusJson,
  userOf,
} from './tailscaled-simulator-json.ts';
import { prefsJson, userMetrics } from './tailscaled-simulator-settings.ts';

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
  /** Bits that this daemon answers 400 to, beside those that every daemon refuses. */
  readonly refusedBusBits: number;
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
  if (!wantsFirst(mask)) return undefined;
  const netMap = { SelfChange: nodeJson(world, world.node), NetMap: { Peers: world.peers.map((peer) => nodeJson(world, peer)) } };
  return {
    ...(mask & BUS.initialState ? { SessionID: `${Date.parse(world.startedAt).toString(16)}`.padStart(16, '0') } : {}),
    ...(mask & BUS.initialState ? { State: BACKEND_STATES.indexOf(world.backendState) } : {}),
    ...(mask & BUS.initialPrefs ? { Prefs: prefsJson(world) } : {}),
    ...(mask & BUS.initialStatus ? { InitialStatus: statusJson(world, { withPeers: true }) } : {}),
    ...(mask & BUS.initialNetMap ? netMap : {}),
    ...(mask & BUS.initialHealth ? { Health: healthJson(world) } : {}),
    ...(mask & BUS.peerStates && world.handshakes.size > 0 ? { PeerState: peerStates([...world.handshakes]) } : {}),
  };
}

/** The `PeerState` member of bus messages. */
export const peerStates = (handshakes: readonly (readonly [peerId: string, at: string])[]): object =>
  Object.fromEntries(handshakes.map(([id, at]) => [id, { PeerWireGuardState: 'established', PeerWireGuardStateAt: at }]));

const watch: Handler = ({ url, response }, { world, readers, refusedBusBits }) => {
  const mask = parseMask(url.searchParams.get('mask'));
  if (typeof mask === 'string') return plain(response, 400, mask);
  if (mask & refusedBusBits) return plain(response, 400, 'simulated: this daemon refuses these bits');
  response.writeHead(200, { 'content-type': 'application/json' });
  readers.add(response, mask, firstMessage(world, mask));
};

const MAX_PING_BYTES = 65_467;
const PING_TYPES = ['disco', 'TSMP', 'ICMP'];

/** What the daemon finds wrong with a ping before it sends one. */
function pingFault(method: string | undefined, query: URLSearchParams): string | undefined {
  const [ip, type, size] = [query.get('ip'), query.get('type'), query.get('size')];
  if (method !== 'POST') return 'want POST';
  if (!ip) return "missing 'ip' parameter";
  if (isIP(ip) === 0) return 'invalid IP';
  if (!type) return "missing 'type' parameter";
  if (!size) return undefined;
  if (!/^[+-]?\d+$/.test(size)) return "invalid 'size' parameter";
  if (Number(size) !== 0 && type !== 'disco') return "'size' parameter is only supported with disco pings";
  return Number(size) > MAX_PING_BYTES ? `maximum value for 'size' is ${MAX_PING_BYTES}` : undefined;
}

const ping: Handler = ({ incoming, url, response }, { world }) => {
  const fault = pingFault(incoming.method, url.searchParams);
  if (fault !== undefined) return plain(response, 400, fault);
  const [ip, type, size] = ['ip', 'type', 'size'].map((name) => url.searchParams.get(name) ?? '');
  const result = PING_TYPES.includes(type ?? '') ? pingJson(world, ip ?? '', Number(size)) : undefined;
  if (result) json(response, result); // else silence until the caller leaves, as with a peer that does not answer
};

/** The address of `100.64.0.2`, `100.64.0.2:443`, `[fd7a::2]:443`; undefined when it is none. */
function addressOf(text: string): string | undefined {
  const bare = /^\[(.*)\]:\d{1,5}$/.exec(text)?.[1] ?? /^([^:]*):\d{1,5}$/.exec(text)?.[1] ?? text;
  return isIP(bare) === 0 ? undefined : bare;
}

const whois: Handler = ({ url, response }, { world }) => {
  const asked = url.searchParams.get('addr');
  if (!asked) return plain(response, 400, "missing 'addr' parameter");
  const isKey = asked.startsWith('nodekey:');
  if (isKey && !/^nodekey:[0-9a-f]{64}$/.test(asked)) return plain(response, 400, "invalid nodekey in 'addr' parameter");
  const address = isKey ? undefined : addressOf(asked);
  if (!isKey && address === undefined) return plain(response, 400, "invalid 'addr' parameter");
  const matches = ({ id, ips }: SimulatedNode | SimulatedPeer) => (isKey ? nodeKeyOf(id) === asked : ips.includes(address ?? ''));
  const machine = [world.node, ...world.peers].find(matches);
  if (!machine) return plain(response, 404, 'no match for IP:port');
  json(response, { Node: nodeJson(world, machine), UserProfile: userOf(machine), CapMap: null }, '\t');
};

const prefs: Handler = ({ incoming, response }, { world }) => {
  if (incoming.method === 'GET' || incoming.method === 'HEAD') return json(response, prefsJson(world), '\t');
  plain(response, incoming.method === 'PATCH' ? 403 : 405, incoming.method === 'PATCH' ? 'prefs write access denied' : 'unsupported method');
};

const check =
  (name: keyof SimulatedChecks): Handler =>
  ({ response }, { world }) =>
    json(response, { Warning: world.checks[name] });

const HANDLERS: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['status', ({ url, response }, { world }) => json(response, statusJson(world, { withPeers: url.searchParams.get('peers') !== 'false' }), '\t')],
  ['watch-ipn-bus', watch],
  ['ping', ping],
  ['whois', whois],
  ['prefs', prefs],
  [
    'usermetrics',
    ({ response }, { world }) => {
      response.writeHead(200, { 'content-type': 'text/plain;version=0.0.4;charset=utf-8' }).end(userMetrics(world));
    },
  ],
  ['check-ip-forwarding', check('ip-forwarding')],
  ['check-udp-gro-forwarding', check('udp-gro-forwarding')],
]);

/** Answers one request as the daemon would. */
export function handleLocalApi(request: LocalApiRequest, context: Context): void {
  const handler = HANDLERS.get(request.endpoint);
  if (handler) handler(request, context);
  else plain(request.response, 404, '404 page not found');
}
