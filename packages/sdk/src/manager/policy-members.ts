import { parseCidr } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet, TailnetSpec } from '../domain/model.ts';
import { UNTOLD_CONTROL_ID } from '../domain/names.ts';
import { byTag } from '../domain/policy/by-tag.ts';
import { compilePolicy, type PolicyMember, type PolicySections } from '../domain/policy/compile-policy.ts';
import { isIdentityTag } from '../domain/policy/identity-tags.ts';
import { holdsSections, type Ownership } from '../domain/policy/policy-document.ts';
import type { ProvenCustomer } from '../domain/policy/prove-isolation.ts';
import type { Device } from '../ports/index.ts';
import type { Call, Context } from './context.ts';
import { policyHash } from './hashes.ts';
import { bookTag, customerTags, hasIdentities, identityTags, managesPolicy, routerTagOf } from './identities.ts';
import { refusalOf } from './tailnet-acceptance.ts';

/** A tailnet, and its part in a policy. */
export interface Part {
  readonly tailnet: StoredTailnet;
  readonly member: PolicyMember;
  /** Of the sections that come of this part alone. */
  readonly hash: string;
}

/** All that have entries in one policy. */
export interface PolicyGroup {
  readonly parts: readonly Part[];
  /** Nothing is changed for these now: their entries stay as they are. */
  readonly still: readonly Part[];
  readonly sections: PolicySections;
  readonly ownership: Ownership;
}

/** What rounds on one policy wait for each other by. Customers' own tailnets may be one at the control plane. */
export function groupKeyOf({ key, spec: { tenancy, customerId } }: StoredTailnet): string {
  if (tenancy === 'shared') return 'shared';
  return tenancy === 'organization' ? `tailnet ${key}` : `customer ${customerId}`;
}

function memberOf(context: Context, tailnet: StoredTailnet, sidecars: readonly StoredSidecar[]): PolicyMember {
  const { customer, router } = customerTags(tailnet);
  const { deviceTags } = context.settings;
  const { tenancy, customerId, config } = tailnet.spec;
  return {
    // Devices that joined before there were tags of identities carry the others alone.
    sourceTags: tenancy === 'shared' ? [customer] : [customer, ...deviceTags],
    routerTag: routerTagOf(context, tailnet) ?? router,
    config,
    books: sidecars
      .filter(({ spec }) => spec.customerId === customerId)
      .map((sidecar) => {
        const { enableSsh, advertiseRoutes } = sidecar.spec.config;
        return { tag: bookTag(sidecar), enableSsh, advertiseRoutes };
      }),
  };
}

function compiled({ settings }: Context, tenancy: TailnetSpec['tenancy'], members: readonly PolicyMember[]): PolicySections {
  const { deviceTags, nodeAttributes } = settings;
  // Of a tailnet that we made, our client owns every tag.
  return compilePolicy({ members, shared: tenancy === 'shared', ownerTags: tenancy === 'organization' ? [] : deviceTags, nodeAttributes });
}

/** What the policy is to hold for this tailnet alone. */
export const sectionsOf = (context: Context, tailnet: StoredTailnet, sidecars: readonly StoredSidecar[]): PolicySections =>
  compiled(context, tailnet.spec.tenancy, [memberOf(context, tailnet, sidecars)]);

function partOf(context: Context, tailnet: StoredTailnet, sidecars: readonly StoredSidecar[]): Part {
  const member = memberOf(context, tailnet, sidecars);
  return { tailnet, member, hash: policyHash(JSON.stringify(compiled(context, tailnet.spec.tenancy, [member]))) };
}

/** Of those that are stored; what the watches have told is enough once they have told all. */
async function sidecarsByTailnet(context: Context, call: Call): Promise<ReadonlyMap<string, readonly StoredSidecar[]>> {
  const { observed, store } = context;
  const all = observed.complete ? observed.sidecars : await store.sidecars.list(call);
  return Map.groupBy(all, ({ spec }) => spec.tailnetName);
}

