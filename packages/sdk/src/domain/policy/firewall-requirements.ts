import type { FirewallRequirement } from '@bifrost/types/core';
import type { Relay } from './relays.ts';

/** The port that Tailscale's clients bind for direct links, where it is free. */
const WIREGUARD_PORT = '41641';
const ANY = 'any';

/** Control server of the Tailscale clients, where no other is set. */
export const TAILSCALE_LOGIN_SERVER = 'https://controlplane.tailscale.com';

interface FirewallInput {
  /** Of the Tailscale clients. */
  readonly loginServer: string;
  readonly relays: readonly Relay[];
}

function control(loginServer: string): FirewallRequirement {
  const { hostname, port, protocol } = new URL(loginServer);
  const standard = protocol === 'http:' ? '80' : '443';
  return {
    ...{ purpose: 'control', direction: 'outbound', protocol: 'tcp', destination: hostname, destinationPort: port === '' ? standard : port },
    ...{ sourcePort: ANY, need: 'required', why: 'keys, peers and the policy come from here' },
  };
}

const outbound = { direction: 'outbound', sourcePort: ANY } as const;

function ofRelay({ region, regionName, host, addresses, port, stunPort }: Relay): readonly FirewallRequirement[] {
  const relayed = (destination: string, destinationPort: number): FirewallRequirement => ({
    ...{ ...outbound, purpose: 'relay', protocol: 'tcp', destination, destinationPort: String(destinationPort) },
    ...{ region: regionName, need: 'required', why: `relay ${region}: how peers find each other, and the way while there is no direct one` },
  });
  const stun = (destination: string, destinationPort: number): FirewallRequirement => ({
    ...{ ...outbound, purpose: 'stun', protocol: 'udp', destination, destinationPort: String(destinationPort) },
    ...{ region: regionName, need: 'recommended', why: `relay ${region}: tells a router its outside address, for direct links` },
  });
  return [host, ...addresses].flatMap((destination) => [
    ...(port === undefined ? [] : [relayed(destination, port)]),
    ...(stunPort === undefined ? [] : [stun(destination, stunPort)]),
  ]);
}

const DIRECT: readonly FirewallRequirement[] = [
  {
    ...{ purpose: 'direct', direction: 'outbound', protocol: 'udp', destination: ANY, destinationPort: ANY, sourcePort: WIREGUARD_PORT },
    ...{ need: 'recommended', why: 'direct links to books: their outside port is not known before' },
  },
  {
    ...{ purpose: 'direct', direction: 'inbound', protocol: 'udp', destination: 'the router', destinationPort: WIREGUARD_PORT, sourcePort: ANY },
    ...{ need: 'recommended', why: 'a direct link also where the firewall gives each destination another outside port' },
  },
];

/** What the firewall in front of a customer's routers must let through, each line once, the needed ones first. Nothing needs to be let in from the Internet. */
export function firewallRequirements({ loginServer, relays }: FirewallInput): readonly FirewallRequirement[] {
  const all = [control(loginServer), ...relays.flatMap(ofRelay), ...DIRECT];
  const once = [...new Map(all.map((line) => [JSON.stringify(line), line])).values()];
  return [...once.filter(({ need }) => need === 'required'), ...once.filter(({ need }) => need !== 'required')];
}
