import { formatCidr, hasHostBits, isIpv4Mapped, parseCidr } from './cidr.ts';
import { ACCESS_POLICIES, type AccessPolicy } from './network.ts';

/** What a guard may hold: an access policy, or `quarantine`, which lets nothing out but what the cluster itself needs. */
export type GuardPolicy = AccessPolicy | 'quarantine';
/** All values of {@link GuardPolicy}. */
export const GUARD_POLICIES = [...ACCESS_POLICIES, 'quarantine'] as const satisfies readonly GuardPolicy[];

/** What the manager wants a pod's guard to hold from now on, in place of what its fragment was rendered for. The cluster's own ranges are no part of it. */
export interface GuardOrder {
  /** Tells one configuration from another: 16 hexadecimal digits, lower case. */
  readonly hash: string;
  /** CIDRs, at most {@link GUARD_LIMITS}`.maxNetworks`; canonical. */
  readonly allowedNetworks: readonly string[];
  /** CIDRs, as many; they win over allowed. */
  readonly blockedNetworks: readonly string[];
  readonly accessPolicy: GuardPolicy;
}

/** What an agent knows of the guard beside it. */
export interface ReportGuard {
  /** Hash of the configuration that the guard says it holds; absent while it has said nothing. */
  readonly holds?: string;
  /** Hash of the last order that the agent has handed to the guard; absent while that is what the guard holds, or before the first. */
  readonly received?: string;
}

/** Limits that manager, agent and guard keep. */
export const GUARD_LIMITS = { maxNetworks: 1000, maxOrderBytes: 131_072 } as const;

const HASH = /^[0-9a-f]{16}$/;

/** True for the hash of a configuration. */
export const isGuardHash = (text: unknown): text is string => typeof text === 'string' && HASH.test(text);

/** A range as an order may name it: canonical, and neither everything nor IPv4 written as IPv6. */
function isNetwork(text: unknown): text is string {
  const cidr = typeof text === 'string' ? parseCidr(text) : undefined;
  return cidr !== undefined && cidr.prefixLength > 0 && !hasHostBits(cidr) && !isIpv4Mapped(cidr) && formatCidr(cidr) === text;
}

const isNetworks = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.length <= GUARD_LIMITS.maxNetworks && value.every(isNetwork);

/** Reads an order from an answer; undefined for whatever is none, in any part of it. */
export function readGuardOrder(value: unknown): GuardOrder | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { hash, allowedNetworks, blockedNetworks, accessPolicy }: { readonly [Member in keyof GuardOrder]?: unknown } = value;
  const policy = GUARD_POLICIES.find((known) => known === accessPolicy);
  if (!isGuardHash(hash) || !isNetworks(allowedNetworks) || !isNetworks(blockedNetworks) || policy === undefined) return undefined;
  return { hash, allowedNetworks, blockedNetworks, accessPolicy: policy };
}

/**
 * The file that an agent hands to its guard: a head with the hash and the number of lines after it, then one word and one value a line. The guard takes it
 * as a whole or not at all.
 */
export function guardOrderText({ hash, allowedNetworks, blockedNetworks, accessPolicy }: GuardOrder): string {
  const lines = (word: string, networks: readonly string[]): readonly string[] =>
    [...new Set(networks)].sort().map((network) => `${word} ${network}`);
  const body = [`policy ${accessPolicy}`, ...lines('allow', allowedNetworks), ...lines('block', blockedNetworks)];
  return [`bifrost-guard 1 ${hash} ${body.length}`, ...body, ''].join('\n');
}