/** The hash by which a tailnet's state says that its part of the policy is written. */
export async function wantedHash(context: Context, tailnet: StoredTailnet, call: Call): Promise<string> {
  const { observed } = context;
  const sidecars = observed.complete ? observed.sidecarsOf(tailnet.key) : ((await sidecarsByTailnet(context, call)).get(tailnet.key) ?? []);
  return partOf(context, tailnet, sidecars).hash;
}

/**
 * Whether the policy says who owns the tags of this book: only then keys with them can be made. Where books come and go, what is wanted of the tailnet may
 * differ from what is written at any time; then it is enough that what is written has this one.
 */
export async function ownsTags(
  context: Context,
  tailnet: StoredTailnet,
  { sidecar, signal }: { readonly sidecar: StoredSidecar } & Call,
): Promise<boolean> {
  if (!hasIdentities(tailnet) || refusalOf(tailnet) !== undefined) return true;
  const { policyHash: written } = tailnet.state;
  const tags = context.policies.tagsInForce(tailnet.key, written);
  if (tags !== undefined && identityTags(tailnet, sidecar).every((tag) => tags.has(tag))) return true;
  return written === (await wantedHash(context, tailnet, { signal }));
}

/** Two of one customer's tailnets are the same one at the control plane, as far as is known. */
export function isSameControl(one: StoredTailnet, other: StoredTailnet): boolean {
  const { controlId = UNTOLD_CONTROL_ID } = one.state;
  const isSame = controlId !== UNTOLD_CONTROL_ID && controlId === other.state.controlId;
  return isSame || one.spec.credentialSecretName === other.spec.credentialSecretName;
}

/** Those that are written beside it. `apart`: the same customer's others, which may yet turn out to be the same one at the control plane. */
interface Neighbours {
  readonly together: readonly StoredTailnet[];
  readonly apart: readonly StoredTailnet[];
}

async function neighboursOf({ store }: Context, tailnet: StoredTailnet, call: Call): Promise<Neighbours> {
  const { tenancy, customerId } = tailnet.spec;
  if (tenancy === 'organization') return { together: [], apart: [] };
  const others = (await store.tailnets.list(call)).filter(({ key, spec }) => key !== tailnet.key && spec.tenancy === tenancy && managesPolicy(spec));
  if (tenancy === 'shared') return { together: others, apart: [] };
  const own = others.filter(({ spec }) => spec.customerId === customerId);
  const isApart = (other: StoredTailnet): boolean => !isSameControl(tailnet, other);
  return { together: own.filter((other) => !isApart(other)), apart: own.filter(isApart) };
}

/** What is refused cannot be compiled, and what is paused is not to change. */
const isStill = (tailnet: StoredTailnet): boolean => tailnet.spec.paused === true || refusalOf(tailnet) !== undefined;

/** `tailnet`, as it was just read, with all that share its policy. Without it when it is on its way out: what is gone from there, has no sidecar any more. */
export async function policyGroupOf(context: Context, tailnet: StoredTailnet, call: Call): Promise<PolicyGroup> {
  const { tenancy } = tailnet.spec;
  const sidecars = await sidecarsByTailnet(context, call);
  const { together, apart } = await neighboursOf(context, tailnet, call);
  const all = [tailnet, ...together].sort((a, b) => (a.key < b.key ? -1 : 1));
  const staying = all.filter(({ key, spec, deleting }) => managesPolicy(spec) && (!deleting || (sidecars.get(key) ?? []).length > 0));
  const still = staying.filter(isStill).map((each) => stillPart(context, each, sidecars.get(each.key) ?? []));
  const parts = staying.filter((each) => !isStill(each)).map((each) => partOf(context, each, sidecars.get(each.key) ?? []));
  const sections = compiled(context, tenancy, toldMembers({ parts, still }));
  // Nothing is known of where these are, so nothing that may be theirs is taken for a rest of what is gone.
  const unknown = apart.map((each) => stillPart(context, each, sidecars.get(each.key) ?? []));
  return { parts, still, sections, ownership: ownershipOf(context, tenancy, [...still, ...unknown]) };
}

