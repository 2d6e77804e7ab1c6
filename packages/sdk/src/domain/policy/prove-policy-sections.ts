import { type Cidr, networkOf, type ProofFinding } from '@bifrost/types/core';
import { RangeTable, rangesOf } from './address-points.ts';
import { byTag } from './by-tag.ts';
import { isIdentityTag } from './identity-tags.ts';
import type { Selector } from './judge-policy.ts';
import { type JudgedApprovers, type JudgedOwners, type JudgedSections, type JudgedShell, readSections } from './judge-sections.ts';
import { controlKeyOf, SHARED, type TailnetEvidence } from './proof-evidence.ts';
import { Directory } from './prove-isolation.ts';
import type { ControlGroup, Survey } from './survey.ts';

type Found = Omit<ProofFinding, 'layer'>;
/** All of a finding but its entry. */
type Meeting = Pick<Found, 'tailnetName' | 'customerId' | 'otherCustomerId'>;

/** A stored tailnet in the one at the control plane: two of one customer are told apart like any two. */
export interface Party {
  readonly tailnetName: string;
  readonly tailnet: TailnetEvidence;
  readonly bookTags: ReadonlySet<string>;
  readonly routerTags: ReadonlySet<string>;
}

/** Whom a selector may stand for: a tailnet that is here, or one by its tag alone, which no customer here has. */
interface Sender {
  readonly party?: Party;
  /** Of a tag that is another customer's. Undefined: nobody's. */
  readonly strangerId?: string;
}

/** Who may write the policy may do anything: to say that they own a tag is to say nothing, as an empty list does. */
const WRITERS: ReadonlySet<string> = new Set(['autogroup:admin', 'autogroup:owner', 'autogroup:network-admin']);

/** Who is who in one tailnet at the control plane. */
class Parties {
  readonly isShared: boolean;
  readonly first: Party | undefined;
  readonly #survey: Survey;
  readonly #byName: ReadonlyMap<string, Party>;
  readonly #directory: Directory;
  readonly #allowed: ReadonlyMap<string, RangeTable<number>>;
  readonly #leaving: ReadonlySet<string>;

