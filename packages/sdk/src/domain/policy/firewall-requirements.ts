import type { Relay } from './relays.ts';

/** What a customer's firewall must let through for their routers. Replies to it are meant too. */
export interface FirewallRequirement {
  readonly purpose: 'control' | 'relay' | 'stun' | 'direct';
  readonly direction: 'outbound' | 'inbound';
  readonly protocol: 'tcp' | 'udp';
  /** One port, or `any`. */
  readonly destinationPort: string;
  readonly sourcePort: string;
  /** A host, an address, or `any`. */
  readonly destination: string;
  /** `required`: nothing works without it. `recommended`: without it packets take relays, slower and with less throughput. */
  readonly need: 'required' | 'recommended';
  readonly why: string;
}

/** The port that Tailscale's clients bind for direct links, where it is free. */
const WIREGUARD_PORT = '41641';
const ANY = 'any';

interface FirewallInput {
  /** Of the Tailscale clients: `https://controlplane.tailscale.com`. */
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

function ofRelay({ region, host, addresses, port, stunPort }: Relay): readonly FirewallRequirement[] {
  const relayed = (destination: string, destinationPort: number): FirewallRequirement => ({
    ...{ ...outbound, purpose: 'relay', protocol: 'tcp', destination, destinationPort: String(destinationPort) },
    ...{ need: 'required', why: `relay ${region}: how peers find each other, and the way while there is no direct one` },
  });
  const stun = (destination: string, destinationPort: number): FirewallRequirement => ({
    ...{ ...outbound, purpose: 'stun', protocol: 'udp', destination, destinationPort: String(destinationPort) },
    ...{ need: 'recommended', why: `relay ${region}: tells a router its outside address, for direct links` },
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

const COLUMNS = [
  'direction',
  'protocol',
  'destination',
  'destinationPort',
  'sourcePort',
  'need',
  'purpose',
  'why',
] as const satisfies readonly (keyof FirewallRequirement)[];
const HEADINGS = ['direction', 'protocol', 'destination', 'destination port', 'source port', 'need', 'purpose', 'why'] as const;

/** A spreadsheet reads a cell that begins so as a formula. */
const cell = (text: string): string => {
  const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
};

/** RFC 4180, with a heading. */
export const firewallCsv = (requirements: readonly FirewallRequirement[]): string =>
  [HEADINGS, ...requirements.map((line) => COLUMNS.map((column) => line[column]))].map((row) => `${row.map(cell).join(',')}\r\n`).join('');

const escaped = (text: string): string => text.replace(/[\\|`*_<>[\]]/g, '\\$&').replaceAll('\n', ' ');

export const firewallMarkdown = (requirements: readonly FirewallRequirement[]): string =>
  [HEADINGS, HEADINGS.map(() => '---'), ...requirements.map((line) => COLUMNS.map((column) => escaped(line[column])))]
    .map((row) => `| ${row.join(' | ')} |\n`)
    .join('');
