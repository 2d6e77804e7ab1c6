// What a policy lets pass, read as a reader of Tailscale's pages would read it: plain JSON, each selector by what it says, no code of the product's.
import { isIn } from './worlds.ts';

interface Machine {
  readonly tags: readonly string[];
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
}

export interface NaivePacket {
  readonly from: Machine;
  /** The machine that it goes to, or through. */
  readonly to: Machine;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
}

interface RawGrant {
  readonly src: readonly string[];
  readonly dst: readonly string[];
  readonly ip?: readonly string[];
  readonly via?: readonly string[];
}
interface RawPolicy {
  readonly grants?: readonly RawGrant[];
  readonly hosts?: Readonly<Record<string, string>>;
}

const rangeOf = (text: string): string => (text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);

/** Whether a selector means this address of this machine. A machine with tags is no person's, whoever set it up. */
function meansMachine(selector: string, { tags }: Machine, address: string, { hosts = {} }: RawPolicy): boolean {
  if (selector === '*') return true;
  if (selector === 'autogroup:tagged') return tags.length > 0;
  if (selector === 'autogroup:member' || selector.startsWith('group:')) return tags.length === 0;
  if (selector.startsWith('tag:')) return tags.includes(selector);
  return isIn(address, rangeOf(hosts[selector] ?? selector));
}

/** Whether it means this address in a network behind a machine: only addresses can. */
function meansNetwork(selector: string, address: string, { hosts = {} }: RawPolicy): boolean {
  if (selector === '*') return true;
  if (/^(tag|group|autogroup):/.test(selector)) return false;
  return isIn(address, rangeOf(hosts[selector] ?? selector));
}

/** `*`, `443`, `400-500`, and the same after `tcp:`, `udp:` or `icmp:`; ICMP has no ports. */
function meansPort(text: string, { protocol, port }: NaivePacket): boolean {
  const [ports = '', only = protocol] = text.split(':').reverse();
  if (only !== protocol) return false;
  if (ports === '*' || protocol === 'icmp') return true;
  const [from = 0, to = from] = ports.split('-').map(Number);
  return from <= port && port <= to;
}

/** Which grants of a policy let a packet pass: each alone would be enough. */
export function naively(text: string): (packet: NaivePacket) => readonly string[] {
  const policy = JSON.parse(text) as RawPolicy;
  const lets = ({ src, dst, ip = [], via = [] }: RawGrant, packet: NaivePacket): boolean => {
    const { from, to, address } = packet;
    if (via.length > 0 && !via.some((tag) => to.tags.includes(tag))) return false;
    if (!ip.some((ports) => meansPort(ports, packet))) return false;
    if (!src.some((selector) => from.addresses.some((own) => meansMachine(selector, from, own, policy)))) return false;
    if (to.addresses.includes(address)) return dst.some((selector) => meansMachine(selector, to, address, policy));
    return dst.some((selector) => meansNetwork(selector, address, policy));
  };
  return (packet) => (policy.grants ?? []).flatMap((grant, index) => (lets(grant, packet) ? [`grants.${index}`] : []));
}
