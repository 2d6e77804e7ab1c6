import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../lab/support/eventually.ts';
import type { Door, Headers, Json, Verdict } from './support/door.ts';
import { Service } from './support/service.ts';
import { expectSame } from './support/worlds.ts';

const SOON = { timeoutMs: 10_000, intervalMs: 5 };

let service: Service;
let admin: Headers;

beforeAll(async () => {
  service = await Service.open();
  admin = service.issuer.bearer(['admin:*']);
});
afterAll(() => service[Symbol.asyncDispose]());

const doors = (): readonly Door[] => Object.values(service.doors);
const NAMES = ['rest', 'restByEnvoy', 'grpc', 'grpcByEnvoy'] as const;
const door = (name: (typeof NAMES)[number]): Door => service.doors[name];
const wish = (name: string, more: Json = {}): Json => ({
  customer_id: 'customer-a',
  tailnet_name: name,
  config: { allowed_networks: ['10.0.0.0/8'], blocked_networks: ['169.254.0.0/16'], access_policy: 'restrictive', enable_logging: true },
  tags: ['production'],
  ...more,
});

/** The same call through all four; REST also with the status of the code. */
async function everywhere(method: string, request: Json, headers: Headers = admin): Promise<Verdict> {
  const verdicts = new Map<string, Verdict>();
  for (const each of doors()) verdicts.set(each.name, await each.call(method, request, { headers }));
  return expectSame(verdicts);
}

describe.each(NAMES)('through %s', (name) => {
  it('a tailnet is created, changed on condition, read, listed and deleted', async () => {
    const tailnet = `life-${name.toLowerCase()}`;
    const created = await door(name).call('CreateTailnet', wish(tailnet), { headers: admin });
    expect(created).toMatchObject({ code: 0, body: { tailnet_name: tailnet, status: 'creating', created_at: '2026-01-01T00:00:00Z' } });
    expect(Object.keys(created.body as Json).sort()).toEqual(['created_at', 'status', 'tailnet_id', 'tailnet_name']);
    const again = await door(name).call('CreateTailnet', wish(tailnet), { headers: admin });
    if (created.http !== undefined) expect([created.http, again.http]).toEqual([201, 200]);
    const read = await door(name).call('GetTailnet', { tailnet_name: tailnet }, { headers: admin });
    const etag = read.headers.get('etag');
    expect(etag).toMatch(/^"[^"]+"$/);
    expect(read.body).toMatchObject({
      tailnet: { tailnet_name: tailnet, etag: etag?.slice(1, -1), config: { access_policy: 'restrictive' }, tenancy: 'organization' },
    });
    const change = { tailnet_name: tailnet, tags: [], update_mask: 'tags' };
    const changed = await door(name).call('UpdateTailnet', change, { headers: { ...admin, 'if-match': etag ?? '' } });
    expect(changed).toMatchObject({ code: 0, body: { tailnet: { tags: [] } } });
    const late = await door(name).call('UpdateTailnet', { ...change, tags: ['x'] }, { headers: { ...admin, 'if-match': etag ?? '' } });
    expect(late).toMatchObject({ code: 10, reason: 'ETAG_MISMATCH' });
    const listed = await door(name).call('ListTailnets', { customer_id: 'customer-a', page_size: 1 }, { headers: admin });
    expect(listed.body).toMatchObject({ tailnets: [{ customer_id: 'customer-a' }] });
    const gone = await door(name).call('DeleteTailnet', { tailnet_name: tailnet }, { headers: admin });
    expect(gone).toMatchObject({ code: 0, body: {}, ...(gone.http === undefined ? {} : { http: 202 }) });
  });

  it('a key makes a repeated call the same call', async () => {
    const headers = { ...admin, 'idempotency-key': `key-${name}` };
    const first = await door(name).call('CreateTailnet', wish(`once-${name.toLowerCase()}`), { headers });
    const second = await door(name).call('CreateTailnet', wish(`once-${name.toLowerCase()}`), { headers });
    expect(second.body).toEqual(first.body);
    expect(second.http).toBe(first.http);
    expect([first, second].map(({ headers: told }) => told.get('idempotency-replayed'))).toEqual([undefined, 'true']);
    expect(await door(name).call('CreateTailnet', wish(`other-${name.toLowerCase()}`), { headers })).toMatchObject({
      reason: 'IDEMPOTENCY_KEY_REUSED',
    });
  });
});

