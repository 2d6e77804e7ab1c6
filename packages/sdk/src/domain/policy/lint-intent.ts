import { type Cidr, cidrContains, cidrsOverlap, type NetworkConfiguration, type PolicyWarning, parseCidr } from '@bifrost/types/core';
import { excludeCidr } from 'cidr-tools';
import { TAILNET_NETWORKS } from '../guard.ts';
import type { ClusterRanges } from '../model.ts';
import { type JudgedPolicy, readPolicy } from './judge-policy.ts';

export interface LintInput {
  readonly config: NetworkConfiguration;
  readonly ranges?: ClusterRanges;
  /** Approved, of each machine of the tailnet. */
  readonly routers?: readonly { readonly name: string; readonly routes: readonly string[] }[];
  /** What others in the same tailnet offer, or are allowed. */
  readonly others?: readonly { readonly network: string; readonly owner: string }[];
  /** As read back. */
  readonly policyText?: string;
}

interface Named {
  readonly path: string;
  readonly text: string;
  readonly cidr: Cidr;
}

const named = (texts: readonly string[], at: string): readonly Named[] =>
  texts.flatMap((text, index) => {
    const cidr = parseCidr(text);
    // What is said twice is warned of once, where it stands first.
    return cidr === undefined || texts.indexOf(text) < index ? [] : [{ path: `${at}.${index}`, text, cidr }];
  });

const devices = named(TAILNET_NETWORKS, 'devices');
const isAmongDevices = ({ cidr }: Named): boolean => devices.some((range) => cidrsOverlap(range.cidr, cidr));

/** By what they are for: such packets never leave their host or their link, so no router brings what lies there. */
const UNROUTABLE = {
  loopback: named(['127.0.0.0/8', '::1/128'], ''),
  'link-local': named(['169.254.0.0/16', 'fe80::/10'], ''),
  multicast: named(['224.0.0.0/4', 'ff00::/8'], ''),
  'hosts without an address': named(['0.0.0.0/8'], ''),
};

function ofUnroutable(allowed: readonly Named[]): readonly PolicyWarning[] {
  return allowed.flatMap(({ path, text, cidr }) =>
    Object.entries(UNROUTABLE)
      .filter(([, ranges]) => ranges.some((range) => cidrContains(range.cidr, cidr)))
      .map(([use]) => ({
        code: 'ALLOWED_UNROUTABLE' as const,
        path,
        message: `${text} is for ${use}: no router brings it, so nothing is reached there`,
      })),
  );
}

/** What an intent says that its author may not have meant, each with the place where it stands. */
export function lintIntent({ config, ranges, routers = [], others = [], policyText }: LintInput): readonly PolicyWarning[] {
  const allowed = named(config.allowedNetworks, 'config.allowedNetworks');
  const blocked = named(config.blockedNetworks, 'config.blockedNetworks');
  const policy = policyText === undefined ? undefined : readPolicy(policyText);
  return [
    ...ofBlocked(config, { allowed, blocked }),
    ...allowed.filter(isAmongDevices).map(({ path, text }) => ({
      ...{ code: 'ALLOWED_AMONG_DEVICES' as const, path },
      message: `${text} has addresses of tailnets' own devices: those are granted by the access policy, never by address`,
    })),
    ...ofUnroutable(allowed),
    ...(ranges === undefined ? [] : ofCluster(allowed, ranges)),
    ...ofOthers(allowed, others),
    ...ofRouters(routers),
    ...(policy === undefined ? [] : openGrants(policy)),
  ];
}

