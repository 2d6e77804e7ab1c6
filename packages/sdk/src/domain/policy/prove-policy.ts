import { type Cidr, cidrContains, cidrsOverlap, type IpAddress, type ProofFinding, parseAddress } from '@bifrost/types/core';
import { addressPoints, type RangeTable, rangesOf, tableOf } from './address-points.ts';
import { addTo, byTag } from './by-tag.ts';
import { bookTagOf, customerTagsOf } from './identity-tags.ts';
import { DEVICE_NETWORKS } from './judge-guard.ts';
import { type JudgedPolicy, type JudgedRule, readPolicy, type Selector } from './judge-policy.ts';
import type { DeviceEvidence, TailnetEvidence } from './proof-evidence.ts';
import { type ProvenCustomer, proveIsolation, provingIsolation } from './prove-isolation.ts';
import { provePolicySections } from './prove-policy-sections.ts';
import type { ControlGroup, Survey } from './survey.ts';

type Found = Omit<ProofFinding, 'layer'>;

const EVERYWHERE: readonly Cidr[] = rangesOf(['0.0.0.0/0', '::/0']);
/** Addresses of devices. */
const DEVICES: readonly Cidr[] = rangesOf(DEVICE_NETWORKS);

type Wanted = Pick<TailnetEvidence, 'allowedNetworks' | 'blockedNetworks' | 'accessPolicy'>;

/** Whose books a rule may start at, and what is wanted for them. */
interface Sender {
  readonly tailnet: Wanted;
  readonly intent: JudgedIntent;
  /** Of its books' devices. */
  readonly bookTags: ReadonlySet<string>;
  readonly bookAddresses: readonly IpAddress[];
  readonly routerTags: ReadonlySet<string>;
}

/** A customer in a tailnet: what its devices carry and have, and what is wanted for it. */
interface Member extends ProvenCustomer, Sender {
  readonly tailnetName: string;
  readonly tailnet: TailnetEvidence;
}

/** The customers of one tailnet at the control plane, with what was read of them. Who is not told apart by tags is the only one there. */
function membersOf({ key, tailnets }: ControlGroup, survey: Survey): readonly Member[] {
  const { evidence, digest, settings, owners } = survey;
  const devices = evidence.get('devices', key) ?? [];
  const byCustomer = new Map<string, DeviceEvidence[]>();
  for (const device of devices) for (const customerId of owners.customersOf(device.tags)) addTo(byCustomer, customerId, device);
  const isShared = tailnets[0]?.[0] !== key;
  return tailnets.map(([tailnetName, tailnet]) => {
    const { customerId, allowedNetworks } = tailnet;
    const place = { customerId, tailnetName };
    const { customer, router } = customerTagsOf(place, digest);
    const ofBooks = survey.sidecarsOf(tailnetName).map(([, { bookDeploymentId }]) => bookTagOf(place, bookDeploymentId, digest));
    const own = isShared ? (byCustomer.get(customerId) ?? []) : devices;
    const bookTags = new Set([customer, ...ofBooks, ...(isShared ? [] : settings.deviceTags)]);
    return {
      ...{ customerId, tailnetName, tailnet, bookTags, intent: new JudgedIntent(tailnet) },
      routerTags: new Set([router, ...(isShared ? [] : [settings.routerTag])]),
      tags: [...new Set([customer, router, ...ofBooks, ...own.flatMap(({ tags }) => tags)])],
      addresses: own.flatMap(({ addresses }) => addresses),
      bookAddresses: own.filter(({ tags }) => tags.some((tag) => bookTags.has(tag))).flatMap(addressesOf),
      networks: [...allowedNetworks, ...own.flatMap(({ routes }) => routes)],
    };
  });
}

const addressesOf = ({ addresses }: DeviceEvidence): readonly IpAddress[] => addresses.flatMap((text) => parseAddress(text) ?? []);

/** Whether a rule's source may stand for a device of the customer's books. */
function isFromBooks(selector: Selector, { bookTags, bookAddresses }: Sender): boolean {
  if (selector.kind === 'tag') return bookTags.has(selector.tag);
  if (selector.kind === 'nobody') return false;
  return selector.kind !== 'range' || bookAddresses.some((address) => cidrContains(selector.range, address));
}