/** Those of whom something is written. Of several tailnets that are one, what all books carry tells the books of none. */
export function toldMembers({ parts, still }: Pick<PolicyGroup, 'parts' | 'still'>): readonly PolicyMember[] {
  if (parts.length + still.length <= 1) return parts.map(({ member }) => member);
  return parts.map(({ tailnet, member }) => ({ ...member, sourceTags: [customerTags(tailnet).customer] }));
}

function stillPart(context: Context, tailnet: StoredTailnet, sidecars: readonly StoredSidecar[]): Part {
  const member = memberOf(context, tailnet, sidecars);
  const allowedNetworks = member.config.allowedNetworks.filter((network) => parseCidr(network) !== undefined);
  return { tailnet, member: { ...member, config: { ...member.config, allowedNetworks } }, hash: '' };
}

export const tagsOf = ({ member: { sourceTags, routerTag, books } }: Part): readonly string[] => [
  ...sourceTags,
  routerTag,
  ...books.map(({ tag }) => tag),
];

function ownershipOf({ settings }: Context, tenancy: TailnetSpec['tenancy'], others: readonly Part[]): Ownership {
  const { deviceTags, routerTag } = settings;
  const chosen = new Set([...deviceTags, routerTag]);
  if (tenancy === 'organization') return { isOurs: (tag) => tag.startsWith('tag:bifrost-') || chosen.has(tag) };
  const untouched = new Set(others.flatMap(tagsOf).filter(isIdentityTag));
  const isMark = (tag: string): boolean => isIdentityTag(tag) && !untouched.has(tag);
  return { isOurs: tenancy === 'shared' ? isMark : (tag) => isMark(tag) || deviceTags.includes(tag), isMark };
}

/** Whether a policy that several customers share has the parts of these as they are, and nothing else of theirs. @throws {BifrostError} `POLICY_UNREADABLE` */
export function holdsParts(context: Context, policyText: string, parts: readonly Part[]): boolean {
  if (parts.length === 0) return true;
  const marks = new Set(parts.flatMap(tagsOf));
  const sections = compiled(
    context,
    'shared',
    parts.map(({ member }) => member),
  );
  return holdsSections(policyText, sections, { isOurs: isIdentityTag, isMark: (tag) => marks.has(tag) });
}

/** The same, without a change for these: their entries stay as somebody has made them. */
export function leaving(context: Context, group: PolicyGroup, left: readonly Part[]): PolicyGroup {
  const parts = group.parts.filter((part) => !left.includes(part));
  const still = [...group.still, ...left];
  const sections = compiled(
    context,
    'shared',
    parts.map(({ member }) => member),
  );
  return { parts, still, sections, ownership: ownershipOf(context, 'shared', still) };
}

/** Whoever is not among them: a policy that opens all to all does so with one customer in the tailnet, too. */
const STRANGER: ProvenCustomer = { customerId: 'anybody else', tags: [], addresses: [], networks: [] };

/** Whom a proof tells apart: each tailnet's devices and networks, as they were read back. */
export function provenOf({ parts, still }: PolicyGroup, devices: readonly Device[]): readonly ProvenCustomer[] {
  const carrying = byTag(devices);
  const proven = [...parts, ...still].map((part): ProvenCustomer => {
    const tags = tagsOf(part);
    const own = tags.flatMap((tag) => carrying.get(tag) ?? []);
    return {
      customerId: part.tailnet.key,
      tags,
      addresses: [...new Set(own.flatMap(({ addresses }) => addresses))],
      networks: [...new Set([...own.flatMap(({ enabledRoutes }) => enabledRoutes), ...part.member.config.allowedNetworks])],
    };
  });
  return [...proven, STRANGER];
}
