import { describe, expect, it } from 'vitest';
import { systemClock } from '../src/adapters/system/clock.ts';
import { tailscaleControlPlane } from '../src/tailscale.ts';
import { bench, calls, KEY, options, tokenCalls } from './tailscale-bench.ts';

describe('tailscale adapter: tokens', () => {
  it('many calls at once sign in once, and keep to maxConcurrent', () =>
    bench(
      async ({ api, control, plane }) => {
        const tailnet = plane.tailnet(control.addTailnet({ displayName: 'customer' }));
        await Promise.all(Array.from({ length: 30 }, () => tailnet.listDevices(options())));
        expect(tokenCalls(api)).toBe(1);
        expect(api.mostConcurrent).toBeLessThanOrEqual(3);
        await Promise.all([plane.listTailnets(options()), plane.listTailnets(options())]);
        expect(tokenCalls(api)).toBe(2);
      },
      { adapter: { maxConcurrent: 3 } },
    ));

  it('one who leaves while the token is fetched does not take it from the others', () =>
    bench(async ({ api, plane }) => {
      const caller = new AbortController();
      const left = plane.listTailnets({ signal: caller.signal });
      const stayed = plane.listTailnets(options());
      caller.abort('left');
      await expect(left).rejects.toBe('left');
      expect(await stayed).toEqual([]);
      expect(tokenCalls(api)).toBe(1);
    }));

  it('a call that leaves while it waits for its turn gives the turn to the next', () =>
    bench(
      async ({ api, plane }) => {
        await plane.listTailnets(options());
        api.failNext({ path: '/organizations', hang: true });
        const [first, second] = [new AbortController(), new AbortController()];
        const hanging = plane.listTailnets({ signal: first.signal });
        const waiting = plane.listTailnets({ signal: second.signal });
        const last = plane.listTailnets(options());
        await expect.poll(() => calls(api, '/organizations')).toBe(2);
        second.abort('second');
        await expect(waiting).rejects.toBe('second');
        first.abort('first');
        await expect(hanging).rejects.toBe('first');
        expect(await last).toEqual([]);
      },
      { adapter: { maxConcurrent: 1 } },
    ));

  it('a token is used until 60 s before it expires, then renewed', () => {
    let nowMs = 1_700_000_000_000;
    return bench(
      async ({ api, plane }) => {
        await plane.listTailnets(options());
        nowMs += 3_539_000;
        await plane.listTailnets(options());
        expect(tokenCalls(api)).toBe(1);
        nowMs += 2_000;
        await plane.listTailnets(options());
        expect(tokenCalls(api)).toBe(2);
      },
      { adapter: { clock: { ...systemClock(), nowMs: () => nowMs } }, nowMs: () => nowMs },
    );
  });

  it('a 401 drops the token and tries exactly once more', () =>
    bench(async ({ api, control, plane }) => {
      await plane.listTailnets(options());
      api.expireTokens();
      expect(await plane.listTailnets(options())).toEqual([]);
      expect(tokenCalls(api)).toBe(2);
      api.failNext({ path: '/organizations', status: 401, count: 2 });
      await expect(plane.listTailnets(options())).rejects.toMatchObject({
        ...{ code: 'CONTROL_CREDENTIALS_INVALID', details: { status: '401' }, issues: [{ path: 'organization' }] },
      });
      expect([tokenCalls(api), calls(api, '/organizations')]).toEqual([3, 5]);
      control.revokeClient(control.organization.clientId);
      await expect(plane.listTailnets(options())).rejects.toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
    }));

  it('a token endpoint in trouble says so: 429 with its advice, 500, a page, a token that is none', () =>
    bench(async ({ api, plane }) => {
      const path = '/oauth/token';
      api.failNext({ path, status: 429, headers: { 'retry-after': '3' } });
      await expect(plane.listTailnets(options())).rejects.toMatchObject({ code: 'CONTROL_RATE_LIMITED', retryAfterMs: 3_000 });
      api.failNext({ path, status: 500 });
      await expect(plane.listTailnets(options())).rejects.toMatchObject({ code: 'CONTROL_UNAVAILABLE' });
      api.failNext({ path, status: 404, body: 'not here' });
      await expect(plane.listTailnets(options())).rejects.toMatchObject({ code: 'CONTROL_ANSWER_INVALID' });
      for (const body of ['<html>', '{}', '{"access_token":"a b\\r\\n","expires_in":3600}', '{"access_token":"t","expires_in":-1}']) {
        api.failNext({ path, status: 200, body });
        await expect(plane.listTailnets(options())).rejects.toMatchObject({ code: 'CONTROL_ANSWER_INVALID' });
      }
      for (const status of [400, 401, 403]) {
        api.failNext({ path, status });
        await expect(plane.listTailnets(options())).rejects.toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
      }
      expect(await plane.listTailnets(options())).toEqual([]);
    }));

  it('a client of one tailnet creates none, and a client without a scope is told which', () =>
    bench(async ({ api, control }) => {
      const { credential } = control.addTailnet({ displayName: 'customer', scopes: ['devices:core:read'] });
      await using plane = tailscaleControlPlane({ baseUrl: api.url, clock: systemClock(), organization: credential });
      await expect(plane.createTailnet('acme', options())).rejects.toMatchObject({ code: 'CONTROL_DENIED' });
      const tailnet = plane.tailnet({ credential });
      expect(await tailnet.listDevices(options())).toEqual([]);
      const denied = { code: 'CONTROL_DENIED', message: expect.stringContaining('auth_keys') };
      await expect(tailnet.describe(options())).rejects.toMatchObject(denied);
      await expect(tailnet.createKey(KEY, options())).rejects.toMatchObject(denied);
    }));

  it("a customer's own tailnet is not deleted: the API refuses, and the refusal is no absence", () =>
    bench(async ({ control, plane }) => {
      const { controlId, credential } = control.addTailnet({ displayName: 'customer' });
      await expect(plane.tailnet({ controlId, credential }).deleteTailnet(options())).rejects.toMatchObject({ code: 'CONTROL_DENIED' });
      expect(control.tailnets()).toHaveLength(1);
    }));

  it('without an organization nothing is listed and nothing created', () =>
    bench(async ({ api, control }) => {
      await using plane = tailscaleControlPlane({ baseUrl: api.url, clock: systemClock() });
      expect(await plane.listTailnets(options())).toEqual([]);
      await expect(plane.createTailnet('acme', options())).rejects.toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
      const { controlId, credential, dnsName } = control.addTailnet({ displayName: 'customer' });
      await expect(plane.tailnet({ controlId }).describe(options())).rejects.toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
      const tailnet = plane.tailnet({ credential });
      expect(await tailnet.describe(options())).toEqual({ controlId: '-', dnsName: undefined });
      control.addDevice({ controlId, hostname: 'gateway' });
      expect(await tailnet.describe(options())).toEqual({ controlId: dnsName, dnsName });
      const renamed = plane.tailnet({ credential, controlId: 'before.ts.net' });
      expect(await renamed.describe(options())).toEqual({ controlId: 'before.ts.net', dnsName });
    }));
});
