import { hostCidr, parseAddress } from '@bifrost/types/core';
import { type JudgedRule, readPolicy, type Selector } from './judge-policy.ts';
import { RangeOwners } from './range-owners.ts';

/** A customer in a tailnet of several, as read back from its control plane and our store. */
export interface ProvenCustomer {
  readonly customerId: string;
  /** What its devices carry: books' and routers'. Tags that several customers carry tell nobody from another. */
  readonly tags: readonly string[];
  /** Of its devices. */
  readonly addresses: readonly string[];
  /** Behind its routers: approved routes, and the networks of its intent, whose router may come any time. */
  readonly networks: readonly string[];
}

/** One way from a customer to another that the policy leaves open. */
export interface IsolationFinding {
  readonly from: string;
  readonly to: string;
  /** The entry that lets it: `grants.3`. `default`: the policy has no rules; `policy`: it cannot be read. */
  readonly by: string;
}

/** Who is meant by the selectors of rules. */
export class Directory {
  readonly #byTag = new Map<string, Set<string>>();
  readonly #nobody: ReadonlySet<string> = new Set();
  readonly #addresses: RangeOwners;
  readonly #networks: RangeOwners;
  readonly #all: ReadonlySet<string>;

  constructor(customers: readonly ProvenCustomer[]) {
    this.#all = new Set(customers.map(({ customerId }) => customerId));
    for (const { customerId, tags } of customers) for (const tag of tags) this.#byTag.set(tag, (this.#byTag.get(tag) ?? new Set()).add(customerId));
    const hosts = (text: string): string[] => {
      const address = parseAddress(text);
      return address === undefined ? [] : [`${text}/${hostCidr(address).prefixLength}`];
    };
    this.#addresses = new RangeOwners(
      customers.flatMap(({ customerId, addresses }) => addresses.flatMap(hosts).map((range) => [range, customerId] as const)),
    );
    this.#networks = new RangeOwners(customers.flatMap(({ customerId, networks }) => networks.map((range) => [range, customerId] as const)));
  }

  ofTag(tag: string): ReadonlySet<string> {
    return this.#byTag.get(tag) ?? this.#nobody;
  }

  /** Whose devices. */
  devices(selector: Selector): ReadonlySet<string> {
    if (selector.kind === 'tag') return this.ofTag(selector.tag);
    if (selector.kind === 'nobody') return this.#nobody;
    return selector.kind === 'range' ? new Set(this.#addresses.overlapping(selector.range)) : this.#all;
  }

  /** Whose devices, and whose networks behind them. */
  destinations(selector: Selector): ReadonlySet<string> {
    const devices = this.devices(selector);
    return selector.kind === 'range' ? new Set([...devices, ...this.#networks.overlapping(selector.range)]) : devices;
  }
}

const union = (sets: readonly ReadonlySet<string>[]): ReadonlySet<string> => new Set(sets.flatMap((set) => [...set]));

/** By way of routers with these tags alone: whoever has none of them is out of reach. */
function narrowed(found: ReadonlySet<string>, { via }: JudgedRule, directory: Directory): ReadonlySet<string> {
  if (via === undefined) return found;
  const carriers = union(via.map((tag) => directory.ofTag(tag)));
  return new Set([...found].filter((customerId) => carriers.has(customerId)));
}

/** One pair for each sender of a rule is enough to name it: a rule that opens all to all would have as many as there are pairs. */
function* crossings(sources: ReadonlySet<string>, targets: ReadonlySet<string>): Generator<readonly [string, string], void, void> {
  for (const from of sources) {
    for (const to of targets) {
      if (to === from) continue;
      yield [from, to];
      break;
    }
  }
}

function* findingsOf(rule: JudgedRule, directory: Directory): Generator<IsolationFinding, void, void> {
  const from = union(rule.src.map((selector) => directory.devices(selector)));
  const to = narrowed(union(rule.dst.map((selector) => directory.destinations(selector))), rule, directory);
  for (const [a, b] of crossings(from, to)) yield { from: a, to: b, by: rule.name };
}

/** As many findings as are told: one that is left open is enough to stop a write. */
const MAX_FINDINGS = 100;

/**
 * Whether a policy, as it was read back, keeps customers apart: no rule of it, ours or anybody's, lets a device of one reach a device of another or a
 * network behind it. Empty: it does. Every rule is looked at alone, since rules only ever add: the work grows with rules, not with pairs of customers.
 *
 * @example
 * const open = proveIsolation(policyText, customers);
 * if (open.length > 0) throw new Error(`${open[0]?.by} lets ${open[0]?.from} reach ${open[0]?.to}`);
 */
export function proveIsolation(policyText: string, customers: readonly ProvenCustomer[]): readonly IsolationFinding[] {
  return [...provingIsolation(policyText, customers)].filter((finding) => finding !== undefined);
}

/** {@link proveIsolation} in parts, between which others have their turn: a part that has found nothing yields nothing. */
export function* provingIsolation(policyText: string, customers: readonly ProvenCustomer[]): Generator<IsolationFinding | undefined, void, void> {
  const policy = readPolicy(policyText);
  const [first, second] = customers;
  if (first === undefined || second === undefined) return;
  if (policy === undefined || policy.openToAll) {
    yield { from: first.customerId, to: second.customerId, by: policy === undefined ? 'policy' : 'default' };
    return;
  }
  yield;
  const directory = new Directory(customers);
  let count = 0;
  for (const rule of policy.rules) {
    yield;
    for (const finding of findingsOf(rule, directory)) {
      yield finding;
      count += 1;
      if (count >= MAX_FINDINGS) return;
    }
  }
}