/** ICMP to the customer's own routers: what makes them candidates of a grant by their way. */
const isGreeting = ({ ports, dst }: JudgedRule, { routerTags }: Sender): boolean =>
  ports.every(({ protocol }) => protocol === 'icmp') && dst.every((selector) => selector.kind === 'tag' && routerTags.has(selector.tag));

/** Of two ranges that overlap, the smaller: what lies in both. */
const both = (a: Cidr, b: Cidr): readonly Cidr[] => (cidrsOverlap(a, b) ? [a.prefixLength > b.prefixLength ? a : b] : []);

/** What a destination stands for besides devices by their tags. */
const rangesIn = (selector: Selector): readonly Cidr[] => {
  if (selector.kind === 'range') return [selector.range];
  return selector.kind === 'everything' || selector.kind === 'unknown' ? EVERYWHERE : [];
};

/** A customer's intent, to be asked for many ranges. */
class JudgedIntent {
  readonly #isOpen: boolean;
  readonly #allowed: RangeTable<true>;
  readonly #blocked: RangeTable<true>;
  readonly #parts: readonly Cidr[];

  constructor({ allowedNetworks, blockedNetworks, accessPolicy }: Wanted) {
    this.#isOpen = accessPolicy === 'permissive';
    [this.#allowed, this.#blocked] = [tableOf(allowedNetworks), tableOf(blockedNetworks)];
    this.#parts = [...rangesOf(allowedNetworks), ...rangesOf(blockedNetworks), ...DEVICES];
  }

  /** Whether every address of a range behind routers may be reached. The ranges of devices are granted as devices. */
  lets(range: Cidr): boolean {
    const points = addressPoints([range, ...this.#parts.flatMap((part) => both(part, range))]).filter((address) => cidrContains(range, address));
    const isOfDevices = (address: IpAddress): boolean => DEVICES.some((devices) => cidrContains(devices, address));
    return points.every((address) => isOfDevices(address) || (!this.#blocked.holds(address) && (this.#isOpen || this.#allowed.holds(address))));
  }
}

/** Whether a rule that starts at a customer's books reaches more than the customer's intent. */
function isBeyond(rule: JudgedRule, sender: Sender): boolean {
  if (!rule.src.some((selector) => isFromBooks(selector, sender)) || isGreeting(rule, sender)) return false;
  const meetsDevices = rule.dst.some((selector) => {
    if (selector.kind === 'nobody') return false;
    return selector.kind !== 'range' || DEVICES.some((devices) => cidrsOverlap(devices, selector.range));
  });
  if (meetsDevices && sender.tailnet.accessPolicy === 'restrictive') return true;
  return rule.dst.flatMap(rangesIn).some((range) => !sender.intent.lets(range));
}

/** Who may be meant by the sources of rules: by their tags at once, by anything else everybody. */
class Senders<From extends Sender> {
  readonly #members: readonly From[];
  readonly #byTag = new Map<string, From[]>();

  constructor(members: readonly From[]) {
    this.#members = members;
    for (const member of members) for (const tag of member.bookTags) addTo(this.#byTag, tag, member);
  }

  of({ src }: JudgedRule): Iterable<From> {
    return new Set(src.flatMap((selector) => (selector.kind === 'tag' ? (this.#byTag.get(selector.tag) ?? []) : this.#members)));
  }
}

function* beyondIntents(policy: JudgedPolicy, members: readonly Member[], where: string): Generator<Found | undefined, void, void> {
  const senders = new Senders(members);
  for (const rule of policy.rules) {
    yield;
    for (const member of senders.of(rule)) {
      const { customerId, tailnetName } = member;
      if (isBeyond(rule, member)) yield { kind: 'beyond-intent', tailnetName, customerId, by: rule.name, where };
    }
  }
}

/** A customer's part of a policy that is about to be written. */
export interface WrittenFor {
  readonly config: Wanted;
  readonly bookTags: readonly string[];
  readonly routerTag: string;
}

/**
 * The entries of a policy, by their names, that are ours and let a book reach more than its customer's intent. For a text before it is written: others'
 * entries are theirs to answer for, and a proof of what is there tells them.
 */
export function entriesBeyond(policyText: string, parts: readonly WrittenFor[], isOurs: (tags: readonly string[]) => boolean): readonly string[] {
  const senders = new Senders(
    parts.map(
      ({ config, bookTags, routerTag }): Sender => ({
        ...{ tailnet: config, intent: new JudgedIntent(config), bookTags: new Set(bookTags), bookAddresses: [], routerTags: new Set([routerTag]) },
      }),
    ),
  );
  const isByUs = ({ name, src }: JudgedRule): boolean => {
    const tags = src.flatMap((selector) => (selector.kind === 'tag' ? [selector.tag] : []));
    return name.startsWith('grants.') && tags.length === src.length && isOurs(tags); // of rules in the older form none is ours
  };
  const rules = readPolicy(policyText)?.rules.filter(isByUs) ?? [];
  return rules.filter((rule) => [...senders.of(rule)].some((sender) => isBeyond(rule, sender))).map(({ name }) => name);
}

/** What lets one of a customer's tailnets reach another of the same customer: there they are kept apart like any two. */
function* betweenOwn(
  text: string,
  members: readonly Member[],
  devices: readonly DeviceEvidence[],
): Generator<Pick<Found, 'tailnetName' | 'customerId' | 'by'>, void, void> {
  const several = [...Map.groupBy(members, ({ customerId }) => customerId).values()].filter(({ length }) => length > 1).flat();
  if (several.length === 0) return;
  const carrying = byTag(devices);
  const apart = several.map(({ tailnetName, tailnet, bookTags, routerTags }): ProvenCustomer => {
    const tags = [...bookTags, ...routerTags];
    const own = tags.flatMap((tag) => carrying.get(tag) ?? []);
    const networks = [...tailnet.allowedNetworks, ...own.flatMap(({ routes }) => routes)];
    return { customerId: tailnetName, tags, addresses: own.flatMap(({ addresses }) => addresses), networks };
  });
  const owners = new Map(several.map(({ tailnetName, customerId }) => [tailnetName, customerId]));
  for (const { from, to, by } of proveIsolation(text, apart)) {
    const customerId = owners.get(from);
    if (customerId !== undefined && customerId === owners.get(to)) yield { tailnetName: from, customerId, by };
  }
}

/**
 * Whether the policy of one tailnet at the control plane keeps its customers apart, and, where we write it, lets no book reach more than its customer's
 * intent, whoever wrote the entry. Yields nothing between parts: those of a tailnet that thousands share take long.
 */
export function* provePolicy(group: ControlGroup, survey: Survey): Generator<Found | undefined, void, void> {
  const text = survey.evidence.get('policy', group.key);
  if (text === undefined) return;
  const where = `policy ${group.key}`;
  const members = membersOf(group, survey);
  yield;
  const [first] = members;
  const told = new Set<string>();
  for (const found of provingIsolation(text, members)) {
    if (found === undefined) {
      yield;
      continue;
    }
    const { from, to, by } = found;
    const tailnetName = members.find(({ customerId }) => customerId === from)?.tailnetName ?? '';
    told.add(`${from} ${by}`);
    yield { kind: 'reaches-other-customer', tailnetName, customerId: from, otherCustomerId: to, by, where };
  }
  for (const { tailnetName, customerId, by } of betweenOwn(text, members, survey.evidence.get('devices', group.key) ?? []))
    if (!told.has(`${customerId} ${by}`)) yield { kind: 'reaches-other-customer', tailnetName, customerId, otherCustomerId: customerId, by, where };
  yield;
  yield* provePolicySections(text, group, { survey, parties: members });
  yield;
  const policy = readPolicy(text);
  const managed = members.filter(({ tailnet }) => tailnet.managed);
  if (first === undefined || managed.length === 0) return;
  if (policy === undefined || policy.openToAll) {
    if (members.length > 1) return; // told as one that lets everybody reach everybody
    yield {
      kind: 'beyond-intent',
      tailnetName: first.tailnetName,
      customerId: first.customerId,
      by: policy === undefined ? 'policy' : 'default',
      where,
    };
    return;
  }
  yield* beyondIntents(policy, managed, where);
}
