import type { AccessPolicy } from '@bifrost/types/core';
import { FIND_IP, FOLLOW, type LivePreferences, liveFunctions, openedTest, RESUME } from './live-guard.ts';
import type { ClusterRanges } from './model.ts';

/**
 * The guard's policy routing. Accepted customer routes live in tailscaled's table 52, which is asked before `main`: without these rules
 * a customer who routes 10.0.0.0/8 would swallow Services and cluster DNS. All preferences lie below tailscaled's own, which start at 5210.
 * ARCHITECTURE.md tells the chain in words.
 */
export const PREFERENCES = {
  daemon: 5000,
  cluster: 5010,
  replies: 5020,
  blocked: 5100,
  quarantine: 5105,
  allowed: 5110,
  failClosed: 5120,
  rest: 5130,
} as const;

/** Marks the packets of tailscaled itself. */
const DAEMON_MARK = '0x80000/0xff0000';
/** Addresses inside every tailnet. */
export const TAILNET_NETWORKS = ['100.64.0.0/10', 'fd7a:115c:a1e0::/48'] as const;

/** By number: not every image has /etc/protocols. */
const PROTOCOL_NUMBERS = { tcp: 6, udp: 17 } as const;

export type Action = 'lookup main' | 'lookup 52' | 'prohibit';
export interface GuardRule {
  readonly family: 4 | 6;
  readonly preference: number;
  readonly selector: string;
  readonly action: Action;
}