function ofBlocked(
  { blockedNetworks, accessPolicy }: NetworkConfiguration,
  { allowed, blocked }: { readonly allowed: readonly Named[]; readonly blocked: readonly Named[] },
): readonly PolicyWarning[] {
  const wholly = allowed.filter(({ text }) => excludeCidr([text], [...blockedNetworks]).length === 0);
  const idle = accessPolicy === 'permissive' ? [] : blocked.filter(({ cidr }) => !allowed.some((one) => cidrsOverlap(one.cidr, cidr)));
  return [
    ...wholly.map(({ path, text }) => ({
      code: 'ALLOWED_WHOLLY_BLOCKED' as const,
      path,
      message: `nothing of ${text} can be reached: all of it is blocked`,
    })),
    ...idle
      .filter((one) => !isAmongDevices(one))
      .map(({ path, text }) => ({
        code: 'BLOCKED_NOT_ALLOWED' as const,
        path,
        message: `${text} is in no allowed network: in the tunnel it is not reached anyway`,
      })),
    ...blocked.filter(isAmongDevices).map(({ path, text }) => ({
      ...{ code: 'BLOCKED_AMONG_DEVICES' as const, path },
      message: `${text} has addresses of tailnets' own devices: the guard in the pod holds that, the tailnet's policy cannot say it`,
    })),
  ];
}

function ofCluster(allowed: readonly Named[], ranges: ClusterRanges): readonly PolicyWarning[] {
  return Object.entries(ranges).flatMap(([kind, texts]: [string, readonly string[]]) => {
    const own = named(texts, `cluster.${kind}`);
    const overlapping = allowed.flatMap(({ path, text, cidr }) =>
      own
        .filter((range) => cidrsOverlap(range.cidr, cidr))
        .map((range) => ({
          ...{ code: 'OVERLAPS_CLUSTER' as const, path },
          message: `${text} and the cluster's ${range.text} (${kind}) overlap: there books reach the cluster, never the customer`,
        })),
    );
    const among = own.filter(isAmongDevices).map(({ path, text }) => ({
      ...{ code: 'CLUSTER_AMONG_DEVICES' as const, path },
      message: `the cluster's ${text} has addresses of tailnets' own devices: those are then not reached through the tunnel`,
    }));
    return [...overlapping, ...among];
  });
}

/** A shorter prefix beside a longer one is not a spare: packets take the longer one, also when its router is away. */
function ofOthers(allowed: readonly Named[], others: NonNullable<LintInput['others']>): readonly PolicyWarning[] {
  return allowed.flatMap(({ path, text, cidr }) =>
    others.flatMap(({ network, owner }) => {
      const other = parseCidr(network);
      if (other === undefined || !cidrsOverlap(cidr, other)) return [];
      const how = cidrContains(cidr, other) && cidrContains(other, cidr) ? 'is also' : 'overlaps';
      return [{ code: 'ROUTES_OVERLAP' as const, path, message: `${text} ${how} ${network} of ${owner}` }];
    }),
  );
}

/** As many as are told: a router for each office makes many pairs. */
const MOST_PAIRS = 32;
/** As many as are looked at: each is compared with each. */
const MOST_ROUTES = 512;

/** The same routes on two routers are a spare of each other; a part of them is none. */
function ofRouters(routers: NonNullable<LintInput['routers']>): readonly PolicyWarning[] {
  const all = routers.flatMap(({ name, routes }) => named(routes, `routes.${name}`).map((route) => ({ ...route, name }))).slice(0, MOST_ROUTES);
  const pairs = all.flatMap((one) =>
    all.flatMap((other) => {
      const isPart = one.name !== other.name && one.cidr.prefixLength < other.cidr.prefixLength && cidrContains(one.cidr, other.cidr);
      if (!isPart) return [];
      const message = `${one.text} of ${one.name} contains ${other.text} of ${other.name}: packets to the smaller one take the latter, also while it is away`;
      return [{ code: 'ROUTES_OVERLAP' as const, path: `routes.${one.name}`, message }];
    }),
  );
  return pairs.slice(0, MOST_PAIRS);
}

const isOpen = ({ kind }: { readonly kind: string }): boolean => kind === 'everything' || kind === 'tagged';

function openGrants({ openToAll, rules }: JudgedPolicy): readonly PolicyWarning[] {
  const open = rules.filter(({ src, dst }) => src.some(isOpen) || dst.some(isOpen));
  return [
    ...(openToAll
      ? [{ code: 'OPEN_GRANT' as const, path: 'policy', message: 'the tailnet’s policy has no rules: everything may reach everything' }]
      : []),
    ...open.map(({ name }) => ({
      ...{ code: 'OPEN_GRANT' as const, path: `policy.${name}` },
      message: 'this entry is for every device, ours among them: rules only add, so it opens what others keep closed',
    })),
  ];
}