describe('all four doors say the same', () => {
  it('of what is there', async () => {
    await service.manager.createTailnet({ customerId: 'customer-a', tailnetName: 'shown', config: { allowedNetworks: ['10.1.0.0/16'] } });
    const status = await everywhere('GetNetworkStatus', { tailnet_name: 'shown' });
    expect(status.body).toMatchObject({
      ...{ tailnet_name: 'shown', connected_devices: 0, connected_sidecars: [] },
      metrics: { bytes_sent: 0, bytes_received: 0, average_latency_ms: 0 },
    });
    const metrics = await everywhere('GetConnectionMetrics', { tailnet_name: 'shown' });
    expect(metrics.body).toMatchObject({
      metrics: [{ tailnet_name: 'shown', bytes_sent: '0', bytes_received: '0', latency_ms: 0, is_connected: false }],
    });
    for (const method of ['ListTailnets', 'ListSidecars', 'ListLeftovers', 'GetServiceInfo']) expect((await everywhere(method, {})).code).toBe(0);
    expect((await everywhere('PlanUpdateTailnet', { tailnet_name: 'shown', tags: ['new'] })).body).toMatchObject({ plan: { changes: ['tags'] } });
    expect((await everywhere('PlanUpgradeSidecars', { tailnet_name: 'shown' })).code).toBe(0);
  });

  it.each<[string, string, Json, string]>([
    ['a tailnet that is not there', 'GetTailnet', { tailnet_name: 'nobodys' }, 'TAILNET_NOT_FOUND'],
    ['a sidecar that is not there', 'GetSidecar', { sidecar_id: 'nobodys' }, 'SIDECAR_NOT_FOUND'],
    ['a name that is none', 'CreateTailnet', wish('Not A Name'), 'INVALID_ARGUMENT'],
    ['every fault at once', 'CreateTailnet', wish('x_y', { customer_id: '-', tags: ['*'] }), 'INVALID_ARGUMENT'],
    [
      'a workload that is not there',
      'AttachSidecar',
      { book_deployment_id: 'none', tailnet_name: 'shown', config: { hostname: 'h' } },
      'WORKLOAD_NOT_FOUND',
    ],
    ['a page token that is none', 'ListTailnets', { page_token: 'x' }, 'INVALID_ARGUMENT'],
    ['a page that is too large', 'ListTailnets', { page_size: 1001 }, 'INVALID_ARGUMENT'],
    ['a mask that names nothing', 'UpdateTailnet', { tailnet_name: 'shown', update_mask: 'nothing' }, 'INVALID_ARGUMENT'],
  ])('of %s', async (_, method, request, reason) => {
    expect(await everywhere(method, request)).toMatchObject({ reason });
  });

  it('of callers: nobody, a stranger, one with too small a role, one who may', async () => {
    await service.manager.createTailnet({ customerId: 'customer-b', tailnetName: 'foreign', config: { allowedNetworks: ['10.1.0.0/16'] } });
    const viewer = service.issuer.bearer(['viewer:customer-b']);
    const stranger = service.issuer.bearer(['admin:customer-a']);
    const change = { tailnet_name: 'foreign' };
    expect(await everywhere('GetTailnet', change, {})).toMatchObject({ reason: 'UNAUTHENTICATED' });
    expect(await everywhere('GetTailnet', change, stranger)).toMatchObject({ reason: 'TAILNET_NOT_FOUND' });
    expect(await everywhere('PauseTailnet', change, viewer)).toMatchObject({ reason: 'PERMISSION_DENIED' });
    expect((await everywhere('GetTailnet', change, viewer)).code).toBe(0);
    expect((await everywhere('GetTailnet', change, { 'x-api-key': service.apiKey.key.reveal() })).code).toBe(0);
    expect(await everywhere('ListLeftovers', {}, stranger)).toMatchObject({ reason: 'PERMISSION_DENIED' });
  });

  it.each<[string, (token: string) => Headers]>([
    ['no token at all', () => ({ authorization: 'Bearer nothing' })],
    ['a token whose time is over', () => service.issuer.bearer(['admin:*'], { exp: 1_000_000 })],
    ['a token of another issuer', () => service.issuer.bearer(['admin:*'], { iss: 'https://other.example.com' })],
    ['an identity in a header', () => ({ 'x-forwarded-client-cert': `Hash=${'a'.repeat(64)};URI=spiffe://bifrost/admin` })],
  ])('of %s', async (_, headers) => {
    for (const each of doors()) expect(await each.call('GetServiceInfo', {}, { headers: headers('') })).toMatchObject({ code: 16 });
  });
});

describe('Envoy', () => {
  it('logs each call with its request id, its tenant and its path without the query', async () => {
    const answer = await service.doors.restByEnvoy.call('ListTailnets', { customer_id: 'customer-a' }, { headers: admin });
    const requestId = answer.headers.get('x-request-id');
    const line = await eventually('its line is written', () => service.envoy.accessLog.find(({ request_id }) => request_id === requestId), SOON);
    expect(line).toMatchObject({ path: '/api/v1/networks/tailnets', method: 'GET', status: 200, tenant: ['admin:*'], subject: 'admin:*' });
    expect(JSON.stringify(line)).not.toContain('Bearer');
  });
});
