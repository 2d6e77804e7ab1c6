import { describe, expect, it } from 'vitest';
import { firewallCsv, firewallMarkdown, firewallRequirements } from '../../src/domain/policy/firewall-requirements.ts';

const relays = [
  { region: 'fra', regionName: 'Frankfurt', host: 'derp1.example', addresses: ['192.0.2.1', '2001:db8::1'], port: 443, stunPort: 3478 },
];
const found = firewallRequirements({ loginServer: 'https://login.example:8443', relays });
const shown = ({ direction, protocol, destination, destinationPort, need }: (typeof found)[number]): string =>
  `${direction} ${protocol} ${destination} ${destinationPort} ${need}`;

describe('what a customer’s firewall must let through', () => {
  it('names each endpoint, by name and by address, what is needed first', () => {
    expect(found.map(shown)).toEqual([
      'outbound tcp login.example 8443 required',
      'outbound tcp derp1.example 443 required',
      'outbound tcp 192.0.2.1 443 required',
      'outbound tcp 2001:db8::1 443 required',
      'outbound udp derp1.example 3478 recommended',
      'outbound udp 192.0.2.1 3478 recommended',
      'outbound udp 2001:db8::1 3478 recommended',
      'outbound udp any any recommended',
      'inbound udp the router 41641 recommended',
    ]);
  });

  it('says each line once, and no STUN where there is none', () => {
    const [relay] = relays;
    const twice = [relay, relay].flatMap((one) => (one === undefined ? [] : [{ ...one, stunPort: undefined }]));
    expect(firewallRequirements({ loginServer: 'http://10.0.0.1', relays: twice }).map(shown)).toEqual([
      'outbound tcp 10.0.0.1 80 required',
      'outbound tcp derp1.example 443 required',
      'outbound tcp 192.0.2.1 443 required',
      'outbound tcp 2001:db8::1 443 required',
      'outbound udp any any recommended',
      'inbound udp the router 41641 recommended',
    ]);
  });

  it('is a table for spreadsheets, in which no cell is a formula', () => {
    const rows = firewallCsv([{ ...(found[0] as (typeof found)[number]), destination: '=HYPERLINK("x")', why: 'a, "b"\nc' }]).split('\r\n');
    expect(rows[0]).toBe('direction,protocol,destination,destination port,source port,need,purpose,why');
    expect(rows[1]).toBe('outbound,tcp,"\'=HYPERLINK(""x"")",8443,any,required,control,"a, ""b""\nc"');
    for (const start of ['+1', '-1', '@x', '\tx'])
      expect(firewallCsv([{ ...(found[0] as (typeof found)[number]), destination: start }])).toContain(`,'${start},`);
  });

  it('is a table for pages, in which nothing breaks out of its cell', () => {
    const text = firewallMarkdown([{ ...(found[0] as (typeof found)[number]), destination: 'a|b\n<img>' }]);
    expect(text.split('\n')).toHaveLength(4);
    expect(text).toContain('a\\|b \\<img\\>');
  });
});
