import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { type PolicySections, policyRefused } from './simulated-policy-text.ts';

export type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = readonly [Address, number];

/** What a selector speaks of. */
export type Kind =
  | ('everyone' | 'anywhere' | 'tag' | 'tagged' | 'member' | 'user' | 'role' | 'host' | 'set')
  | ('internet' | 'self' | 'service' | 'shared');

/** One name of a source, a destination or a target, as far as the policy alone resolves it. */
export interface Selector {
  readonly kind: Kind;
  readonly text: string;
  /** The user, or those of a group. */
  readonly users: readonly string[];
  /** Of a host, an IP set and the internet: which addresses are meant. */
  readonly holds?: (address: Address) => boolean;
  /** Of a host: the addresses that it names. */
  readonly range?: Range;
}

/** Where a selector stands, and what may stand there. */
export interface Place {
  readonly name: string;
  readonly may: readonly Kind[];
}

const DEVICES: readonly Kind[] = ['tag', 'tagged', 'member', 'user', 'role'];
export const PLACES = {
  source: { name: 'the src of a rule', may: ['everyone', 'anywhere', 'shared', ...DEVICES, 'host', 'set'] },
  destination: { name: 'the dst of a rule', may: ['everyone', ...DEVICES, 'host', 'set', 'internet', 'self', 'service'] },
  sshSource: { name: 'the src of ssh', may: DEVICES },
  sshDestination: { name: 'the dst of ssh', may: ['tag', 'tagged', 'member', 'user', 'self'] },
  target: { name: 'the target of nodeAttrs', may: ['everyone', ...DEVICES, 'host'] },
  approver: { name: 'autoApprovers', may: DEVICES },
  owner: { name: 'tagOwners', may: ['tag', 'user', 'role', 'member'] },
  via: { name: 'via, which can only be a tag', may: ['tag'] },
  service: { name: 'autoApprovers.services', may: ['service', 'tag'] },
  testSource: { name: 'the src of a test', may: [...DEVICES, 'host'] },
  testDestination: { name: 'the destination of a test', may: [...DEVICES, 'host', 'self'] },
} as const satisfies Readonly<Record<string, Place>>;

const AUTOGROUPS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ...(['member', 'tagged', 'self', 'internet', 'shared'] as const).map((kind): [string, Kind] => [kind, kind]),
  ...['owner', 'admin', 'it-admin', 'network-admin', 'billing-admin', 'auditor'].map((role): [string, Kind] => [role, 'role']),
  ['members', 'member'],
  ['danger-all', 'anywhere'],
]);

/** An address or a CIDR without host bits; undefined when it is neither. */
export function rangeOf(text: string): Range | undefined {
  const [host = '', bits, ...rest] = text.replace(/^\[(.*)\]$/, '$1').split('/');
  if (isIP(host) === 0 || host.includes('%') || rest.length > 0) return undefined;
  const address = ipaddr.parse(host);
  const widest = address.kind() === 'ipv4' ? 32 : 128;
  if (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > widest)) return undefined;
  const width = bits === undefined ? widest : Number(bits);
  const family = address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6;
  const network = family.networkAddressFromCIDR(`${host}/${width}`);
  return network.toNormalizedString() === address.toNormalizedString() ? [address, width] : undefined;
}

export const isIn = (address: Address, [network, width]: Range): boolean => address.kind() === network.kind() && address.match(network, width);

const NOT_PUBLIC = ['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16', '224.0.0.0/3']
  .map(rangeOf)
  .filter((range) => range !== undefined);
const PUBLIC6 = rangeOf('2000::/3');
const isPublic = (address: Address): boolean =>
  address.kind() === 'ipv4' ? !NOT_PUBLIC.some((range) => isIn(address, range)) : PUBLIC6 !== undefined && isIn(address, PUBLIC6);

/** What a policy gives names to. */
export class PolicyNames {
  readonly #sections: PolicySections;
  readonly #sets = new Map<string, Selector>();

  /** Checks every name, whoever uses it. @throws {BifrostError} `POLICY_REFUSED` */
  constructor(sections: PolicySections) {
    this.#sections = sections;
    const { groups, hosts, postures, ipsets, tagowners } = sections;
    for (const [name, users] of Object.entries(groups)) {
      if (!name.startsWith('group:') || !users.every((user) => user.includes('@'))) throw policyRefused('groups: a group is `group:` and users');
    }
    for (const [name, address] of Object.entries(hosts)) {
      if (!/^[^:*@/ ]+$/.test(name) || rangeOf(name) || !rangeOf(address)) throw policyRefused('hosts: a host is a name and its address');
    }
    if (!Object.keys(postures).every((name) => name.startsWith('posture:'))) throw policyRefused('postures: a posture is `posture:` and a name');
    for (const name of Object.keys(ipsets)) this.#readSet(name, []);
    for (const [tag, owners] of Object.entries(tagowners)) {
      if (!/^tag:[a-zA-Z][a-zA-Z0-9-]*$/.test(tag)) throw policyRefused('tagOwners: a tag is `tag:` and a name');
      this.selectors(owners, PLACES.owner);
    }
  }

