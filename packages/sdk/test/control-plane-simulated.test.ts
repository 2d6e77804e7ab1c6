import { Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { MemoryControlPlane } from '../src/adapters/memory/control-plane.ts';
import { autoApproved, mayUseTag, parsePolicy } from '../src/adapters/memory/simulated-policy.ts';
import { SimulatedControl } from '../src/testing/simulated-control.ts';
import { TailscaleApiSimulator } from '../src/testing/tailscale-api-simulator.ts';

const KEY = { description: 'bifrost-test', tags: ['tag:bifrost'], reusable: true, ephemeral: true, lifetimeSeconds: 600 };
const options = () => ({ signal: AbortSignal.timeout(5_000) });

describe('SimulatedControl: time and machines', () => {
  const open = () => {
    const clock = { ms: 1_700_000_000_000, nowMs: () => clock.ms };
    const control = new SimulatedControl({ clock });
    const customer = control.addTailnet({ displayName: 'customer' });
    const plane = new MemoryControlPlane({ control });
    return { clock, control, customer, tailnet: plane.tailnet(customer) };
  };

  it('an expired key lets nobody in; twin: a second before it does', async () => {
    const { clock, control, tailnet } = open();
    const { key } = await tailnet.createKey(KEY, options());
    clock.ms += 599_000;
    control.join({ authKey: key, hostname: 'book' });
    clock.ms += 1_000;
    expect(() => control.join({ authKey: key, hostname: 'book' })).toThrow(
      expect.objectContaining({ code: 'CONTROL_DENIED', details: { reason: 'expired' } }),
    );
    expect(await tailnet.listKeys(options())).toMatchObject([{ valid: false }]);
  });

  it('an ephemeral device that stays away is forgotten; one that came back, or is not ephemeral, stays', async () => {
    const { clock, control, customer, tailnet } = open();
    const { key } = await tailnet.createKey(KEY, options());
    const [gone, back] = [control.join({ authKey: key, hostname: 'gone' }), control.join({ authKey: key, hostname: 'back' })];
    const gateway = control.addDevice({ controlId: customer.controlId, hostname: 'gateway', advertiseRoutes: ['10.1.0.0/24'] });
    for (const { deviceId } of [gone, back, gateway]) control.setConnected(deviceId, false);
    clock.ms += 1_000_000;
    expect(await tailnet.listDevices(options())).toHaveLength(3);
    control.setConnected(back.deviceId, true);
    clock.ms += 1_000_000;
    expect((await tailnet.listDevices(options())).map(({ name }) => name.split('.')[0])).toEqual(['back', 'gateway']);
    expect(control.device(gone.deviceId)).toBeUndefined();
    expect(() => control.setConnected(gone.deviceId, true)).toThrow(expect.objectContaining({ code: 'CONTROL_NOT_FOUND' }));
  });

  it('peers are of the same tailnet only, and listeners hear of each change', async () => {
    const { control, customer, tailnet } = open();
    const other = control.addTailnet({ displayName: 'other' });
    control.addDevice({ controlId: other.controlId, hostname: 'gateway', advertiseRoutes: ['10.1.0.0/24'] });
    const gateway = control.addDevice({ controlId: customer.controlId, hostname: 'gateway', advertiseRoutes: ['10.1.0.0/24'] });
    let changes = 0;
    const subscription = control.subscribe(() => {
      changes += 1;
    });
    const { key } = await tailnet.createKey(KEY, options());
    const { deviceId, addresses } = control.join({ authKey: key.reveal(), hostname: 'Book of $quotes' });
    expect(control.peersOf(deviceId)).toEqual([gateway]);
    expect(new Set(control.devices().flatMap((device) => device.addresses)).size).toBe(6);
    expect(addresses[0]).toMatch(/^100\./);
    expect(control.device(deviceId)?.name).toBe(`book-of-quotes.${customer.dnsName}`);
    control.leave(deviceId);
    control.leave(deviceId);
    expect(changes).toBe(3);
    subscription[Symbol.dispose]();
    control.leave(gateway.deviceId);
    expect([changes, control.devices(customer.controlId)]).toEqual([3, []]);
  });

  it('a customer’s tailnet is not in the organization, and dies with its client for us', async () => {
    const { control, customer, tailnet } = open();
    const plane = new MemoryControlPlane({ control });
    expect(await plane.listTailnets(options())).toEqual([]);
    await expect(plane.tailnet({ controlId: customer.controlId }).listDevices(options())).rejects.toMatchObject({ code: 'CONTROL_NOT_FOUND' });
    await expect(tailnet.deleteTailnet(options())).rejects.toMatchObject({ code: 'CONTROL_DENIED' });
    control.revokeClient(customer.credential.clientId);
    await expect(tailnet.listDevices(options())).rejects.toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
  });

  it('two of them, or one twice, do the same: nothing is left to chance', async () => {
    const [first, second] = [open(), open()];
    for (const { control, tailnet } of [first, second]) control.join({ authKey: (await tailnet.createKey(KEY, options())).key, hostname: 'book' });
    expect(first.control.devices()).toEqual(second.control.devices());
    expect(first.control.keys()).toEqual(second.control.keys());
  });

  it('MemoryControlPlane fails as told, once each, in order', async () => {
    const plane = new MemoryControlPlane();
    plane.failNext('CONTROL_RATE_LIMITED', { retryAfterMs: 5 });
    plane.failNext('CONTROL_UNAVAILABLE');
    await expect(plane.listTailnets(options())).rejects.toMatchObject({ code: 'CONTROL_RATE_LIMITED', retryAfterMs: 5 });
    await expect(plane.createTailnet('acme', options())).rejects.toMatchObject({ code: 'CONTROL_UNAVAILABLE' });
    expect(await plane.listTailnets(options())).toEqual([]);
    expect(await new MemoryControlPlane({ organization: undefined }).listTailnets(options())).toEqual([]);
  });
});

describe('SimulatedControl: policies', () => {
  it('reads HuJSON and leaves strings alone', () => {
    const text = '// c\n{ /* [, */ "tagOwners": { "tag:a": ["a@b // no, comment ,]",], }, "attrConfig": "a\\"/* */", }';
    expect([...parsePolicy(text).tagOwners]).toEqual([['tag:a', ['a@b // no, comment ,]']]]);
  });

  it.each([
    '',
    '[]',
    '{',
    '{"acls":[],,}',
    '{"acls":[],"acls":[]}',
    '{"tagOwners":[]}',
    '{"tagOwners":{"a":[]}}',
    '{"autoApprovers":{"routes":{"ten":[]}}}',
  ])('refuses %j', (text) => {
    expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: 'POLICY_REFUSED', details: { status: '400' } }));
  });

  it('a test of an address asks who has it now; twin: while nobody has, the address alone counts', () => {
    const text = JSON.stringify({
      tagOwners: { 'tag:a': [] },
      grants: [{ src: ['tag:a'], dst: ['10.0.0.0/8'], ip: ['*'] }],
      tests: [{ src: '100.64.0.7', accept: ['10.0.0.1:80'] }],
    });
    expect(parsePolicy(text, [{ addresses: ['100.64.0.7', 'fd7a::7'], tags: ['tag:a'] }]).tagOwners.size).toBe(1);
    expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: 'POLICY_REFUSED' }));
  });

  it('exit nodes are approved by their own line, not by that of a network', () => {
    const policy = parsePolicy('{"tagOwners":{"tag:a":[],"tag:b":[]},"autoApprovers":{"routes":{"10.0.0.0/8":["tag:a"]},"exitNode":["tag:b"]}}');
    expect(autoApproved(policy, ['0.0.0.0/0', '10.1.0.0/16', '::/0'], ['tag:a'])).toEqual(['10.1.0.0/16']);
    expect(autoApproved(policy, ['0.0.0.0/0', '10.1.0.0/16', '::/0'], ['tag:b'])).toEqual(['0.0.0.0/0', '::/0']);
  });

  it('a tag is used by who owns it, through tags that own tags, even in a circle', () => {
    const policy = parsePolicy('{"tagOwners":{"tag:a":["tag:b"],"tag:b":["tag:c"],"tag:c":["tag:a"],"tag:d":["autogroup:admin"]}}');
    expect(mayUseTag(policy, 'tag:a', ['tag:c'])).toBe(true);
    expect(mayUseTag(policy, 'tag:d', ['tag:c'])).toBe(false);
    expect(mayUseTag(policy, 'tag:a', ['tag:elsewhere'])).toBe(false);
    expect(mayUseTag(policy, 'tag:unknown', [])).toBe(false);
    expect(mayUseTag(policy, 'tag:d', [])).toBe(true);
  });
});

