import type { FirewallRow } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { firewallCsv, firewallJson, firewallMarkdown } from '../../src/domain/policy/firewall-writers.ts';

const row: FirewallRow = {
  ...{ purpose: 'stun', direction: 'outbound', protocol: 'udp', destination: 'derp1.example', destinationPort: '3478', sourcePort: 'any' },
  ...{ need: 'recommended', region: 'Frankfurt', why: 'a, "b"\nc', status: 'blocked' },
  evidence: [{ router: 'gw.example', status: 'blocked', message: 'no STUN', at: new Date(0) }],
};
const rows = (part: Partial<FirewallRow> = {}) => ({ rows: [{ ...row, ...part }] });

describe('what a customer’s firewall must let through, written down', () => {
  it('is a table for spreadsheets', () => {
    expect(firewallCsv(rows())).toBe(
      'direction,protocol,destination,destination port,source port,need,purpose,why,status,evidence\r\n' +
        'outbound,udp,derp1.example,3478,any,recommended,stun,"a, ""b""\nc",blocked,gw.example: no STUN (1970-01-01T00:00:00.000Z)\r\n',
    );
  });

  it.each(['=HYPERLINK("x")', '+1', '-1', '@x', '\tx', '\rx', '＝x'])('in which %j is no formula', (text) => {
    const written = firewallCsv(rows({ destination: text, evidence: [] }));
    expect(written).toMatch(/^outbound,udp,"?'/m);
    const evidence = [{ router: text, status: 'open' as const, message: 'm', at: new Date(0) }];
    expect(firewallCsv(rows({ evidence }))).toMatch(/,blocked,"?'/);
  });

  it('is a table for pages, in which nothing breaks out of its cell', () => {
    const text = firewallMarkdown(rows({ destination: 'a|b\r\n<img> `x` [y](z)' }));
    expect(text.split('\n')).toHaveLength(4);
    expect(text).toContain('| a\\|b \\<img\\> \\`x\\` \\[y\\](z) |');
  });

  it('is a document that reads back', () => {
    const report = { tailnetName: 'acme', routers: 1, connectedRouters: 1, ...rows() };
    const text = firewallJson(report);
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(report)));
    expect(text).toMatch(/\}\n$/);
  });
});
