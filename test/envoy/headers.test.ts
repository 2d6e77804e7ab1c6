import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Headers } from './support/door.ts';
import { DOORS, REST_DOORS, Service } from './support/service.ts';
import { expectSame } from './support/worlds.ts';

let service: Service;
let admin: Headers;

beforeAll(async () => {
  service = await Service.open();
  admin = service.issuer.bearer(['admin:*']);
  for (const tailnetName of ['one', 'two']) await create(tailnetName);
});
afterAll(() => service[Symbol.asyncDispose]());

const create = (tailnetName: string) =>
  service.manager.createTailnet({ customerId: 'customer-a', tailnetName, config: { allowedNetworks: ['10.1.0.0/16'] } });
const wish = (name: string) => ({ customer_id: 'customer-a', tailnet_name: name, config: { allowed_networks: ['10.1.0.0/16'] } });

describe.each(DOORS)('headers through %s', (name) => {
  it('an answer has a request id, points that are left, and the etag of what was read', async () => {
    const { headers, body } = await service.doors[name].call('GetTailnet', { tailnet_name: 'one' }, { headers: admin });
    expect(headers.get('x-request-id')).toMatch(/^[\w.-]{8,64}$/);
    expect(headers.get('etag')).toBe(`"${(body as { tailnet: { etag: string } }).tailnet.etag}"`);
    for (const limit of ['limit', 'remaining', 'reset']) expect(headers.get(`ratelimit-${limit}`)).toMatch(/^\d+$/);
    expect(headers.has('retry-after')).toBe(false);
  });

  it('a refusal has them too, and nothing of what is between service and proxy', async () => {
    const { headers } = await service.doors[name].call('GetTailnet', { tailnet_name: 'nobodys' }, { headers: admin });
    expect(headers.get('x-request-id')).toMatch(/^[\w.-]{8,64}$/);
    expect(headers.get('ratelimit-remaining')).toMatch(/^\d+$/);
    expect([...headers.keys()].filter((each) => /^(x-envoy|x-bifrost|server-timing|x-powered-by)/.test(each))).toEqual([]);
  });

  it('who asks too often hears when to come back', async () => {
    const rateLimits = { caller: { pointsPerSecond: 0.1, burst: 3 }, attempt: { pointsPerSecond: 1000, burst: 1000 } };
    await using limited = await Service.open({ issuer: service.issuer, server: { rateLimits }, only: name });
    const ask = () => limited.doors[name].call('GetTailnet', { tailnet_name: 'nobodys' }, { headers: admin });
    const free = [await ask(), await ask(), await ask()];
    const { headers, details, http, kind, reason } = await ask();
    expect([...free.map((each) => each.reason), reason]).toEqual([...Array(3).fill('TAILNET_NOT_FOUND'), 'RATE_LIMITED']);
    if (kind === 'rest') expect(http).toBe(429);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(headers.get('ratelimit-remaining')).toBe('0');
    expect(details).toContainEqual(
      expect.objectContaining({ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retry_delay: expect.stringMatching(/s$/) }),
    );
  });

  it('a key that was used by another door is the same key', async () => {
    const headers = { ...admin, 'idempotency-key': `across-${name}` };
    const first = await service.doors[name].call('CreateTailnet', wish(`across-${name.toLowerCase()}`), { headers });
    expect(first.headers.has('idempotency-replayed')).toBe(false);
    for (const other of DOORS) {
      const again = await service.doors[other].call('CreateTailnet', wish(`across-${name.toLowerCase()}`), { headers });
      expect([other, again.body, again.headers.get('idempotency-replayed')]).toEqual([other, first.body, 'true']);
      if (again.http !== undefined) expect(again.http).toBe(201);
    }
    const reused = new Map<string, Awaited<ReturnType<(typeof service.doors.rest)['call']>>>();
    for (const other of DOORS) reused.set(other, await service.doors[other].call('CreateTailnet', wish('something-else'), { headers }));
    expect(expectSame(reused).reason).toBe('IDEMPOTENCY_KEY_REUSED');
  });
});

describe.each(REST_DOORS)('REST headers through %s', (name) => {
  it('answers are JSON that nobody keeps', async () => {
    for (const path of ['/api/v1/networks/info', '/api/v1/networks/tailnets/nobodys', '/api/v1/networks/nothing']) {
      const { headers } = await service.doors[name].send({ method: 'GET', path, headers: admin });
      expect([path, headers.get('content-type')]).toEqual([path, 'application/json']);
      expect([path, headers.get('cache-control')]).toEqual([path, 'no-store']);
    }
  });
});