describe('TailscaleApiSimulator: as strict as the real API', () => {
  const raw = async (
    work: (call: (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Response>) => Promise<void>,
  ) => {
    const control = new SimulatedControl();
    const { controlId, credential } = control.addTailnet({ displayName: 'customer' });
    control.addDevice({ controlId, hostname: 'gateway', advertiseRoutes: ['10.1.0.0/24'] });
    await using api = new TailscaleApiSimulator(control);
    await api.start();
    const form = new URLSearchParams({ client_id: credential.clientId, client_secret: credential.clientSecret.reveal() });
    const token = (await (await fetch(`${api.url}/api/v2/oauth/token`, { method: 'POST', body: form })).json()) as { access_token: string };
    await work((method, path, body, headers = {}) =>
      fetch(`${api.url}/api/v2${path}`, {
        method,
        headers: { authorization: `Bearer ${token.access_token}`, ...headers },
        body: body === undefined ? null : JSON.stringify(body),
      }),
    );
  };
  const key = (create: object, more: object = {}) => ({ capabilities: { devices: { create } }, ...more });

  it('keys: tags are obligatory, 90 days by default, listed with all=true only, their secret once', () =>
    raw(async (call) => {
      for (const body of [{}, key({}), key({ tags: ['tag:foreign'] }), key({ tags: ['tag:bifrost'] }, { expirySeconds: 90 * 86_400 + 1 })]) {
        expect((await call('POST', '/tailnet/-/keys', body)).status).toBe(400);
      }
      const made = (await (await call('POST', '/tailnet/-/keys', key({ tags: ['tag:bifrost'] }))).json()) as {
        id: string;
        key: string;
        expires: string;
      };
      expect(Date.parse(made.expires) - Date.now()).toBeGreaterThan(89.9 * 86_400_000);
      const kinds = async (query: string) => {
        const { keys } = (await (await call('GET', `/tailnet/-/keys${query}`)).json()) as { keys: { keyType: string; key?: string }[] };
        expect(JSON.stringify(keys)).not.toContain(made.key);
        return keys.map(({ keyType }) => keyType);
      };
      expect(await kinds('')).toEqual(['client']);
      expect(await kinds('?all=true')).toEqual(['client', 'auth']);
      expect((await call('DELETE', `/tailnet/-/keys/${made.id}`)).status).toBe(200);
      expect((await call('DELETE', `/tailnet/-/keys/${made.id}`)).status).toBe(404);
    }));

  it('devices: routes with fields=all only; another tailnet is not found; without a token 401', () =>
    raw(async (call) => {
      const devices = async (query: string) => ((await (await call('GET', `/tailnet/-/devices${query}`)).json()) as { devices: object[] }).devices;
      expect(Object.keys((await devices(''))[0] ?? {})).not.toContain('enabledRoutes');
      expect(await devices('?fields=all')).toMatchObject([{ enabledRoutes: ['10.1.0.0/24'], advertisedRoutes: ['10.1.0.0/24'], tags: null }]);
      expect((await call('GET', '/tailnet/T999999CNTRL/devices')).status).toBe(404);
      expect((await call('GET', '/tailnet/-/devices', undefined, { authorization: 'Bearer nobody' })).status).toBe(401);
      expect((await call('POST', '/organizations/-/tailnets', { displayName: 'acme' })).status).toBe(403);
    }));

  it('policies: 412 for an old etag and for ts-default once touched; twin: the etag of now', () =>
    raw(async (call) => {
      const etag = (await call('GET', '/tailnet/-/acl')).headers.get('etag') ?? '';
      const write = async (match: string) => (await call('POST', '/tailnet/-/acl', { tagOwners: {} }, { 'if-match': match })).status;
      expect(await write('"ts-default"')).toBe(412);
      expect(await write('"old"')).toBe(412);
      expect(await write(etag)).toBe(200);
      expect(await write(etag)).toBe(412);
    }));

  it("the organization's client may not delete a tailnet, whose own client may", async () => {
    const control = new SimulatedControl();
    const made = control.createTailnet(control.signIn(control.organization), 'acme');
    expect(() => control.deleteTailnet(control.signIn(control.organization))).toThrow(expect.objectContaining({ code: 'CONTROL_DENIED' }));
    expect(() => control.signIn({ ...made.credential, clientSecret: new Secret('wrong') })).toThrow(
      expect.objectContaining({ code: 'CONTROL_CREDENTIALS_INVALID' }),
    );
    control.deleteTailnet(control.signIn(made.credential));
    expect(control.tailnets()).toEqual([]);
  });
});