  /** @throws {BifrostError} `POLICY_REFUSED` — unknown, or not to stand there */
  selector(text: string, place: Place): Selector {
    const selector = this.#resolve(text);
    if (!place.may.includes(selector.kind)) throw policyRefused(`a selector cannot be used in ${place.name}`);
    return selector;
  }

  selectors(texts: readonly string[], place: Place): readonly Selector[] {
    return texts.map((text) => this.selector(text, place));
  }

  /** Whether there is any posture to meet. */
  areBound(postures: readonly string[]): boolean {
    if (!postures.every((posture) => posture in this.#sections.postures)) throw policyRefused('a posture is not defined');
    return postures.length > 0;
  }

  #resolve(text: string): Selector {
    const selector = { text, users: [] };
    const [, prefix = '', rest = ''] = /^([^:]*):?(.*)$/s.exec(text) ?? [];
    const { tagowners, groups, hosts } = this.#sections;
    if (text === '*') return { ...selector, kind: 'everyone' };
    if (prefix === 'tag') return Object.hasOwn(tagowners, text) ? { ...selector, kind: 'tag' } : refuse('a tag is not in tagOwners');
    if (prefix === 'group')
      return { text, kind: 'user', users: Object.hasOwn(groups, text) ? (groups[text] ?? []) : refuse('a group is not defined') };
    if (prefix === 'ipset') return this.#sets.get(text) ?? refuse('an IP set is not defined');
    if (prefix === 'svc' && rest !== '') return { ...selector, kind: 'service' };
    if (text === 'autogroup:internet') return { ...selector, kind: 'internet', holds: isPublic };
    if (prefix === 'autogroup') return { ...selector, kind: AUTOGROUPS.get(rest) ?? refuse('an autogroup is not known') };
    if (text.includes('@')) return { text, kind: 'user', users: [text] };
    const range = rangeOf(Object.hasOwn(hosts, text) ? (hosts[text] ?? '') : text) ?? refuse('a selector or host is not known');
    return { ...selector, kind: 'host', range, holds: (address) => isIn(address, range) };
  }

  /** Lines of an IP set work in their order, so the last one that speaks of an address decides. `open` are the sets that wait for this one. */
  #readSet(name: string, open: readonly string[]): Selector {
    const done = this.#sets.get(name);
    if (done) return done;
    const lines = name.startsWith('ipset:') ? this.#sections.ipsets[name] : undefined;
    if (!lines || open.includes(name)) throw policyRefused('ipsets: a set is not defined, or holds itself');
    const steps = lines.map((line) => {
      const [first = '', ...rest] = line.split(' ');
      const [verb, what] = rest.length === 0 ? ['add', first] : [first, rest.join(' ')];
      if (verb !== 'add' && verb !== 'remove') throw policyRefused('ipsets: a line neither adds nor removes');
      return { isAdded: verb === 'add', holds: this.#setMember(what, [...open, name]) };
    });
    const holds = (address: Address): boolean => steps.findLast((step) => step.holds(address))?.isAdded ?? false;
    const set: Selector = { kind: 'set', text: name, users: [], holds };
    this.#sets.set(name, set);
    return set;
  }

  /** Addresses, a range of them, a host, the internet or another set; no tags, users or groups. */
  #setMember(what: string, open: readonly string[]): (address: Address) => boolean {
    const [from, to] = what.split('-').map((end) => rangeOf(end)?.[0].toByteArray());
    if (from && to && from.length === to.length) {
      return (address) => {
        const bytes = address.toByteArray();
        return bytes.length === from.length && compare(bytes, from) >= 0 && compare(bytes, to) <= 0;
      };
    }
    const { holds } = what.startsWith('ipset:') ? this.#readSet(what, open) : this.#resolve(what.replace(/^host:/, ''));
    return holds ?? refuse('ipsets: a member has no addresses of its own');
  }
}

function refuse(message: string): never {
  throw policyRefused(message);
}

function compare(one: readonly number[], other: readonly number[]): number {
  const at = one.findIndex((byte, index) => byte !== other[index]);
  return at < 0 ? 0 : (one[at] ?? 0) - (other[at] ?? 0);
}