  constructor({ key, tailnets }: ControlGroup, parties: readonly Party[], survey: Survey) {
    const { evidence } = survey;
    this.isShared = tailnets.some(([, { tenancy }]) => tenancy === SHARED);
    [this.first] = parties;
    this.#survey = survey;
    this.#byName = new Map(parties.map((party) => [party.tailnetName, party]));
    const carrying = byTag(evidence.get('devices', key) ?? []);
    this.#directory = new Directory(
      parties.map(({ tailnetName, tailnet, bookTags, routerTags }) => {
        const tags = [...bookTags, ...routerTags];
        const own = tags.flatMap((tag) => carrying.get(tag) ?? []);
        const carried = [...new Set([...tags, ...own.flatMap((device) => device.tags)])];
        return { customerId: tailnetName, tags: carried, addresses: own.flatMap(({ addresses }) => addresses), networks: tailnet.allowedNetworks };
      }),
    );
    this.#allowed = new Map(
      parties.map(({ tailnetName, tailnet }) => {
        const ranges = rangesOf(tailnet.allowedNetworks).map((range) => [range, range.prefixLength] as const);
        return [tailnetName, new RangeTable(ranges)];
      }),
    );
    const leaving = evidence.all('leaving').filter(([name, tailnet]) => controlKeyOf(name, tailnet) === key);
    this.#leaving = new Set(leaving.map(([, { customerId }]) => customerId));
  }

  /** One after another: who looks for the first of many is not to wait for all. */
  *sendersOf(selectors: readonly Selector[]): Generator<Sender, void, void> {
    for (const selector of selectors) {
      for (const name of this.#directory.devices(selector)) {
        const party = this.#byName.get(name);
        if (party !== undefined) yield { party };
      }
      if (selector.kind === 'tag') yield* this.#strangers(selector.tag);
    }
  }

  /** Of a tag that no tailnet here has. */
  #strangers(tag: string): readonly Sender[] {
    if (this.#directory.ofTag(tag).size > 0) return [];
    const whose = this.#survey.owners.of(tag);
    if (whose === undefined) return [];
    return [whose === 'nobody' ? {} : { strangerId: whose.customerId }];
  }

  of(tag: string): readonly Sender[] {
    return [...this.sendersOf([{ kind: 'tag', tag }])];
  }

  devices(selectors: readonly Selector[]): ReadonlySet<string> {
    return new Set(selectors.flatMap((selector) => [...this.#directory.devices(selector)]));
  }

  /** Whose devices and wanted networks are in some of these ranges. */
  at(ranges: readonly Cidr[]): ReadonlySet<string> {
    return new Set(ranges.flatMap((range) => [...this.#directory.destinations({ kind: 'range', range })]));
  }

  /** Whether all of a range is in one that is wanted for the tailnet. */
  wants({ tailnetName }: Party, range: Cidr): boolean {
    return (
      this.#allowed
        .get(tailnetName)
        ?.at(networkOf(range))
        .some((prefixLength) => prefixLength <= range.prefixLength) === true
    );
  }

  /**
   * What we wrote for a tailnet stays while it is being deleted; and in a tailnet that customers come into all the time, one may have come after the
   * store was read: a device with a tag of nobody's is told by itself.
   */
  mayBeOurs({ party, strangerId }: Sender): boolean {
    return this.isShared && party === undefined && (strangerId === undefined || this.#leaving.has(strangerId));
  }

  /** The first of these that a sender is not. */
  meeting({ party, strangerId }: Sender, targets: ReadonlySet<string>): Meeting | undefined {
    for (const name of targets) {
      const target = this.#byName.get(name);
      if (target === undefined || target === party || (party === undefined && target.tailnet.customerId === strangerId)) continue;
      const { customerId } = target.tailnet;
      if (party !== undefined) return { tailnetName: party.tailnetName, customerId: party.tailnet.customerId, otherCustomerId: customerId };
      return { tailnetName: name, customerId, ...(strangerId === undefined ? {} : { otherCustomerId: strangerId }) };
    }
    return undefined;
  }
}

/** Who owns a tag may give it to a device, which then passes for one of that customer's. */
function* foreignOwners({ owners }: JudgedSections, parties: Parties, ours: ReadonlySet<string>): Generator<Meeting & { readonly by: string }> {
  const { first, isShared } = parties;
  if (first === undefined) return;
  const whole = { tailnetName: first.tailnetName, customerId: first.tailnet.customerId };
  for (const { name, tag, owners: who } of owners) {
    if (who?.every((owner) => WRITERS.has(owner) || ours.has(owner)) || !isIdentityTag(tag)) continue;
    const [whose] = parties.of(tag);
    // Alone in a tailnet, a customer is the owner of what it is called there.
    if (!isShared && (whose === undefined || whose.party !== undefined || whose.strangerId === whole.customerId)) continue;
    const at = whose?.party === undefined ? whole : { tailnetName: whose.party.tailnetName, customerId: whose.party.tailnet.customerId };
    const other =
      whose?.strangerId ?? (who ?? []).flatMap((owner) => parties.of(owner)).find(({ party }) => party !== whose?.party)?.party?.tailnet.customerId;
    yield { ...at, ...(other === undefined || other === at.customerId ? {} : { otherCustomerId: other }), by: name };
  }
}

/** A customer's device that owns our own tag, be it by way of others, owns every customer's. */
function* ownersOfOurs({ owners }: JudgedSections, parties: Parties, ours: ReadonlySet<string>): Generator<Meeting & { readonly by: string }> {
  const { first } = parties;
  const byTag = new Map<string, JudgedOwners>(owners.map((entry) => [entry.tag, entry]));
  const reached = new Set(ours);
  for (const tag of reached) {
    const entry = byTag.get(tag);
    for (const owner of entry?.owners ?? []) {
      if (!isIdentityTag(owner)) {
        reached.add(owner); // walked through in its turn
        continue;
      }
      const [whose] = parties.of(owner);
      const party = whose?.party ?? first;
      if (party === undefined || entry === undefined) continue;
      const other = whose?.strangerId === undefined ? {} : { otherCustomerId: whose.strangerId };
      yield { tailnetName: party.tailnetName, customerId: party.tailnet.customerId, ...other, by: entry.name };
    }
  }
}

/** Whose routes come in unasked: into ranges that are another's, and that nobody wants for their own customer. One names the entry. */
function foreignApprover({ ranges, who }: JudgedApprovers, parties: Parties): Meeting | undefined {
  let targets: ReadonlySet<string> | undefined;
  for (const sender of parties.sendersOf(who)) {
    const { party } = sender;
    if (parties.mayBeOurs(sender) || (party !== undefined && ranges.every((range) => parties.wants(party, range)))) continue;
    targets ??= parties.at(ranges);
    const met = parties.meeting(sender, targets);
    if (met !== undefined) return met;
  }
  return undefined;
}

/** Who gets a shell on what is another's. One names the entry. */
function foreignShell({ src, dst }: JudgedShell, parties: Parties): Meeting | undefined {
  const targets = parties.devices(dst);
  if (targets.size === 0) return undefined;
  for (const sender of parties.sendersOf(src)) {
    const met = parties.meeting(sender, targets);
    if (met !== undefined) return met;
  }
  return undefined;
}

/**
 * What of a policy lets no packet pass by itself, and makes one customer pass for another: who owns their tags, whose routes are approved, who gets a
 * shell. Where a customer is alone, all of that is its own business but what names another customer's tags.
 */
export function* provePolicySections(
  text: string,
  group: ControlGroup,
  { survey, parties: all }: { readonly survey: Survey; readonly parties: readonly Party[] },
): Generator<Found> {
  const sections = readSections(text);
  if (sections === undefined) return; // told by the judges of its rules
  const where = `policy ${group.key}`;
  const parties = new Parties(group, all, survey);
  const ours = new Set(parties.isShared ? survey.settings.deviceTags : []);
  for (const found of foreignOwners(sections, parties, ours)) yield { kind: 'foreign-owner', ...found, where };
  for (const found of ownersOfOurs(sections, parties, ours)) yield { kind: 'foreign-owner', ...found, where };
  for (const entry of sections.approvers) {
    const met = foreignApprover(entry, parties);
    if (met !== undefined) yield { kind: 'foreign-approver', ...met, by: entry.name, where };
  }
  for (const entry of sections.shells) {
    const met = foreignShell(entry, parties);
    if (met !== undefined) yield { kind: 'foreign-shell', ...met, by: entry.name, where };
  }
}
