import type { IncomingHttpHeaders } from 'node:http';
import type { BifrostError } from '@bifrost/types/core';
import { z } from 'zod';
import type { DeviceConnectivity } from '../domain/policy/firewall-check.ts';
import type { Relay } from '../domain/policy/relays.ts';
import type { SimulatedControl, SimulatedDevice, SimulatedGrant, SimulatedKey } from './simulated-control.ts';

export interface ApiReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}
export interface ApiCall {
  readonly control: SimulatedControl;
  readonly grant: SimulatedGrant;
  /** What the groups of the path matched. */
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
export interface Endpoint {
  readonly method: string;
  readonly path: RegExp;
  readonly answer: (call: ApiCall) => ApiReply;
}

export const success = (value: unknown): ApiReply => ({ status: 200, body: JSON.stringify(value) });
export const fail = (status: number, message: string): ApiReply => ({ status, body: JSON.stringify({ message }) });
const done: ApiReply = { status: 200, body: '' };

const STATUS: Readonly<Record<string, number>> = {
  CONTROL_CREDENTIALS_INVALID: 401,
  CONTROL_DENIED: 403,
  CONTROL_NOT_FOUND: 404,
  CONTROL_CONFLICT: 409,
  CONTROL_QUOTA: 403, // as the real one: only its text tells it from a missing permission
};

/** A refusal of the state, as the API words it. That of a policy brings the body along as its cause. */
export function refused(error: BifrostError): ApiReply {
  if (error.code === 'POLICY_REFUSED') return { status: 400, body: JSON.stringify(error.cause) };
  return fail(Number(error.details['status'] ?? STATUS[error.code] ?? 500), error.message);
}

/** Go writes an empty list as null. */
const goList = <T>(list: readonly T[]): readonly T[] | null => (list.length === 0 ? null : list);
const goTime = (milliseconds: number): string => new Date(milliseconds).toISOString();

const KeyBody = z.object({
  keyType: z.literal('auth').default('auth'),
  description: z.string().default(''),
  expirySeconds: z.int().optional(),
  capabilities: z.object({
    devices: z.object({
      create: z.object({
        reusable: z.boolean().default(false),
        ephemeral: z.boolean().default(false),
        preauthorized: z.boolean().default(false),
        tags: z.array(z.string()).default([]),
      }),
    }),
  }),
});

function read<T>(body: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  }
}

const keyJson = (key: SimulatedKey) => ({
  id: key.keyId,
  keyType: 'auth',
  description: key.description,
  created: goTime(key.createdAtMs),
  expires: goTime(key.expiresAtMs),
  revoked: '0001-01-01T00:00:00Z',
  invalid: !key.valid,
  capabilities: { devices: { create: { reusable: key.reusable, ephemeral: key.ephemeral, preauthorized: true, tags: goList(key.tags) } } },
});

const connectivityJson = ({ regions, udp, ipv6, mappingVaries }: DeviceConnectivity) => ({
  endpoints: null,
  mappingVariesByDestIP: mappingVaries ?? null,
  latency: Object.fromEntries(regions.map(({ name, latencyMs, isHome }) => [name, { latencyMs, ...(isHome ? { preferred: true } : {}) }])),
  clientSupports: { hairPinning: null, ipv6: ipv6 ?? null, pcp: null, pmp: null, udp: udp ?? null, upnp: null },
});

function deviceJson(device: SimulatedDevice, isWhole: boolean) {
  return {
    id: device.deviceId.replace(/\D/g, ''),
    nodeId: device.deviceId,
    user: 'tagged-devices',
    name: device.name,
    hostname: device.hostname,
    addresses: device.addresses,
    tags: goList(device.tags),
    created: goTime(device.createdAtMs),
    authorized: true,
    isExternal: false,
    isEphemeral: device.ephemeral,
    keyExpiryDisabled: device.tags.length > 0,
    connectedToControl: device.connected,
    ...(device.lastSeenAtMs === undefined ? {} : { lastSeen: goTime(device.lastSeenAtMs) }),
    ...(isWhole ? { advertisedRoutes: goList(device.advertisedRoutes), enabledRoutes: goList(device.enabledRoutes) } : {}),
    ...(isWhole && device.connectivity ? { clientConnectivity: connectivityJson(device.connectivity) } : {}),
  };
}

