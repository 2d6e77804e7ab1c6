import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../src/adapters/system/clock.ts';
import { tailscaleControlPlane } from '../src/tailscale.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';
import type { HttpFault } from '../src/testing/tailscale-api-simulator.ts';
import { bench, calls, options } from './tailscale-bench.ts';

const MAP = '/derpmap/default';
const answer = (body: object): HttpFault => ({ path: MAP, status: 200, body: JSON.stringify(body) });
const region = (nodes: readonly object[] | null, part: object = {}) => ({
  Regions: { 10: { RegionID: 10, RegionCode: 'fra', RegionName: 'Frankfurt', Nodes: nodes, ...part } },
});

describe('the relays’ map of a login server', () => {
  it('is read as Go writes it: what is usual is left out, what is none is said so', () =>
    bench(async ({ api, plane }) => {
      const usual = { Name: '10a', RegionID: 10, HostName: 'derp10a.example', IPv4: '192.0.2.10', IPv6: '2001:db8::10', CanPort80: true };
      const bare = { HostName: 'derp10b.example', IPv4: 'none', IPv6: 'none', STUNPort: -1, DERPPort: 8443 };
      const literal = { HostName: '192.0.2.12', IPv4: '192.0.2.12', STUNOnly: true, STUNPort: 3479 };
      api.failNext(answer(region([usual, bare, literal])));
      const where = { region: 'fra', regionName: 'Frankfurt', regionId: 10 };
      expect(await plane.relays(options())).toEqual([
        { ...where, host: 'derp10a.example', addresses: ['192.0.2.10', '2001:db8::10'], port: 443, stunPort: 3478 },
        { ...where, host: 'derp10b.example', addresses: [], port: 8443, stunPort: undefined },
        { ...where, host: '192.0.2.12', addresses: [], port: undefined, stunPort: 3479 },
      ]);
    }));

  it('may be empty, and a region without a name has its code', () =>
    bench(async ({ api, plane }) => {
      api.failNext(answer({ Regions: {} }));
      expect(await plane.relays(options())).toEqual([]);
    }).then(() =>
      bench(async ({ api, plane }) => {
        api.failNext(answer(region([{ HostName: 'a.example' }], { RegionName: '' })));
        expect(await plane.relays(options())).toMatchObject([{ region: 'fra', regionName: 'fra' }]);
      }),
    ));

  it.each<[string, HttpFault, object]>([
    ['none published', { path: MAP, status: 404, body: '404 page not found' }, { code: 'CONTROL_NOT_FOUND' }],
    ['a sign-in page', { path: MAP, status: 200, body: '<html>' }, { code: 'CONTROL_ANSWER_INVALID' }],
    ['a redirect', { path: MAP, status: 302, headers: { location: '/elsewhere' } }, { code: 'CONTROL_ANSWER_INVALID' }],
    ['a name that is none', answer(region([{ HostName: 'a b' }])), { code: 'CONTROL_ANSWER_INVALID' }],
    ['a port that is none', answer(region([{ HostName: 'a.example', DERPPort: 65_536 }])), { code: 'CONTROL_ANSWER_INVALID' }],
    ['too many', answer(region(Array.from({ length: 101 }, () => ({ HostName: 'a.example' })))), { code: 'CONTROL_ANSWER_INVALID' }],
    ['another document', answer({ message: 'no' }), { code: 'CONTROL_ANSWER_INVALID' }],
    ['429', { path: MAP, status: 429, headers: { 'retry-after': '7' } }, { code: 'CONTROL_RATE_LIMITED', retryAfterMs: 7_000 }],
    ['503', { path: MAP, status: 503 }, { code: 'CONTROL_UNAVAILABLE' }],
    ['a reset', { path: MAP, reset: true }, { code: 'CONTROL_UNAVAILABLE' }],
  ])('%s has its code, and is not kept', (_, fault, expected) =>
    bench(async ({ api, plane }) => {
      api.failNext(fault);
      await expect(plane.relays(options())).rejects.toMatchObject(expected);
      expect(await plane.relays(options())).toHaveLength(3);
    }),
  );

  it('is asked for once in ten minutes, without a token', () => {
    const clock = new ManualClock();
    return bench(
      async ({ api, plane }) => {
        await plane.relays(options());
        await clock.advance(599_999);
        await plane.relays(options());
        expect([calls(api, MAP), api.requests.length]).toEqual([1, 1]);
        await clock.advance(1);
        await plane.relays(options());
        expect([calls(api, MAP), api.requests.length]).toEqual([2, 2]);
      },
      { adapter: { clock } },
    );
  });

  it('is asked for each time where it is not to be kept', () =>
    bench(
      async ({ api, plane }) => {
        await plane.relays(options());
        await plane.relays(options());
        expect(calls(api, MAP)).toBe(2);
      },
      { adapter: { relaysKeptMs: 0 } },
    ));

  it('comes from loginServer where that is given, else from where the API is', async () => {
    const asked: (string | undefined)[] = [];
    const server = createServer(({ url }, response) => {
      asked.push(url);
      response.end(JSON.stringify({ Regions: {} }));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    try {
      const loginServer = `http://127.0.0.1:${(server.address() as AddressInfo).port}/login/`;
      await using plane = tailscaleControlPlane({ baseUrl: 'https://api.invalid', loginServer, clock: systemClock() });
      expect(await plane.relays(options())).toEqual([]);
      expect(asked).toEqual(['/login/derpmap/default']);
    } finally {
      server.close();
    }
    for (const loginServer of ['login.example', 'https://user:pw@login.example', 'https://login.example/?a=b']) {
      const issues = [expect.objectContaining({ path: 'loginServer' })];
      expect(() => tailscaleControlPlane({ loginServer })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS', issues }));
    }
  });
});
