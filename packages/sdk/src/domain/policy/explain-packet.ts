import {
  type Cidr,
  cidrContains,
  type ExplainOutcome,
  type ExplainStep,
  type IpAddress,
  type PacketExplanation,
  type PacketProtocol,
  parseAddress,
  parseCidr,
} from '@bifrost/types/core';
import { PREFERENCES } from '../guard.ts';
import { JudgedGuard, type ReadRule, ruleText } from './judge-guard.ts';
import { type JudgedDevice, type JudgedPolicy, judgePacket, readPolicy } from './judge-policy.ts';

/** The device behind which an address lies: with `route` undefined it is the device's own. */
interface Carrier<Found extends ExplainedDevice = ExplainedDevice> {
  readonly device: Found;
  readonly route: string | undefined;
}

export interface ExplainedDevice extends JudgedDevice {
  readonly name: string;
  readonly connected: boolean;
}

/** All that decides about a packet, as it was read. */
export interface PacketSurroundings {
  readonly address: string;
  readonly port: number;
  readonly protocol: PacketProtocol;
  /** The book's own device; undefined while none has joined. */
  readonly from: JudgedDevice | undefined;
  /** Of the pod, in the order of their preferences. Empty in userspace mode. */
  readonly guard: readonly ReadRule[];
  readonly acceptRoutes: boolean;
  /** The sidecar is kept out of its tailnet. */
  readonly isQuarantined: boolean;
  /** All of the tailnet. */
  readonly devices: readonly ExplainedDevice[];
  /** As read back; undefined where our client may not read it. */
  readonly policyText: string | undefined;
  /** What reads that text: whoever asks again and again keeps what it made of it. @default readPolicy */
  readonly reader?: (text: string) => JudgedPolicy | undefined;
}

function contains(range: string, address: IpAddress): Cidr | undefined {
  const cidr = parseCidr(range);
  return cidr !== undefined && cidrContains(cidr, address) ? cidr : undefined;
}

interface Guarded {
  readonly step: ExplainStep;
  /** Refused only because table 52 has no route: the tunnel is down, the router away, or routes are not accepted. */
  readonly failedClosed: boolean;
}

const guarded = (outcome: ExplainOutcome, message: string, rule?: ReadRule): Guarded => ({
  step: { layer: 'guard', outcome, ...(rule === undefined ? {} : { by: ruleText(rule) }), message },
  failedClosed: rule?.preference === PREFERENCES.failClosed,
});

function guardOf(rules: readonly ReadRule[], address: IpAddress, hasRoute: boolean): Guarded {
  if (rules.length === 0) return guarded('unknown', 'there is no guard: only what honours the proxy variables goes into the tunnel');
  const { goes, by } = new JudgedGuard(rules).judge(address, { tunnelUp: hasRoute });
  if (goes === 'denied') return guarded('stops', 'the guard in the pod refuses it', by);
  if (by === undefined && goes === 'tailnet')
    return guarded('passes', 'no rule of the guard speaks of it: an accepted route takes it into the tunnel');
  if (by === undefined) return guarded('leaves', 'no rule of the guard speaks of it, and no route: it goes by the pod’s own network');
  if (goes === 'tailnet') return guarded('passes', 'the guard sends it into the tunnel', by);
  return guarded('leaves', 'it goes by the pod’s own network: to the cluster, or the Internet', by);
}

/** The longest prefix wins, also when its router is away; of routers with the same, one that is connected. */
function carrierOf<Found extends ExplainedDevice>(devices: readonly Found[], address: IpAddress, text: string): Carrier<Found> | undefined {
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
    return { layer: 'route', outcome: 'stops', message: 'no device of the tailnet has this address or an approved route to it' };
  const { device, route } = carrier;
  const by = route === undefined ? device.name : `${route} by ${device.name}`;
  if (!device.connected) return { layer: 'route', outcome: 'stops', by, message: `${device.name} is not connected` };
  return {
    layer: 'route',
    outcome: 'passes',
    by,
    message: route === undefined ? `it is an address of ${device.name}` : `${device.name} carries ${route}`,
  };
}

