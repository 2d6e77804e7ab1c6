// The specification's Network Manager pod: the service with Envoy beside it, as callers outside of the platform meet it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lab } from './support/command.ts';
import { eventually } from './support/eventually.ts';
import { bearer } from './support/issuer.ts';
import { Platform } from './support/platform.ts';

const platform = new Platform();
const BASE = '/api/v1/networks';
const TAILNET = 'by-envoy';
const call = (
  method: string,
  path: string,
  { headers = bearer(['admin:*']), body }: { headers?: Readonly<Record<string, string>>; body?: unknown } = {},
) => platform.throughEnvoy(method, `${BASE}${path}`, { headers, ...(body === undefined ? {} : { body }) });
const tailnet = { customer_id: 'customer-envoy', tailnet_name: TAILNET, tenancy: 'organization', config: { allowed_networks: ['10.9.0.0/16'] } };

beforeAll(async () => {
  const digests = JSON.parse(await lab(['digests'])) as { readonly book: string };
  await platform.open(digests.book);
});
afterAll(async () => {
  await call('DELETE', `/tailnets/${TAILNET}?cascade=true`);
  await platform[Symbol.asyncDispose]();
});

describe('through the Envoy in the manager’s pod', () => {
  test('the service is the deployed one, and knows the caller by its token', async () => {
    const { status, body } = await call('GET', '/info');
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { adapters: { cluster: 'kubernetes', store: 'kubernetes', control_plane: 'tailscale' }, caller: { via: 'jwt', roles: ['admin:*'] } },
    });
  });

  test('a tailnet is made (201), there already (200), becomes active, and its status has the specification’s shape', async () => {
    const made = await call('POST', '/tailnets', { body: tailnet });
    expect(made).toMatchObject({ status: 201, body: { tailnet_name: TAILNET, status: 'creating' } });
    expect(Object.keys(made.body).sort()).toEqual(['created_at', 'status', 'tailnet_id', 'tailnet_name']);
    expect((await call('POST', '/tailnets', { body: tailnet })).status).toBe(200);
    await eventually('the tailnet is active', async () => (await call('GET', `/tailnets/${TAILNET}/status`)).body.status === 'active', {
      timeoutMs: 60_000,
    });
    expect((await call('GET', `/tailnets/${TAILNET}/status`)).body).toMatchObject({
      tailnet_name: TAILNET,
      connected_devices: 0,
      connected_sidecars: [],
    });
  });

  test('a customer’s own token sees its own and nothing of others', async () => {
    const theirs = bearer(['operator:customer-envoy']);
    expect((await call('GET', `/tailnets/${TAILNET}`, { headers: theirs })).status).toBe(200);
    expect((await call('GET', '/tailnets', { headers: theirs })).body.tailnets).toHaveLength(1);
    const stranger = bearer(['admin:customer-other']);
    const [foreign, unknown] = [
      await call('GET', `/tailnets/${TAILNET}`, { headers: stranger }),
      await call('GET', '/tailnets/never', { headers: stranger }),
    ];
    expect([foreign.status, foreign.body.message]).toEqual([404, unknown.body.message]);
    expect((await call('GET', '/tailnets', { headers: stranger })).body.tailnets).toEqual([]);
    expect((await call('GET', '/tailnets', { headers: { authorization: 'Bearer nothing' } })).status).toBe(401);
  });

  test('what is not well-formed is refused in the service’s own words, before it is transcoded', async () => {
    const refused = await call('POST', '/tailnets', { body: { ...tailnet, allow: 'all' } });
    expect(refused).toMatchObject({ status: 400, body: { code: 3, message: expect.stringContaining('allow') } });
  });

  test('its access log is JSON, with the request’s id and the tenant', async () => {
    const answer = await call('GET', '/metrics');
    const requestId = String(answer.headers['x-request-id']);
    const [pod] = await platform.managerPods();
    const line = await eventually(
      'the line is written',
      async () => (await lab(['logs', 'bifrost', pod?.metadata.name ?? '', 'envoy'])).split('\n').find((text) => text.includes(requestId)),
      { timeoutMs: 20_000 },
    );
    expect(line).toContain('"tenant":["admin:*"]');
  });
});
