import { describe, expect, it } from 'vitest';
import { openServed } from './support.ts';

const NAME = 'acme-corp-production';

describe('bifrost firewall', () => {
  it('writes the lines in each form, and ends with 3 when one is blocked; twin: UDP works', async () => {
    await using world = await openServed();
    const controlId = (await world.tailnet())?.state.controlId ?? '';
    const { deviceId } = world.control.addDevice({ controlId, hostname: 'gateway', advertiseRoutes: ['10.0.0.0/8'] });
    const connectivity = { regions: [], udp: false, ipv6: false, mappingVaries: undefined };
    world.control.setConnectivity(deviceId, connectivity);
    const table = await world.bifrost(['firewall', NAME]);
    expect(table).toMatchObject({ code: 3, out: expect.stringMatching(/^1 router, 1 connected; \d of 12 lines blocked\n/) });
    expect(table.out).toMatch(/^blocked +recommended +outbound +udp +derp1a\.example +3478 +Region One +gateway\.\S+ no STUN/m);
    const csv = await world.bifrost(['firewall', NAME, '--format', 'csv']);
    expect(csv.out.split('\r\n')).toHaveLength(14);
    expect(csv.out).toMatch(/^outbound,udp,derp1a\.example,3478,any,recommended,stun,.*,blocked,"gateway/m);
    const markdown = await world.bifrost(['firewall', NAME, '--format', 'markdown']);
    expect(markdown.out).toMatch(/^\| outbound \| udp \| derp1a\.example \| 3478 \|.*\| blocked \|/m);
    const [json, document] = [await world.bifrost(['firewall', NAME, '--format', 'json']), await world.bifrost(['firewall', NAME, '-o', 'json'])];
    expect(json.out).toBe(document.out);
    const { rows, ...rest } = JSON.parse(json.out) as { readonly rows: readonly object[] };
    expect(rest).toEqual({ tailnet_name: NAME, routers: 1, connected_routers: 1 });
    expect(rows).toHaveLength(12);
    expect(rows[0]).toMatchObject({ purpose: 'control', destination_port: '443', status: 'open', evidence: [{ status: 'open' }] });
    world.control.setConnectivity(deviceId, { ...connectivity, udp: true });
    expect(await world.bifrost(['firewall', NAME])).toMatchObject({ code: 0 });
  });

  it('of no tailnet is refused, and a form that is none is a wrong command line', async () => {
    await using world = await openServed();
    expect(await world.bifrost(['firewall', 'nobodys'])).toMatchObject({ code: 1, err: expect.stringContaining('[TAILNET_NOT_FOUND]') });
    expect(await world.bifrost(['firewall', NAME, '--format', 'xml'])).toMatchObject({ code: 2 });
  });
});
