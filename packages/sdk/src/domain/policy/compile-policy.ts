import { formatAddress, type NetworkConfiguration, networkOf, parseCidr } from '@bifrost/types/core';
import { type Reach, reachOf } from './reach.ts';

/** One customer's place in a tailnet, as it is wanted. */
export interface PolicyMember {
  /** Tags of which a device of the customer's books carries one at least, and nobody else's any. Tests ask for the first. */
  readonly sourceTags: readonly string[];
  /** Of the customer's routers. */
  readonly routerTag: string;
  readonly config: NetworkConfiguration;
  readonly books: readonly PolicyBook[];
}

/** A book with a sidecar, as far as a policy speaks of it. */
export interface PolicyBook {
  readonly tag: string;
  readonly enableSsh: boolean;
  /** What its sidecar offers to the tailnet. */
  readonly advertiseRoutes: readonly string[];
}

/** All that a tailnet's policy is compiled from. */
export interface PolicyInput {
  readonly members: readonly PolicyMember[];
  /**
   * Whether others' devices are in the tailnet. Then a network is granted by way of the customer's own routers only: two customers may have the same
   * ranges, and a grant by address alone would open both.
   */
  readonly shared: boolean;
  /** Who may make devices with our tags, besides the tailnet's administrators: the tag of the OAuth client. */
  readonly ownerTags?: readonly string[];
  /** Attributes for every device of a book, as Tailscale names them. */
  readonly nodeAttributes?: readonly string[];
}

/** An allowed direction, as a policy file has it. */
export interface Grant {
  readonly src: readonly string[];
  readonly dst: readonly string[];
  readonly ip: readonly string[];
  readonly via?: readonly string[];
}
/** Who may open a shell where, as a policy file has it. */
export interface SshRule {
  readonly action: 'accept';
  readonly src: readonly string[];
  readonly dst: readonly string[];
  readonly users: readonly string[];
}
/** What devices get from the control plane, as a policy file has it. */
export interface NodeAttribute {
  readonly target: readonly string[];
  readonly attr: readonly string[];
}
/** What the server tries before it takes a policy: one source, each target a host and a port. */
export interface PolicyTest {
  readonly src: string;
  readonly accept?: readonly string[];
  readonly deny?: readonly string[];
}

/** The parts of a tailnet's policy that are ours. Sorted: the same input, in whatever order, gives the same sections. */
export interface PolicySections {
  readonly tagOwners: Readonly<Record<string, readonly string[]>>;
  readonly autoApprovers: { readonly routes: Readonly<Record<string, readonly string[]>> };
  readonly grants: readonly Grant[];
  readonly ssh: readonly SshRule[];
  readonly nodeAttrs: readonly NodeAttribute[];
  readonly tests: readonly PolicyTest[];
}

/** With what its intent grants, which grants and tests speak of. */
type ReachingMember = PolicyMember & { readonly reach: Reach };

const ANY_PORT = ['*'] as const;
/** Of both families. */
const PINGS = ['icmp:*'] as const;
/** A port that tests ask for: what we grant is granted on all of them. */
const TESTED_PORT = 443;
/** Of each member and each kind: a server runs all of them with every upload. */
const MAX_TESTED = 16;

const sorted = (texts: Iterable<string>): readonly string[] => [...new Set(texts)].sort();
const byText = <Value>(values: readonly Value[]): readonly Value[] =>
  [...new Map(values.map((value) => [JSON.stringify(value), value]))].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);

/**
 * What a tailnet's policy is to say of our devices. Pure and deterministic; what others have in the file is none of its business: {@link mergePolicy} puts the
 * two together.
 *
 * @example
 * const { grants, tests } = compilePolicy({ members, shared: true });
 */
