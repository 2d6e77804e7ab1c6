import { z } from 'zod';
import type { Role, RoleGrant } from './principal.ts';

/** Enough for the largest token that is read; each request walks through them. */
const MAX_ROLES = 1_000;
const ROLE_TEXT = /^(viewer|operator|admin):(\*|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)$/;

/** A role as it is written: `operator:customer-123`, or `viewer:*` for all customers. */
export const roleText = z.string().regex(ROLE_TEXT, 'must be ROLE:CUSTOMER or ROLE:*, with the role viewer, operator or admin');

/** Roles of one identity, as options say them. */
export const roleTexts = z.array(roleText).max(MAX_ROLES);

/** Who a caller is, as options, tokens and certificates may say it: it goes into logs and headers, so nothing but printable ASCII. */
export const SUBJECT_TEXT = /^[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?$/;

/** The `subject` of an identity in options. */
export const subjectText = z.string().regex(SUBJECT_TEXT, 'must be 1 to 256 printable ASCII characters, with no space at its ends');

/** The grants that these texts stand for, one per role. Texts have been checked. */
export function grantsOf(texts: readonly string[]): readonly RoleGrant[] {
  const byRole = new Map<Role, Set<string>>();
  for (const text of texts) {
    const [, role, customer = ''] = ROLE_TEXT.exec(text) ?? [];
    if (role === undefined) continue;
    const customers = byRole.get(role as Role) ?? new Set<string>();
    byRole.set(role as Role, customers.add(customer));
  }
  return Object.freeze(
    [...byRole].map(([role, customers]) => Object.freeze({ role, customers: customers.has('*') ? ('*' as const) : [...customers] })),
  );
}

/**
 * The grants of a claim. What is not a list of roles as a whole grants nothing at all: an issuer that writes one of them in a way that we cannot read
 * may mean something else by the others too.
 */
export function grantsOfClaim(claim: unknown): readonly RoleGrant[] {
  const isReadable = Array.isArray(claim) && claim.length <= MAX_ROLES && claim.every((text) => typeof text === 'string' && ROLE_TEXT.test(text));
  return isReadable ? grantsOf(claim as readonly string[]) : [];
}
