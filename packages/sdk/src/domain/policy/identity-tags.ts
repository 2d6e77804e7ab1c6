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

export function customerTagsOf(customerId: string, digest: Digest): CustomerTags {
  const slug = slugOf(customerId, customerId, digest);
  return { customer: `tag:bifrost-customer-${slug}`, router: `tag:bifrost-router-${slug}` };
}

/** The tag of one book of one customer. */
export const bookTagOf = (customerId: string, bookDeploymentId: string, digest: Digest): string =>
  `tag:bifrost-book-${slugOf(bookDeploymentId, JSON.stringify([customerId, bookDeploymentId]), digest)}`;
