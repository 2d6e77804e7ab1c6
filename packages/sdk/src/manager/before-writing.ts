import { isIP } from 'node:net';
import { BifrostError, type GuardOrder, type NetworkConfiguration } from '@bifrost/types/core';
import { liveGuardRules } from '../domain/guard.ts';
import type { ClusterRanges, StoredTailnet } from '../domain/model.ts';
import { LABELS } from '../domain/names.ts';
import type { SidecarFragment } from '../domain/pod-shape.ts';
import { lastOf } from '../domain/policy/address-order.ts';
import { rangesOf } from '../domain/policy/address-points.ts';
import { withOrder } from '../domain/policy/judge-guard.ts';
import type { JudgedPod, JudgedPolicy } from '../domain/policy/judge-network-policy.ts';
import { type NetworkPolicyManifest, shapeOf } from '../domain/policy/network-policies.ts';
import { isByOurs } from '../domain/policy/policy-document.ts';
import { NAME_LABEL } from '../domain/policy/policy-pods.ts';
import { type GuardFault, guardFaults } from '../domain/policy/prove-guard.ts';
import { wayBetween, withAnyNamedPort } from '../domain/policy/prove-network-policies.ts';
import { entriesBeyond } from '../domain/policy/prove-policy.ts';
import { guardRulesIn } from '../domain/policy/read-guard.ts';
import type { Settings } from './options.ts';
import { type PolicyGroup, toldMembers } from './policy-members.ts';

// What is about to be written, judged by what judges it once it is read back. What compiles and what judges share nothing: a fault in one of them is seen
// here, while nothing has been opened yet. Nobody but whoever maintains Bifrost can mend it.

const violated = (what: string, { by, path }: { readonly by: string; readonly path: string }): BifrostError =>
  new BifrostError({
    code: 'ISOLATION_VIOLATED',
    message: `${what}, by ${by}: nothing is written.`,
    details: { by },
    issues: [{ path, message: `lets more through than is wanted, by ${by}` }],
  });

/** Of what is outside of the tunnel by intent: an ingest that is named by address. */
export function directAddressesOf({ ingest }: Pick<Settings, 'ingest'>): readonly string[] {
  const host = new URL(ingest.url).hostname.replace(/^\[|\]$/g, '');
  const family = isIP(host);
  return family === 0 ? [] : [`${host}/${family === 6 ? 128 : 32}`];
}

/** @throws {BifrostError} `ISOLATION_VIOLATED` — an entry of ours in this text lets a book reach more than its customer's intent */
export function requireIntended(policyText: string, group: PolicyGroup): void {
  const wanted = toldMembers(group).map(({ config, sourceTags, routerTag, books }) => ({
    config,
    bookTags: [...sourceTags, ...books.map(({ tag }) => tag)],
    routerTag,
  }));
  const [by] = entriesBeyond(policyText, wanted, (tags) => isByOurs(tags, group.ownership));
  if (by !== undefined)
    throw violated('An entry of the policy that was to be written lets books reach more than is allowed', { by, path: `policy.${by}` });
}

interface GuardedBy {
  readonly tailnet: StoredTailnet;
  readonly ranges: ClusterRanges;
  readonly settings: Pick<Settings, 'ingest'>;
}

/** @throws {BifrostError} `ISOLATION_VIOLATED` — the guard of a sidecar in kernel mode lets an address go where the configuration does not send it */
export function requireGuarded(fragment: SidecarFragment, { tailnet, ranges, settings }: GuardedBy): void {
  const wanted = { settings: { clusterRanges: ranges, directAddresses: directAddressesOf(settings) }, tailnet: tailnet.spec.config };
  const [fault] = guardFaults(guardRulesIn(fragment), wanted);
  if (fault !== undefined) throw violated(`The guard that was to be put in is at fault (${fault.kind})`, { by: fault.by, path: 'guard' });
}

/** Where the cluster lies is the template's, and no order changes it: what an order brings shows without it, whatever became of the ranges meanwhile. */
const NO_CLUSTER = { clusterRanges: { pods: [], services: [], nodes: [] }, directAddresses: [] } as const;

/** Where a guard that holds this order would send an address elsewhere than is meant, by the judge's table of what it becomes and by our own. */
export function orderFaults({ allowedNetworks, blockedNetworks, accessPolicy }: GuardOrder, meant: NetworkConfiguration): readonly GuardFault[] {
  const order = { allowedNetworks, blockedNetworks };
  const ours = accessPolicy === 'quarantine' ? [] : [liveGuardRules({ ...order, accessPolicy })];
  const chains = [withOrder([], { ...order, accessPolicy }), ...ours];
  return chains.flatMap((rules) => guardFaults(rules, { settings: NO_CLUSTER, tailnet: meant }));
}

/** Of the book's pod: whatever they are, they must not be the other's, since a pod reaches itself. */
const OWN_ADDRESSES = rangesOf(['192.0.2.1/32', '2001:db8::1/128']).map(lastOf);

/** Of examples in books: nobody names them but with all that there is. Where no range of pods is told of a family, theirs may be anywhere in it. */
const ANYWHERE = rangesOf(['198.51.100.0/24', '3fff::/20']).map(lastOf);

/**
 * Pods of another customer, in a namespace of theirs: whoever the selectors of a policy do not name. At the last address of a range: what a policy names of
 * a part of the cluster, somebody has named who knows what is there; a whole range holds everybody.
 */
function strangers(namespace: string, { pods }: ClusterRanges): readonly JudgedPod[] {
  const lasts = [...rangesOf(pods).map(lastOf), ...ANYWHERE];
  const addresses = ([4, 6] as const).flatMap((family) => lasts.find((address) => address.family === family) ?? []);
  const name = `${namespace}-other`;
  const namespaceLabels = { [NAME_LABEL]: name, [LABELS.customerId]: 'another customer' };
  return [{}, { [LABELS.sidecarId]: 'another' }].map((labels) => ({ namespace: name, labels, namespaceLabels, addresses }));
}

/** @throws {BifrostError} `ISOLATION_VIOLATED` — where nothing else opened a way, these NetworkPolicies would let the book reach a pod of another customer */
export function requireApart(
  manifests: readonly NetworkPolicyManifest[],
  { sidecarId, namespace, ranges }: { readonly sidecarId: string; readonly namespace: string; readonly ranges: ClusterRanges },
): void {
  const policies = new Map([[namespace, manifests.map((manifest): JudgedPolicy => ({ ...withAnyNamedPort(shapeOf(manifest)), namespace }))]]);
  const book = { namespace, labels: { [LABELS.sidecarId]: sidecarId }, namespaceLabels: { [NAME_LABEL]: namespace }, addresses: OWN_ADDRESSES };
  for (const stranger of strangers(namespace, ranges)) {
    const by = wayBetween(book, stranger, policies);
    if (by === undefined) continue;
    throw violated('The NetworkPolicy that was to be written lets the book reach pods of other customers', { by, path: 'networkPolicyEndpoints' });
  }
}
