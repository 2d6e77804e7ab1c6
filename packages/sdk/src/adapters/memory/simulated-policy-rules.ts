import { PLACES, type PolicyNames, type Selector } from './simulated-policy-names.ts';
import { type PolicySections, policyRefused } from './simulated-policy-text.ts';

/** Ports of one protocol, or of any; no numbers: of TCP, UDP and ICMP. */
export interface Ports {
  readonly protocols: readonly number[];
  readonly first: number;
  readonly last: number;
}

/** One allowed direction. */
export interface Rule {
  readonly src: readonly Selector[];
  readonly dst: readonly Selector[];
  readonly ports: readonly Ports[];
  /** To a posture, which no simulated device has attributes to meet. */
  readonly isBound: boolean;
}

/** Who may log in where, and as whom. */
export interface SshRule {
  readonly isChecked: boolean;
  readonly src: readonly Selector[];
  readonly dst: readonly Selector[];
  readonly users: readonly string[];
  readonly isBound: boolean;
}

const PROTOCOLS: Readonly<Record<string, readonly number[]>> = {
  ...{ '': [], icmp: [1, 58], igmp: [2], ipv4: [4], 'ip-in-ip': [4], tcp: [6], egp: [8], igp: [9], udp: [17] },
  ...{ gre: [47], esp: [50], ah: [51], 'ipv6-icmp': [58], sctp: [132] },
};
/** Protocols that have ports. */
export const WITH_PORTS: readonly number[] = [6, 17, 132];

/** @throws {BifrostError} `POLICY_REFUSED` */
export function protocolsOf(name: string): readonly number[] {
  if (Object.hasOwn(PROTOCOLS, name)) return PROTOCOLS[name] ?? [];
  if (/^(0|[1-9]\d{0,2})$/.test(name) && Number(name) <= 255) return [Number(name)];
  throw policyRefused('a protocol is not known');
}

function portsOf(protocol: string, ports: string): Ports {
  const protocols = protocolsOf(protocol);
  if (ports === '*') return { protocols, first: 0, last: 65_535 };
  if (!protocols.every((number) => WITH_PORTS.includes(number))) throw policyRefused('a protocol has no ports: use *');
  const [, first = '', last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (first === '' || to > 65_535 || to < from) throw policyRefused('a port, a range of ports or * is expected');
  return { protocols, first: from, last: to };
}

/** Splits the older form `host:ports`, where ports are a list. @throws {BifrostError} `POLICY_REFUSED` */
export function hostPorts(text: string, protocol: string): { readonly host: string; readonly ports: readonly Ports[] } {
  const at = text.lastIndexOf(':');
  if (at < 1) throw policyRefused('a destination lacks its port');
  const ports = text
    .slice(at + 1)
    .split(',')
    .map((one) => portsOf(protocol, one));
  return { host: text.slice(0, at), ports };
}

function grantPorts(text: string): Ports {
  const at = text.indexOf(':');
  if (at === 0) throw policyRefused('ip: a protocol is missing');
  return at < 0 ? portsOf('', text) : portsOf(text.slice(0, at), text.slice(at + 1));
}

const NOT_USERS: readonly string[] = ['tag', 'tagged', 'host', 'set'];

function ruleOf(names: PolicyNames, rule: { src: readonly string[]; dst: readonly string[]; ports: readonly Ports[]; isBound: boolean }): Rule {
  const src = names.selectors(rule.src, PLACES.source);
  const dst = names.selectors(rule.dst, PLACES.destination);
  if (dst.some(({ range }) => range?.[1] === 0)) throw policyRefused('to allow all addresses, use * or autogroup:internet');
  if (dst.some(({ kind }) => kind === 'self') && src.some(({ kind }) => NOT_USERS.includes(kind)))
    throw policyRefused('autogroup:self can only be used with users, groups, or supported autogroups');
  return { ...rule, src, dst };
}

/** Undefined when the policy has neither grants nor acls, which allows everything. @throws {BifrostError} `POLICY_REFUSED` */
export function readRules(names: PolicyNames, { grants, acls, defaultsrcposture }: PolicySections): readonly Rule[] | undefined {
  const byGrants = (grants ?? []).map(({ src, dst, ip, via, app, srcposture }) => {
    if (ip.length === 0 && Object.keys(app ?? {}).length === 0) throw policyRefused('grants: ip and app can not both be empty');
    names.selectors(via, PLACES.via);
    return ruleOf(names, { src, dst, ports: ip.map(grantPorts), isBound: names.areBound([...srcposture, ...defaultsrcposture]) });
  });
  const byAcls = (acls ?? []).flatMap(({ action, src, users, dst, ports, proto, srcposture }) => {
    if (action !== 'accept') throw policyRefused('acls: the only action is accept');
    return [...dst, ...ports].map((destination) => {
      const { host, ports: allowed } = hostPorts(destination, proto);
      return ruleOf(names, { src: [...src, ...users], dst: [host], ports: allowed, isBound: names.areBound([...srcposture, ...defaultsrcposture]) });
    });
  });
  return grants || acls ? [...byGrants, ...byAcls] : undefined;
}

/** A duration as Go writes it, in hours; undefined when it is none. */
function hoursOf(text: string): number | undefined {
  const units: Readonly<Record<string, number>> = { h: 1, m: 1 / 60, s: 1 / 3_600 };
  if (!/^(\d+(\.\d+)?[hms])+$/.test(text)) return text === '0' ? 0 : undefined;
  return [...text.matchAll(/([\d.]+)([hms])/g)].reduce((sum, [, count, unit = 'h']) => sum + Number(count) * (units[unit] ?? 0), 0);
}

/** @throws {BifrostError} `POLICY_REFUSED` */
export function readSsh(names: PolicyNames, { ssh }: PolicySections): readonly SshRule[] {
  return (ssh ?? []).map((entry) => {
    const { action, checkperiod, users } = entry;
    const [src, dst] = [names.selectors(entry.src, PLACES.sshSource), names.selectors(entry.dst, PLACES.sshDestination)];
    const hasMachines = src.some(({ kind }) => kind === 'tag' || kind === 'tagged');
    if (action !== 'accept' && action !== 'check') throw policyRefused('ssh: the actions are accept and check');
    if (src.length === 0 || dst.length === 0 || users.length === 0) throw policyRefused('ssh: src, dst and users must be specified');
    if (!users.every((user) => /^([a-zA-Z_][a-zA-Z0-9._-]*|localpart:\*@[^@ ]+|autogroup:nonroot)$/.test(user)))
      throw policyRefused('ssh: a user is not valid');
    if (action === 'check' && hasMachines) throw policyRefused('ssh: "check" action does not support tags in src');
    if (hasMachines && dst.some(({ kind }) => kind === 'self' || kind === 'member' || kind === 'user'))
      throw policyRefused("ssh: tags in src cannot access users' devices");
    const isPeriod = checkperiod === '' || (action === 'check' && (checkperiod === 'always' || (hoursOf(checkperiod) ?? 169) <= 168));
    if (!isPeriod) throw policyRefused('ssh: checkPeriod is a duration up to 168h, or always, and of check alone');
    return { isChecked: action === 'check', src, dst, users, isBound: names.areBound(entry.srcposture) };
  });
}