function policyStep({ policyText, reader = readPolicy, from, address, port, protocol }: PacketSurroundings, to: JudgedDevice): ExplainStep {
  if (policyText === undefined)
    return { layer: 'tailnet-policy', outcome: 'unknown', message: 'our client may not read the policy: give it the scope policy_file' };
  const policy = reader(policyText);
  if (policy === undefined) return { layer: 'tailnet-policy', outcome: 'unknown', message: 'the policy cannot be read' };
  if (from === undefined)
    return { layer: 'tailnet-policy', outcome: 'unknown', message: 'no device of the book has joined yet: who it is, is not known' };
  const { verdict, by } = judgePacket(policy, { from, to, address, port, protocol });
  return verdict === 'allowed'
    ? { layer: 'tailnet-policy', outcome: 'passes', ...(by === undefined ? {} : { by }), message: 'this entry lets it' }
    : { layer: 'tailnet-policy', outcome: 'stops', message: 'no entry lets it' };
}

const NOT_ACCEPTED: ExplainStep = { layer: 'preference', outcome: 'stops', by: 'acceptRoutes', message: 'the sidecar does not accept routes' };

const IN_QUARANTINE: ExplainStep = { layer: 'preference', outcome: 'stops', by: 'quarantine', message: 'the sidecar is in quarantine' };

/** The layers in order; what comes after one that stops it is not asked. */
function stepsOf(input: PacketSurroundings, address: IpAddress): readonly ExplainStep[] {
  const carrier = carrierOf(input.devices, address, input.address);
  const isUnaccepted = carrier?.route !== undefined && !input.acceptRoutes;
  const { step, failedClosed } = guardOf(input.guard, address, carrier !== undefined && !isUnaccepted);
  const route = routeStep(carrier);
  if (input.isQuarantined && step.outcome !== 'leaves') return step.outcome === 'stops' && !failedClosed ? [IN_QUARANTINE, step] : [IN_QUARANTINE];
  // The guard refuses it for want of a route: why there is none is the answer.
  if (failedClosed) return [isUnaccepted ? NOT_ACCEPTED : route, step];
  if (step.outcome === 'stops' || step.outcome === 'leaves') return [step];
  return carrier === undefined || route.outcome === 'stops' ? [step, route] : [step, route, policyStep(input, carrier.device)];
}

const VERDICTS = { passes: 'allowed', stops: 'denied', leaves: 'outside', unknown: 'unknown' } as const;

/** Why a packet of a book passes or not, by what is in force: the guard's rules, the routes of the tailnet, and its policy as read back. */
export function explainPacket(input: PacketSurroundings): Omit<PacketExplanation, 'evidence'> {
  const address = parseAddress(input.address);
  const steps = address === undefined ? [routeStep(undefined)] : stepsOf(input, address);
  const last = steps.find(({ outcome }) => outcome === 'stops') ?? steps.at(-1) ?? routeStep(undefined);
  const verdict = last.outcome === 'passes' && steps.some(({ outcome }) => outcome === 'unknown') ? 'unknown' : VERDICTS[last.outcome];
  return { verdict, layer: last.layer, ...(last.by === undefined ? {} : { by: last.by }), steps };
}

/**
 * The devices that the route of an explained packet may go by: of two that offer the same, which one carries it is the control plane's choice, and not
 * told. Empty: the packet does not get as far as a route.
 */
export function explainedCarriers<Found extends ExplainedDevice>(
  { steps }: Pick<PacketExplanation, 'steps'>,
  devices: readonly Found[],
  to: string,
): readonly Found[] {
  const address = parseAddress(to);
  const hasRoute = steps.some(({ layer, by }) => layer === 'route' && by !== undefined);
  const carrier = hasRoute && address !== undefined ? carrierOf(devices, address, to) : undefined;
  if (carrier === undefined) return [];
  const { device, route } = carrier;
  const isSpare = (other: Found): boolean => route !== undefined && other.connected === device.connected && other.routes.includes(route);
  return [device, ...devices.filter((other) => other !== device && isSpare(other))];
}
