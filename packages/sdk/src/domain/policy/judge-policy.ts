import { type Cidr, cidrContains, hostCidr, type IpAddress, parseAddress, parseCidr } from '@bifrost/types/core';
import { type ParseError, parse } from 'jsonc-parser';

/** A machine of a tailnet, as its control plane has it. */
export interface JudgedDevice {
  readonly tags: readonly string[];
  readonly addresses: readonly string[];
  /** Approved: packets to them may go by way of this device. */
  readonly routes: readonly string[];
}

/** What may pass: from a device to an address of a device, or of a network behind one. */
export interface JudgedPacket {
  readonly from: JudgedDevice;
  /** The device that it goes to, or that it goes through. */
  readonly to: JudgedDevice;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
}

export interface PolicyVerdict {
  readonly verdict: 'allowed' | 'denied';
  /** The entry that lets it: `grants.3`, `acls.0`; `default` where the policy has no rules at all, and so allows everything. */
  readonly by?: string;
}

/** One direction that a policy allows. */
export interface JudgedRule {
  readonly name: string;
  readonly src: readonly Selector[];
  readonly dst: readonly Selector[];
  readonly via: readonly string[] | undefined;
  readonly ports: readonly PortRange[];
}

export interface PortRange {
  readonly protocol: 'tcp' | 'udp' | 'icmp' | undefined;
  readonly from: number;
  readonly to: number;
}

/**
 * What a selector stands for. `unknown` is one that this judge cannot tell the meaning of: it may stand for anything, so that a proof never rests on
 * a guess. People (`nobody`) are no devices with tags.
 */
export type Selector =
  | { readonly kind: 'everything' | 'unknown' | 'tagged' | 'nobody' }
  | { readonly kind: 'tag'; readonly tag: string }
  | { readonly kind: 'range'; readonly range: Cidr };

/** A policy as this judge reads it. `openToAll`: it has no rules, which allows everything. */
export interface JudgedPolicy {
  readonly openToAll: boolean;
  readonly rules: readonly JudgedRule[];
}

type Names = Readonly<Record<string, unknown>>;

/** A policy file as it is parsed, its own members in lower case. */
export interface PolicyFile {
  readonly grants?: unknown;
  readonly acls?: unknown;
  readonly ssh?: unknown;
  readonly tagowners?: unknown;
  readonly autoapprovers?: unknown;
  readonly hosts?: Names;
  readonly groups?: Names;
  readonly ipsets?: Names;
}

const ALL_PORTS: PortRange = { protocol: undefined, from: 0, to: 65_535 };
/** May stand for anything. */
export const UNKNOWN: Selector = { kind: 'unknown' };

export const isRecord = (value: unknown): value is Names => typeof value === 'object' && value !== null && !Array.isArray(value);
/** Of a list, the texts in it. */
export const textsOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []);

/** A CIDR, or an address as the range that has no other. */
export function rangeOf(text: string): Cidr | undefined {
  const address = parseAddress(text);
  return address === undefined ? parseCidr(text) : hostCidr(address);
}

/** Members whatever their case, as Go reads them. */
export function lowered(value: Names): Names {
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member]));
}

/** Roles of people, who are no devices with tags. */
const PEOPLE: ReadonlySet<string> = new Set(
  ['member', 'admin', 'owner', 'shared', 'network-admin', 'it-admin', 'billing-admin', 'auditor'].map((role) => `autogroup:${role}`),
);

/** `10.0.0.1-10.0.0.9` and others that are written in a way that is not known here are unknown. */
export function selectorsOf(text: string, file: PolicyFile): readonly Selector[] {
  if (text === '*' || text === 'autogroup:danger-all') return [{ kind: 'everything' }];
  if (text.startsWith('tag:')) return [{ kind: 'tag', tag: text }];
  if (text === 'autogroup:tagged') return [{ kind: 'tagged' }];
  if (text === 'autogroup:internet') return [{ kind: 'everything' }]; // more than it is: it may be a route of somebody's
  if (PEOPLE.has(text) || text.includes('@')) return [{ kind: 'nobody' }];
  if (text.startsWith('group:')) return [{ kind: textsOf(file.groups?.[text]).every((member) => member.includes('@')) ? 'nobody' : 'unknown' }];
  if (text.startsWith('ipset:')) return rangesOfSet(file.ipsets?.[text], file);
  const range = rangeOf(text);
  if (range !== undefined) return [{ kind: 'range', range }];
  const host = file.hosts?.[text];
  const named = typeof host === 'string' ? rangeOf(host) : undefined;
  return [named === undefined ? UNKNOWN : { kind: 'range', range: named }];
}

/** What a set removes is not looked at: that makes it larger than it is, never smaller. */
function rangesOfSet(set: unknown, file: PolicyFile): readonly Selector[] {
  if (!Array.isArray(set)) return [UNKNOWN];
  return textsOf(set)
    .filter((text) => !text.startsWith('remove '))
    .flatMap((text) => {
      const name = text.replace(/^add /, '');
      return name.startsWith('ipset:') ? [UNKNOWN] : selectorsOf(name, { ...file, ipsets: {} });
    });
}

