import { describe, expect, it } from 'vitest';
import { firewallRequirements } from '../../src/domain/policy/firewall-requirements.ts';

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

  it('leaves the relay’s TCP out where only STUN answers', () => {
    const stunOnly = relays.map((relay) => ({ ...relay, addresses: [], port: undefined }));
    expect(firewallRequirements({ loginServer: 'https://10.0.0.1', relays: stunOnly }).map(shown)).toEqual([
      'outbound tcp 10.0.0.1 443 required',
      'outbound udp derp1.example 3478 recommended',
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
});