/** A port on which the book answers, so that replies find their way back to callers outside the cluster ranges. */
export interface ServedPort {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

export interface GuardInput {
  readonly allowedNetworks: readonly string[];
  readonly blockedNetworks: readonly string[];
  readonly accessPolicy: AccessPolicy;
  readonly ranges: ClusterRanges;
  readonly servedPorts: readonly ServedPort[];
  /** Addresses that must stay outside the tunnel, e.g. an ingest named by address. */
  readonly directAddresses: readonly string[];
}

const familyOf = (network: string): 4 | 6 => (network.includes(':') ? 6 : 4);
const unique = (networks: readonly string[]): string[] => [...new Set(networks)].sort();

/** The static part of the chain, sorted and without doubles; what only the pod knows (nameservers, its node, itself) is added by the script. */
export function guardRules(input: GuardInput): readonly GuardRule[] {
  const to = (networks: readonly string[], preference: number, action: Action): GuardRule[] =>
    unique(networks).map((network) => ({ family: familyOf(network), preference, selector: `to ${network}`, action }));
  const everywhere = (preference: number, selector: string, action: Action): GuardRule[] =>
    ([4, 6] as const).map((family) => ({ family, preference, selector, action }));
  const { ranges } = input;
  const tunnelled = [...input.allowedNetworks, ...TAILNET_NETWORKS];
  return [
    ...everywhere(PREFERENCES.daemon, `fwmark ${DAEMON_MARK}`, 'lookup main'),
    ...to([...ranges.pods, ...ranges.services, ...ranges.nodes, ...input.directAddresses], PREFERENCES.cluster, 'lookup main'),
    ...to(input.blockedNetworks, PREFERENCES.blocked, 'prohibit'),
    ...to(tunnelled, PREFERENCES.allowed, 'lookup 52'),
    // Reached only when table 52 has no route: tailscaled is down or the customer's router is not there. Nothing leaves in clear.
    ...to(tunnelled, PREFERENCES.failClosed, 'prohibit'),
    // Without this rule any other accepted route would be used: that is what `permissive` means.
    ...(input.accessPolicy === 'permissive' ? [] : everywhere(PREFERENCES.rest, 'from all', 'lookup main')),
  ];
}

/** Those of them that an order changes. */
export function liveGuardRules(config: Pick<GuardInput, 'allowedNetworks' | 'blockedNetworks' | 'accessPolicy'>): readonly GuardRule[] {
  const nothing = { ranges: { pods: [], services: [], nodes: [] }, servedPorts: [], directAddresses: [] };
  return guardRules({ ...config, ...nothing }).filter(({ preference }) => preference >= PREFERENCES.blocked);
}

/** What an order to quarantine puts in their place: nothing goes out but what comes before them in the chain. */
export const QUARANTINE_RULES: readonly GuardRule[] = ([4, 6] as const).map((family) => ({
  ...{ family, preference: PREFERENCES.quarantine, selector: 'from all', action: 'prohibit' },
}));

/**
 * A pod in the node's network namespace has the node's own addresses: there the rules would reroute the node, and a proxy would serve all of it. An
 * attach refuses such a pod, but its owner may set hostNetwork later: then nothing of the sidecar runs.
 */
const REFUSE_NODE_NETWORK = [
  'set -eu',
  'IFS=,; for address in $HOST_IPS; do',
  '  case ",$POD_IPS," in *",$address,"*) echo "bifrost-guard: this pod uses the network of its node: remove hostNetwork" >&2; exit 1 ;; esac',
  'done; unset IFS',
] as const;

/** All that the guard does in userspace mode: it has no right to write rules, and a NetworkPolicy stands in for them. */
export const userspaceGuardScript = (): string => [...REFUSE_NODE_NETWORK, ''].join('\n');

/** Those that an order may change, and the one that is written last. */
export const LIVE_PREFERENCES: LivePreferences = { ...PREFERENCES, opened: PREFERENCES.daemon };

const PROLOGUE = [
  'export LC_ALL=C; umask 022',
  ...FIND_IP,
  '[ -n "$IP" ] || { echo "bifrost-guard: this image has no iproute2" >&2; exit 1; }',
  'six=no families=4; if [ -d /proc/sys/net/ipv6 ] && "$IP" -6 rule show >/dev/null 2>&1; then six=yes families="4 6"; fi',
  'add() { of=$1; preference=$2; shift 2; if [ "$of" = 6 ] && [ "$six" = no ]; then return 0; fi; "$IP" "-$of" rule add preference "$preference" "$@"; }',
  'clear_preference() { while "$IP" "-$1" rule del preference "$2" 2>/dev/null; do :; done; }',
] as const;

/** The addresses that only the pod knows, each once (the kernel refuses a rule twice): nameservers, node (probes and hairpins). */
const dynamicRules = (preference: number, already: readonly string[]): string[] => [
  `seen=" ${already.map((address) => `${address} `).join('')}"`,
  'direct() {',
  '  address=${1%%%*}',
  '  case "$seen" in *" $address "*) return 0 ;; esac',
  '  seen="$seen$address "',
  `  case "$address" in *:*) add 6 ${preference} to "$address/128" lookup main ;; *.*) add 4 ${preference} to "$address/32" lookup main ;; esac`,
  '}',
  'while read -r word value rest; do if [ "$word" = nameserver ]; then direct "$value"; fi; done < /etc/resolv.conf',
  'IFS=,; for address in $HOST_IPS; do direct "$address"; done; unset IFS',
];

const lineOf = ({ family, preference, selector, action }: GuardRule): string => `add ${family} ${preference} ${selector} ${action}`;

/**
 * The guard's shell program. The same input gives the same text. It writes its rules once for each network namespace, the daemon's rule last: where that
 * stands, an earlier run of the container has written all of them, and none is touched. Then it takes orders.
 */
export function guardScript(input: GuardInput): string {
  const known = guardRules(input);
  const already = known
    .filter(({ preference, selector }) => preference === PREFERENCES.cluster && /\/(32|128)$/.test(selector))
    .map(({ selector }) => selector.replace(/^to |\/\d+$/g, ''));
  const replies = unique(input.servedPorts.map(({ protocol, port }) => `ipproto ${PROTOCOL_NUMBERS[protocol]} sport ${port}`));
  const last = known.filter(({ preference }) => preference === LIVE_PREFERENCES.opened).sort((a, b) => b.family - a.family);
  const [v4, v6] = TAILNET_NETWORKS;
  return [
    ...REFUSE_NODE_NETWORK, // before the first rule is touched
    ...PROLOGUE,
    ...liveFunctions(LIVE_PREFERENCES, { v4, v6 }),
    `opened=no; if ${openedTest(LIVE_PREFERENCES)}; then opened=yes; fi`,
    'if [ "$opened" = no ]; then',
    `for preference in ${Object.values(PREFERENCES).join(' ')}; do`,
    '  clear_preference 4 "$preference"; if [ "$six" = yes ]; then clear_preference 6 "$preference"; fi',
    'done',
    ...known.filter((rule) => !last.includes(rule)).map(lineOf),
    ...dynamicRules(PREFERENCES.cluster, already),
    ...(replies.length === 0 ? [] : replyRules(replies)),
    'fi',
    ...RESUME,
    'if [ "$opened" = no ]; then',
    ...last.map(lineOf),
    'fi',
    ...FOLLOW,
    '',
  ].join('\n');
}

/** Answers of the book to callers in the customer's ranges, e.g. a probe from outside the pod range, go back the way they came. */
const replyRules = (selectors: readonly string[]): string[] => [
  'IFS=,; for address in $POD_IPS; do',
  '  unset IFS',
  '  case "$address" in *:*) family=6 ;; *) family=4 ;; esac',
  ...selectors.map((selector) => `  add "$family" ${PREFERENCES.replies} from "$address" ${selector} lookup main`),
  'done; unset IFS',
];