/** The tailnet that the path names, which must be the grant's own. */
function tailnetOf(call: ApiCall, scope: string, access: 'read' | 'write') {
  const tailnet = call.control.open(call.grant, scope, access);
  const [name = '-'] = call.parts;
  return ['-', tailnet.controlId, tailnet.dnsName].includes(name) ? tailnet : undefined;
}
const noTailnet = fail(404, 'tailnet not found');

function createTailnet({ control, grant, body }: ApiCall): ApiReply {
  const request = read(body, z.object({ displayName: z.string() }));
  if (!request) return fail(400, 'displayName is required');
  const made = control.createTailnet(grant, request.displayName);
  const oauthClient = { id: made.credential.clientId, secret: made.credential.clientSecret.reveal() };
  return success({ id: made.controlId, displayName: made.displayName, orgId: 'O1', dnsName: made.dnsName, oauthClient });
}

function listTailnets({ control, grant, query }: ApiCall): ApiReply {
  const all = control.listTailnets(grant);
  const limit = Math.min(Number(query.get('limit') ?? 100) || 100, 100);
  const start = Number(query.get('cursor') ?? 0) || 0;
  const page = all.slice(start, start + limit).map(({ controlId, displayName, createdAtMs }) => ({
    id: controlId,
    displayName,
    orgId: 'O1',
    createdAt: goTime(createdAtMs),
  }));
  return success({ tailnets: goList(page), totalCount: all.length, cursor: start + limit < all.length ? String(start + limit) : '' });
}

function deleteTailnet(call: ApiCall): ApiReply {
  const { control, grant } = call;
  if (grant.controlId !== undefined && !tailnetOf(call, 'all', 'write')) return noTailnet;
  control.deleteTailnet(grant);
  return done;
}

function createKey(call: ApiCall): ApiReply {
  const tailnet = tailnetOf(call, 'auth_keys', 'write');
  if (!tailnet) return noTailnet;
  const request = read(call.body, KeyBody);
  if (!request) return fail(400, 'the body is not a key request');
  const { reusable, ephemeral, tags } = request.capabilities.devices.create;
  const lifetime = request.expirySeconds === undefined ? {} : { lifetimeSeconds: request.expirySeconds };
  const made = tailnet.createKey({ description: request.description, tags, reusable, ephemeral, ...lifetime }, call.grant.tags);
  return success({ ...keyJson(made), key: made.key.reveal() });
}

function listKeys(call: ApiCall): ApiReply {
  const tailnet = tailnetOf(call, 'auth_keys', 'read');
  if (!tailnet) return noTailnet;
  const client = { id: call.grant.clientId, keyType: 'client', created: goTime(0), scopes: call.grant.scopes };
  // Without all=true an OAuth token sees its own kind only.
  return success({ keys: call.query.get('all') === 'true' ? [client, ...tailnet.keys().map(keyJson)] : [client] });
}

function revokeKey(call: ApiCall): ApiReply {
  const tailnet = tailnetOf(call, 'auth_keys', 'write');
  if (!tailnet) return noTailnet;
  return tailnet.revokeKey(call.parts[1] ?? '') ? done : fail(404, 'key not found');
}

function listDevices(call: ApiCall): ApiReply {
  const tailnet = tailnetOf(call, 'devices:core', 'read');
  if (!tailnet) return noTailnet;
  const isWhole = call.query.get('fields') === 'all';
  return success({ devices: goList(tailnet.devices().map((device) => deviceJson(device, isWhole))) });
}

/** `/device/{id}` takes the node id or the older decimal one; a device of another tailnet is not found. */
function deviceOf({ control, grant, parts }: ApiCall, scope: string, access: 'read' | 'write') {
  const tailnet = control.open(grant, scope, access);
  const id = parts[0] ?? '';
  const device = tailnet.devices().find(({ deviceId }) => deviceId === id || deviceId.replace(/\D/g, '') === id);
  return { tailnet, device };
}
const noDevice = fail(404, 'device not found');

function getDevice(call: ApiCall): ApiReply {
  const { device } = deviceOf(call, 'devices:core', 'read');
  return device ? success(deviceJson(device, call.query.get('fields') === 'all')) : noDevice;
}

function deleteDevice(call: ApiCall): ApiReply {
  const { tailnet, device } = deviceOf(call, 'devices:core', 'write');
  return device && tailnet.deleteDevice(device.deviceId) ? done : noDevice;
}

