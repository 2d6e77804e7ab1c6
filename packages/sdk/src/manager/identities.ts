import type { Tenancy } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet, TailnetSpec } from '../domain/model.ts';
import { bookTagOf, type CustomerTags, customerTagsOf, type Place } from '../domain/policy/identity-tags.ts';
import type { Device } from '../ports/index.ts';
import type { Context } from './context.ts';
import { digest } from './hashes.ts';

type Named = Pick<StoredTailnet, 'key' | 'spec'>;

/** Whether our entries are kept in the policy of that tailnet. */
export const managesPolicy = ({ tenancy, managePolicy }: Pick<TailnetSpec, 'tenancy' | 'managePolicy'>): boolean =>
  tenancy !== 'customer-owned' || managePolicy === true;

/** Whether devices that join now carry tags of their customer and their book: only where the policy says who owns these. */
export const hasIdentities = ({ spec, state }: StoredTailnet): boolean => managesPolicy(spec) && state.policyReason === undefined;

const placeOf = ({ key, spec: { customerId } }: Named): Place => ({ customerId, tailnetName: key });

export const customerTags = (tailnet: Named): CustomerTags => customerTagsOf(placeOf(tailnet), digest);

/** What the customer's routers carry, where the policy is ours to keep. */
export function routerTagOf({ settings }: Context, tailnet: Named): string | undefined {
  if (!managesPolicy(tailnet.spec)) return undefined;
  return tailnet.spec.tenancy === 'organization' ? settings.routerTag : customerTags(tailnet).router;
}

export const bookTag = ({ spec }: Pick<StoredSidecar, 'spec'>): string => bookTagOf(spec, spec.bookDeploymentId, digest);

/** What a key's devices carry beside, or in a tailnet of several customers instead of, the tags of all books. */
export function identityTags(tailnet: StoredTailnet, sidecar: StoredSidecar): readonly string[] {
  return hasIdentities(tailnet) ? [customerTags(tailnet).customer, bookTag(sidecar)] : [];
}

/** The tags that tell a sidecar's devices from whatever else asked for the same hostname. */
export function marksOf({ settings: { deviceTags } }: Context, { spec }: Pick<StoredSidecar, 'spec'>, tenancy: Tenancy): readonly string[] {
  return tenancy === 'shared' ? [customerTagsOf(spec, digest).customer] : deviceTags;
}

/** Of a tailnet's devices those that are this customer's, or nobody's but this customer's to see. */
export function ownDevices(tailnet: Named, devices: readonly Device[]): readonly Device[] {
  if (tailnet.spec.tenancy !== 'shared') return devices;
  const { customer, router } = customerTags(tailnet);
  return devices.filter(({ tags }) => tags.includes(customer) || tags.includes(router));
}