export function compilePolicy(input: PolicyInput): PolicySections {
  const { members, shared, ownerTags = [], nodeAttributes = [] } = input;
  const tags = sorted(members.flatMap(({ sourceTags, routerTag, books }) => [...sourceTags, routerTag, ...books.map(({ tag }) => tag)]));
  const ownersOf = (tag: string): readonly string[] => (ownerTags.includes(tag) ? [] : sorted(ownerTags));
  const attributes = sorted(nodeAttributes);
  const hasOthers = shared && members.length > 1;
  const reaching = members.map((member) => ({ ...member, reach: reachOf(member.config) }));
  return {
    tagOwners: Object.fromEntries(sorted([...tags, ...ownerTags]).map((tag) => [tag, ownersOf(tag)])),
    autoApprovers: { routes: approvers(members) },
    grants: byText(reaching.flatMap((member) => grantsOf(member, input))),
    ssh: byText(members.flatMap(sshOf)),
    nodeAttrs: attributes.length === 0 ? [] : byText(members.map(({ sourceTags }) => ({ target: sorted(sourceTags), attr: attributes }))),
    tests: byText(
      reaching.flatMap((member, index) => testsOf(member, { shared, neighbour: hasOthers ? members[(index + 1) % members.length] : undefined })),
    ),
  };
}

/** A router offers a customer's networks as they are allowed: what is blocked inside them is kept out by grants, not by routes. */
function approvers(members: readonly PolicyMember[]): Readonly<Record<string, readonly string[]>> {
  const routes = new Map<string, Set<string>>();
  for (const { config, routerTag } of members) {
    for (const network of config.allowedNetworks) routes.set(network, (routes.get(network) ?? new Set()).add(routerTag));
  }
  return Object.fromEntries([...routes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([network, who]) => [network, sorted(who)]));
}

function grantsOf({ sourceTags, routerTag, books, reach: { networks, devices } }: ReachingMember, { shared }: PolicyInput): readonly Grant[] {
  const src = sorted(sourceTags);
  const own = sorted([...sourceTags, routerTag]);
  const offering = books.filter(({ advertiseRoutes }) => advertiseRoutes.length > 0);
  const shells = books.filter(({ enableSsh }) => enableSsh).map(({ tag }) => tag);
  return [
    ...(networks.length === 0 ? [] : [{ src, dst: sorted(networks), ip: ANY_PORT, ...(shared ? { via: [routerTag] } : {}) }]),
    // A way by a router is taken only where the router itself can be reached.
    ...(shared && networks.length > 0 && !devices ? [{ src, dst: [routerTag], ip: PINGS }] : []),
    ...(devices ? [{ src: own, dst: own, ip: ANY_PORT }] : []),
    ...offering.map(({ tag, advertiseRoutes }) => ({ src: [routerTag], dst: sorted(advertiseRoutes), ip: ANY_PORT, via: [tag] })),
    ...(shells.length === 0 ? [] : [{ src: [routerTag], dst: sorted(shells), ip: ['tcp:22'] }]),
  ];
}

/** From the customer's routers. Whoever else is to have a shell, people above all, the customer's own entries say. */
function sshOf({ routerTag, books }: PolicyMember): readonly SshRule[] {
  const dst = sorted(books.filter(({ enableSsh }) => enableSsh).map(({ tag }) => tag));
  if (dst.length === 0) return [];
  return [{ action: 'accept', src: [routerTag], dst, users: ['autogroup:nonroot', 'root'] }];
}

/** One packet of a range, as tests write it: to its first address. */
function targetOf(network: string): string {
  const cidr = parseCidr(network);
  const address = cidr === undefined ? network : formatAddress(networkOf(cidr));
  return `${address.includes(':') ? `[${address}]` : address}:${TESTED_PORT}`;
}

interface Beside {
  readonly shared: boolean;
  readonly neighbour: PolicyMember | undefined;
}

/**
 * The server itself refuses a policy under which a granted network is not reached, or a blocked one, or a neighbour, is. What is granted by way of routers
 * is not tested: whether a server counts such ways is not known.
 */
function testsOf({ sourceTags, config, reach }: ReachingMember, { shared, neighbour }: Beside): readonly PolicyTest[] {
  const [src] = sourceTags;
  if (src === undefined) return [];
  const accept = shared ? [] : sorted(reach.networks.slice(0, MAX_TESTED).map(targetOf));
  const others = neighbour === undefined ? [] : [...neighbour.sourceTags, neighbour.routerTag];
  const deny = sorted([...config.blockedNetworks.slice(0, MAX_TESTED).map(targetOf), ...others.map((tag) => `${tag}:${TESTED_PORT}`)]);
  if (accept.length === 0 && deny.length === 0) return [];
  return [{ src, ...(accept.length === 0 ? {} : { accept }), ...(deny.length === 0 ? {} : { deny }) }];
}
