import { type Cidr, cidrContains, type IpAddress, parseAddress, parseCidr } from '@bifrost/types/core';
import type { GuardRule } from '../guard.ts';
import { type JudgedDevice, judgePacket, readPolicy } from './judge-policy.ts';

/** Where a packet's fate is decided, in the order in which it comes there. */
export type ExplainLayer = 'guard' | 'preference' | 'route' | 'tailnet-policy';

/** What one layer says. `unknown`: nobody can tell from here. */
export interface ExplainStep {
  readonly layer: ExplainLayer;
  readonly verdict: 'passes' | 'stops' | 'leaves' | 'unknown';
  /** The rule, route or entry that decides: `5100 to 10.9.0.0/16 prohibit`, `grants.2`. */
  readonly by?: string;
  readonly message: string;
}

/** Whether a packet arrives, and what decides that. `outside`: it does not go through the tunnel at all. */
export interface PacketExplanation {
  readonly verdict: 'allowed' | 'denied' | 'outside' | 'unknown';
  /** The layer that decides: the one that stops it, or the last. */
  readonly layer: ExplainLayer;
  readonly by?: string;
  readonly steps: readonly ExplainStep[];
}

/** The device behind which an address lies: with `route` undefined it is the device's own. */
interface Carrier {
  readonly device: ExplainedDevice;
  readonly route: string | undefined;
}

export interface ExplainedDevice extends JudgedDevice {
  readonly name: string;
  readonly connected: boolean;
}

export interface ExplainInput {
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** The book's own device; undefined while none has joined. */
  readonly from: JudgedDevice | undefined;
  /** Of the pod, in the order of their preferences. Empty in userspace mode. */
  readonly guard: readonly GuardRule[];
  readonly acceptRoutes: boolean;
  /** All of the tailnet. */
  readonly devices: readonly ExplainedDevice[];
  /** As read back. */
  readonly policyText: string;
}

const textOf = ({ preference, selector, action }: GuardRule): string => `${preference} ${selector} ${action}`;

function contains(range: string, address: IpAddress): Cidr | undefined {
  const cidr = parseCidr(range);
  return cidr !== undefined && cidrContains(cidr, address) ? cidr : undefined;
}

/** As the kernel walks the chain: the first rule that speaks of the address decides; `lookup 52` goes on where table 52 has no route. */
function guardStep(rules: readonly GuardRule[], address: IpAddress, hasRoute: boolean): ExplainStep {
  const ofIt = rules.filter(({ family, selector }) => {
    if (family !== address.family) return false;
    if (selector === 'from all') return true;
    return selector.startsWith('to ') && contains(selector.slice(3), address) !== undefined;
  });
  for (const rule of [...ofIt].sort((a, b) => a.preference - b.preference)) {
    const by = textOf(rule);
    if (rule.action === 'prohibit') return { layer: 'guard', verdict: 'stops', by, message: 'the guard in the pod refuses it' };
    if (rule.action === 'lookup main')
      return { layer: 'guard', verdict: 'leaves', by, message: 'it goes by the pod’s own network: to the cluster, or the Internet' };
    if (hasRoute) return { layer: 'guard', verdict: 'passes', by, message: 'the guard sends it into the tunnel' };
  }
  if (rules.length === 0)
    return { layer: 'guard', verdict: 'unknown', message: 'there is no guard: only what honours the proxy variables goes into the tunnel' };
  return hasRoute
    ? { layer: 'guard', verdict: 'passes', message: 'no rule of the guard speaks of it: an accepted route takes it into the tunnel' }
    : { layer: 'guard', verdict: 'leaves', message: 'no rule of the guard speaks of it, and no route: it goes by the pod’s own network' };
}

/** The longest prefix wins, also when its router is away; of routers with the same, one that is connected. */
function carrierOf(devices: readonly ExplainedDevice[], address: IpAddress, text: string): Carrier | undefined {
  const own = devices.find(({ addresses }) => addresses.includes(text));
  if (own !== undefined) return { device: own, route: undefined };
  const ways = devices.flatMap((device) =>
    device.routes.flatMap((route) => {
      const cidr = contains(route, address);
      return cidr === undefined ? [] : [{ device, route, length: cidr.prefixLength }];
    }),
  );
  return ways.sort((a, b) => b.length - a.length || Number(b.device.connected) - Number(a.device.connected))[0];
}

function routeStep(carrier: Carrier | undefined): ExplainStep {
  if (carrier === undefined)
    return { layer: 'route', verdict: 'stops', message: 'no device of the tailnet has this address or an approved route to it' };
  const { device, route } = carrier;
  const by = route === undefined ? device.name : `${route} by ${device.name}`;
  if (!device.connected) return { layer: 'route', verdict: 'stops', by, message: `${device.name} is not connected` };
  return {
    layer: 'route',
    verdict: 'passes',
    by,
    message: route === undefined ? `it is an address of ${device.name}` : `${device.name} carries ${route}`,
  };
}

function policyStep({ policyText, from, address, port, protocol }: ExplainInput, to: JudgedDevice): ExplainStep {
  const policy = readPolicy(policyText);
  if (policy === undefined) return { layer: 'tailnet-policy', verdict: 'unknown', message: 'the policy cannot be read' };
  if (from === undefined)
    return { layer: 'tailnet-policy', verdict: 'unknown', message: 'no device of the book has joined yet: who it is, is not known' };
  const { verdict, by } = judgePacket(policy, { from, to, address, port, protocol });
  return verdict === 'allowed'
    ? { layer: 'tailnet-policy', verdict: 'passes', ...(by === undefined ? {} : { by }), message: 'this entry lets it' }
    : { layer: 'tailnet-policy', verdict: 'stops', message: 'no entry lets it' };
}

/** The layers in order; what comes after one that stops it is not asked. */
function stepsOf(input: ExplainInput, address: IpAddress): readonly ExplainStep[] {
  const carrier = carrierOf(input.devices, address, input.address);
  const isSubnet = carrier?.route !== undefined;
  const first = guardStep(input.guard, address, carrier !== undefined && (!isSubnet || input.acceptRoutes));
  if (first.verdict === 'stops' && first.by?.startsWith('5120') && isSubnet && !input.acceptRoutes)
    return [{ layer: 'preference', verdict: 'stops', by: 'acceptRoutes', message: 'the sidecar does not accept routes' }];
  if (first.verdict === 'stops' && first.by?.startsWith('5120'))
    return [first, routeStep(carrier)].filter(({ verdict }) => verdict === 'stops').reverse();
  if (first.verdict === 'stops' || first.verdict === 'leaves') return [first];
  const route = routeStep(carrier);
  return carrier === undefined || route.verdict === 'stops' ? [first, route] : [first, route, policyStep(input, carrier.device)];
}

const VERDICTS = { passes: 'allowed', stops: 'denied', leaves: 'outside', unknown: 'unknown' } as const;

/** Why a packet of a book passes or not, by what is in force: the guard's rules, the routes of the tailnet, and its policy as read back. */
export function explainPacket(input: ExplainInput): PacketExplanation {
  const address = parseAddress(input.address);
  const steps = address === undefined ? [] : stepsOf(input, address);
  const last = steps.find(({ verdict }) => verdict === 'stops') ?? steps.at(-1);
  if (last === undefined) throw new RangeError('the address must have been checked');
  const verdict = last.verdict === 'passes' && steps.some((step) => step.verdict === 'unknown') ? 'unknown' : VERDICTS[last.verdict];
  return { verdict, layer: last.layer, ...(last.by === undefined ? {} : { by: last.by }), steps };
}
