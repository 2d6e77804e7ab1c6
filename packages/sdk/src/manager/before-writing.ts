import { isIP } from 'node:net';
import { BifrostError, formatAddress } from '@bifrost/types/core';
import type { ClusterRanges, StoredTailnet } from '../domain/model.ts';
import { LABELS } from '../domain/names.ts';
import type { SidecarFragment } from '../domain/pod-shape.ts';
import { addressPoints, rangesOf, tableOf } from '../domain/policy/address-points.ts';
import { type NetworkPolicyManifest, shapeOf } from '../domain/policy/network-policies.ts';
import { isByOurs } from '../domain/policy/policy-document.ts';
import { guardFaults } from '../domain/policy/prove-guard.ts';
import { proveNetworkPolicies } from '../domain/policy/prove-network-policies.ts';
import { entriesBeyond } from '../domain/policy/prove-policy.ts';
import { guardRulesIn } from '../domain/policy/read-guard.ts';
import { customerTags } from './identities.ts';
import type { Settings } from './options.ts';
import type { PolicyGroup } from './policy-members.ts';

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
export function requireIntended(policyText: string, { parts, still, ownership }: PolicyGroup): void {
  const isAlone = parts.length + still.length === 1;
  const wanted = parts.map(({ tailnet, member: { sourceTags, routerTag, books } }) => ({
    config: tailnet.spec.config,
    bookTags: [...(isAlone ? sourceTags : [customerTags(tailnet).customer]), ...books.map(({ tag }) => tag)],
    routerTag,
  }));
  const [by] = entriesBeyond(policyText, wanted, (tags) => isByOurs(tags, ownership));
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

const [OWN, OTHER] = ['the book’s customer', 'another customer'];
/** Of the book's pod: whatever it is, it must not be the other's, since a pod reaches itself. */
const OWN_ADDRESS = '192.0.2.1';

/** One of each range: to a policy whose holes are whole ranges all of them are the same. */
function someAddresses(ranges: readonly string[]): readonly string[] {
  const table = tableOf(ranges);
  return addressPoints(rangesOf(ranges))
    .filter((address) => table.holds(address))
    .map(formatAddress);
}

/** @throws {BifrostError} `ISOLATION_VIOLATED` — where nothing else opened a way, these NetworkPolicies would let the book reach a pod of another customer */
export function requireApart(
  manifests: readonly NetworkPolicyManifest[],
  { sidecarId, namespace, ranges }: { readonly sidecarId: string; readonly namespace: string; readonly ranges: ClusterRanges },
): void {
  const addresses = someAddresses(ranges.pods);
  const own = { namespace, name: 'book', customerId: OWN, labels: { [LABELS.sidecarId]: sidecarId }, addresses: [OWN_ADDRESS] };
  const others = [{}, { [LABELS.sidecarId]: 'another' }].map((labels) => ({
    ...{ namespace: `${namespace}-other`, name: 'other', customerId: OTHER, labels, addresses },
  }));
  const found = proveNetworkPolicies([own, ...others], new Map([[namespace, manifests.map(shapeOf)]]), others.length + 1);
  const way = [...found].find(({ customerId }) => customerId === OWN);
  if (way === undefined) return;
  throw violated('The NetworkPolicy that was to be written lets the book reach pods of other customers', {
    by: way.by,
    path: 'networkPolicyEndpoints',
  });
}