const routesJson = ({ advertisedRoutes, enabledRoutes }: SimulatedDevice): ApiReply =>
  success({ advertisedRoutes: goList(advertisedRoutes), enabledRoutes: goList(enabledRoutes) });

function getRoutes(call: ApiCall): ApiReply {
  const { device } = deviceOf(call, 'devices:routes', 'read');
  return device ? routesJson(device) : noDevice;
}

function setRoutes(call: ApiCall): ApiReply {
  const { tailnet, device } = deviceOf(call, 'devices:routes', 'write');
  if (!device) return noDevice;
  const request = read(call.body, z.object({ routes: z.array(z.string()) }));
  return request ? routesJson(tailnet.changeDevice(device.deviceId, { enabledRoutes: request.routes })) : fail(400, 'routes is required');
}

const policyReply = ({ text, etag }: { readonly text: string; readonly etag: string }): ApiReply => ({
  status: 200,
  headers: { 'content-type': 'application/hujson', etag: `"${etag}"` },
  body: text,
});

function getPolicy(call: ApiCall): ApiReply {
  const tailnet = tailnetOf(call, 'policy_file', 'read');
  return tailnet ? policyReply(tailnet.policy()) : noTailnet;
}

function setPolicy(call: ApiCall): ApiReply {
  const tailnet = tailnetOf(call, 'policy_file', 'write');
  if (!tailnet) return noTailnet;
  const match = call.headers['if-match'];
  const etag = match === undefined ? undefined : (/^"(.*)"$/.exec(match)?.[1] ?? match);
  tailnet.writePolicy(call.body, etag);
  return policyReply(tailnet.policy());
}

/** As the login server publishes them: by the number of their region, what is the usual left out. */
export function relayMap(relays: readonly Relay[]) {
  const regions = Object.entries(Object.groupBy(relays, ({ region }) => region)).map(([code, ofRegion = []], index) => ({
    RegionID: ofRegion[0]?.regionId ?? index + 1,
    RegionCode: code,
    RegionName: ofRegion[0]?.regionName ?? code,
    Nodes: goList(
      ofRegion.map(({ host, addresses, port, stunPort }, at) => ({
        Name: `${index + 1}${String.fromCharCode(97 + at)}`,
        RegionID: index + 1,
        HostName: host,
        IPv4: addresses.find((address) => !address.includes(':')) ?? 'none',
        IPv6: addresses.find((address) => address.includes(':')) ?? 'none',
        ...(stunPort === 3478 ? {} : { STUNPort: stunPort ?? -1 }),
        ...(port === undefined ? { STUNOnly: true } : port === 443 ? {} : { DERPPort: port }),
      })),
    ),
  }));
  return { Regions: Object.fromEntries(regions.map((region) => [region.RegionID, region])) };
}

export const ENDPOINTS: readonly Endpoint[] = [
  { method: 'POST', path: /^\/organizations\/-\/tailnets$/, answer: createTailnet },
  { method: 'GET', path: /^\/organizations\/-\/tailnets$/, answer: listTailnets },
  { method: 'DELETE', path: /^\/tailnet\/([^/]+)$/, answer: deleteTailnet },
  { method: 'POST', path: /^\/tailnet\/([^/]+)\/keys$/, answer: createKey },
  { method: 'GET', path: /^\/tailnet\/([^/]+)\/keys$/, answer: listKeys },
  { method: 'DELETE', path: /^\/tailnet\/([^/]+)\/keys\/([^/]+)$/, answer: revokeKey },
  { method: 'GET', path: /^\/tailnet\/([^/]+)\/devices$/, answer: listDevices },
  { method: 'GET', path: /^\/tailnet\/([^/]+)\/acl$/, answer: getPolicy },
  { method: 'POST', path: /^\/tailnet\/([^/]+)\/acl$/, answer: setPolicy },
  { method: 'GET', path: /^\/device\/([^/]+)$/, answer: getDevice },
  { method: 'DELETE', path: /^\/device\/([^/]+)$/, answer: deleteDevice },
  { method: 'GET', path: /^\/device\/([^/]+)\/routes$/, answer: getRoutes },
  { method: 'POST', path: /^\/device\/([^/]+)\/routes$/, answer: setRoutes },
];