const PROTOCOLS: Readonly<Record<string, PortRange['protocol']>> = {
  tcp: 'tcp',
  '6': 'tcp',
  udp: 'udp',
  '17': 'udp',
  icmp: 'icmp',
  '1': 'icmp',
  'ipv6-icmp': 'icmp',
  '58': 'icmp',
};

/** What is written in a way that is not known stands for every port. */
function portsOf(text: string, protocol?: PortRange['protocol']): readonly PortRange[] {
  const [first = '', second] = text.split(':');
  if (second !== undefined) return first in PROTOCOLS ? portsOf(second, PROTOCOLS[first]) : [ALL_PORTS];
  if (first === '*') return [{ ...ALL_PORTS, protocol }];
  return first.split(',').map((part) => {
    const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    return from === undefined ? { ...ALL_PORTS, protocol } : { protocol, from: Number(from), to: Number(to) };
  });
}

function ruleOfGrant(grant: Names, name: string, file: PolicyFile): readonly JudgedRule[] {
  const { src, dst, ip, via } = lowered(grant);
  const ports = textsOf(ip).flatMap((text) => portsOf(text));
  if (ports.length === 0) return []; // of capabilities only: no packet passes by it
  const selectors = (value: unknown): readonly Selector[] => textsOf(value).flatMap((text) => selectorsOf(text, file));
  return [{ name, src: selectors(src), dst: selectors(dst), via: Array.isArray(via) && via.length > 0 ? textsOf(via) : undefined, ports }];
}

function rulesOfAcl(acl: Names, name: string, file: PolicyFile): readonly JudgedRule[] {
  const { action, src, users, dst, ports, proto } = lowered(acl);
  if (action !== undefined && action !== 'accept') return [];
  const protocol = typeof proto === 'string' ? PROTOCOLS[proto] : undefined;
  return textsOf(dst ?? ports).map((target) => {
    const at = target.lastIndexOf(':');
    const [host, port] = at < 0 ? [target, '*'] : [target.slice(0, at), target.slice(at + 1)];
    const bare = host.replace(/^\[|\]$/g, '');
    return {
      name,
      src: textsOf(src ?? users).flatMap((text) => selectorsOf(text, file)),
      dst: selectorsOf(bare, file),
      via: undefined,
      ports: portsOf(port, protocol),
    };
  });
}

/** HuJSON, read. Undefined: it cannot be read, and nothing may be concluded from it. */
export function readPolicyFile(text: string): PolicyFile | undefined {
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { allowTrailingComma: true });
  return errors.length > 0 || !isRecord(value) ? undefined : (lowered(value) as PolicyFile);
}

/** Its rules. Undefined as of {@link readPolicyFile}. */
export function readPolicy(text: string): JudgedPolicy | undefined {
  const file = readPolicyFile(text);
  if (file === undefined) return undefined;
  const { grants, acls } = file;
  const listed = (list: unknown): readonly unknown[] => (Array.isArray(list) ? list : []);
  return {
    openToAll: grants === undefined && acls === undefined,
    rules: [
      ...listed(grants).flatMap((grant, index) => (isRecord(grant) ? ruleOfGrant(grant, `grants.${index}`, file) : [])),
      ...listed(acls).flatMap((acl, index) => (isRecord(acl) ? rulesOfAcl(acl, `acls.${index}`, file) : [])),
    ],
  };
}

/** Whether a selector stands for the device itself. */
export function isDevice(selector: Selector, { tags, addresses }: JudgedDevice): boolean {
  if (selector.kind === 'tag') return tags.includes(selector.tag);
  if (selector.kind === 'tagged') return tags.length > 0;
  if (selector.kind === 'nobody') return tags.length === 0;
  if (selector.kind !== 'range') return true;
  return addresses.some((address) => contains(selector.range, parseAddress(address)));
}

const contains = (range: Cidr, address: IpAddress | undefined): boolean => address !== undefined && cidrContains(range, address);

/** Whether a rule's destination is this address of this device, or behind it. */
function isDestination({ dst, via }: JudgedRule, { to, address }: JudgedPacket): boolean {
  const wanted = parseAddress(address);
  const isItsOwn = to.addresses.some((own) => own === address);
  const mayCarry = via === undefined || to.tags.some((tag) => via.includes(tag));
  return dst.some((selector) => {
    if (!mayCarry) return false;
    if (isItsOwn) return isDevice(selector, to);
    return selector.kind === 'range' ? contains(selector.range, wanted) : selector.kind === 'everything' || selector.kind === 'unknown';
  });
}

const isPort = ({ protocol, from, to }: PortRange, packet: JudgedPacket): boolean =>
  (protocol === undefined || protocol === packet.protocol) && (packet.protocol === 'icmp' || (from <= packet.port && packet.port <= to));

/** What a tailnet's policy says of a packet: denied unless some rule lets it. */
export function judgePacket(policy: JudgedPolicy, packet: JudgedPacket): PolicyVerdict {
  if (policy.openToAll) return { verdict: 'allowed', by: 'default' };
  const by = policy.rules.find(
    (rule) =>
      rule.src.some((selector) => isDevice(selector, packet.from)) &&
      isDestination(rule, packet) &&
      rule.ports.some((ports) => isPort(ports, packet)),
  );
  return by === undefined ? { verdict: 'denied' } : { verdict: 'allowed', by: by.name };
}
