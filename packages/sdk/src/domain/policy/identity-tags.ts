/** The tags that tell one customer's devices from another's. */
export interface CustomerTags {
  /** Of every device of the customer's books. */
  readonly customer: string;
  /** Of the customer's own routers. */
  readonly router: string;
}

/** Tells texts apart for certain, also from somebody who would have two look alike: SHA-256 or better, hexadecimal. */
export type Digest = (text: string) => string;

const MAX_SLUG_LENGTH = 30;
const HASH_LENGTH = 16;

/**
 * A readable part and a hash of the whole: two ids never share a tag because they look alike (case, other alphabets, what cannot stand in a tag), and
 * whoever reads a policy sees whose it is.
 */
function slugOf(readable: string, whole: string, digest: Digest): string {
  const slug = readable
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_SLUG_LENGTH)
    .replace(/^-+|-+$/g, '');
  const hash = digest(whole).slice(0, HASH_LENGTH);
  return slug === '' ? hash : `${slug}-${hash}`;
}

/**
 * A customer's place in one tailnet. The name is part of it, since two tailnets of one customer may be one at the control plane: what one of them grants
 * is not for the books of the other.
 */
export interface Place {
  readonly customerId: string;
  readonly tailnetName: string;
}

export function customerTagsOf({ customerId, tailnetName }: Place, digest: Digest): CustomerTags {
  const slug = slugOf(customerId, JSON.stringify([customerId, tailnetName]), digest);
  return { customer: `tag:bifrost-customer-${slug}`, router: `tag:bifrost-router-${slug}` };
}

/** The tag of one book of one customer. */
export const bookTagOf = ({ customerId, tailnetName }: Place, bookDeploymentId: string, digest: Digest): string =>
  `tag:bifrost-book-${slugOf(bookDeploymentId, JSON.stringify([customerId, tailnetName, bookDeploymentId]), digest)}`;

const IDENTITY = new RegExp(`^tag:bifrost-(customer|router|book)-([a-z0-9]([a-z0-9-]*[a-z0-9])?-)?[0-9a-f]{${HASH_LENGTH}}$`);

/** Whether a tag has the form of those of customers' books. */
export const isCustomerTag = (tag: string): boolean => isIdentityTag(tag) && tag.startsWith('tag:bifrost-customer-');

/** Whether a tag has the form of those that are made here, for whomever. */
export const isIdentityTag = (tag: string): boolean => IDENTITY.test(tag);
