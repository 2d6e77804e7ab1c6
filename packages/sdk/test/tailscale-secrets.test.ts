import { inspect } from 'node:util';
import { BifrostError, Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../src/adapters/system/clock.ts';
import { tailscaleControlPlane } from '../src/tailscale.ts';
import { SimulatedControl } from '../src/testing/simulated-control.ts';
import { type HttpFault, TailscaleApiSimulator } from '../src/testing/tailscale-api-simulator.ts';

const CANARY = 'canary7f3a';
const TOKEN_BODY = JSON.stringify({ access_token: `token-${CANARY}`, expires_in: 3_600 });
const options = () => ({ signal: AbortSignal.timeout(10_000) });

/** All that a careless logger could print of an error. */
function printed(error: unknown): string {
  const chain = [String(error), JSON.stringify(error), inspect(error, { depth: 12, showHidden: true })];
  for (let at = error; at instanceof Error; at = at.cause) chain.push(at.stack ?? '', at.message);
  return chain.join('\n');
}

/** Answers that repeat what was sent, or hold a key, each broken in another way. */
const ECHOES: readonly HttpFault[] = [
  {
    status: 400,
    body: JSON.stringify({ message: `bad token Bearer token-${CANARY} for tskey-client-${CANARY}`, data: [{ errors: [`tskey-auth-${CANARY}`] }] }),
  },
  { status: 401, count: 2, body: JSON.stringify({ message: `token-${CANARY}` }) },
  { status: 403, body: JSON.stringify({ message: `token-${CANARY}` }) },
  { status: 409, body: `token-${CANARY}` },
  { status: 429, body: `token-${CANARY}`, headers: { 'retry-after': `token-${CANARY}` } },
  { status: 500, body: JSON.stringify({ message: `token-${CANARY}` }) },
  { status: 200, body: `{"id":"k1","key":"tskey-auth-${CANARY}"` },
  { status: 200, body: `${CANARY} is not JSON` },
  { status: 200, body: JSON.stringify({ key: `tskey-auth-${CANARY}`, id: { tskey: CANARY } }) },
  { status: 200, truncated: true, body: JSON.stringify({ key: `tskey-auth-${CANARY}`, id: 'k1' }) },
];

describe('tailscale adapter: a secret never leaves its box', () => {
  const credential = { clientId: 'client', clientSecret: new Secret(`tskey-client-${CANARY}`) };

  it.each(ECHOES)('an answer that repeats secrets shows none in the error: %o', async (echo) => {
    await using api = new TailscaleApiSimulator(new SimulatedControl());
    await api.start();
    await using plane = tailscaleControlPlane({ baseUrl: api.url, clock: systemClock() });
    const tailnet = plane.tailnet({ credential });
    api.failNext({ path: '/oauth/token', count: 2, status: 200, body: TOKEN_BODY });
    api.failNext({ path: '/tailnet/', ...echo });
    const request = { description: 'x', tags: ['tag:x'], reusable: false, ephemeral: true, lifetimeSeconds: 60 };
    const error = await tailnet.createKey(request, options()).catch((caught: unknown) => caught);
    expect(BifrostError.is(error)).toBe(true);
    expect(printed(error)).not.toContain(CANARY);
    expect(inspect([plane, tailnet], { depth: 12, showHidden: true })).not.toContain(CANARY);
  });

  it.each([200, 400, 401, 403, 404, 409, 429, 500])('a token call that answers %i with the secret in it shows none', async (status) => {
    await using api = new TailscaleApiSimulator(new SimulatedControl());
    await api.start();
    await using plane = tailscaleControlPlane({ baseUrl: api.url, clock: systemClock(), organization: credential });
    for (const body of [`tskey-client-${CANARY}`, JSON.stringify({ message: CANARY }), `{"access_token":"${CANARY}`]) {
      api.failNext({ path: '/oauth/token', status, body });
      const error = await plane.listTailnets(options()).catch((caught: unknown) => caught);
      expect(BifrostError.is(error)).toBe(true);
      expect(printed(error)).not.toContain(CANARY);
    }
  });

  it('wrong options are named by path, never by value', () => {
    const clock = systemClock();
    const wrong = [
      { baseUrl: `https://user:${CANARY}@example.invalid` },
      { baseUrl: CANARY },
      { userAgent: `${CANARY}\r\n` },
      { timeoutMs: 0 },
      { maxConcurrent: 0.5 },
    ];
    for (const part of wrong) {
      const make = () => tailscaleControlPlane({ clock, ...part });
      expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS', issues: [expect.objectContaining({ path: Object.keys(part)[0] })] }));
      try {
        make();
      } catch (error) {
        expect(printed(error)).not.toContain(CANARY);
      }
    }
  });
});
