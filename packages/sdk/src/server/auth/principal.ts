/** What a caller may do, from the least to the most; each includes those before it. */
export type Role = 'viewer' | 'operator' | 'admin';

/** One role, for these customers or for all of them (`'*'`). */
export interface RoleGrant {
  readonly role: Role;
  readonly customers: '*' | readonly string[];
}

/** A caller whom an authenticator knows. Holds nothing secret: it may be logged. */
export interface Principal {
  /** Who it is, in the words of whoever vouches for it. Unique together with `via`: see `callerOf`. */
  readonly subject: string;
  /** What was shown. `local`: nothing; a command that has the manager in its own process. */
  readonly via: 'jwt' | 'mtls' | 'api-key' | 'service-account' | 'local';
  /** Empty for a caller who is known and may do nothing. */
  readonly grants: readonly RoleGrant[];
}

const RANK: Readonly<Record<Role, number>> = { viewer: 1, operator: 2, admin: 3 };

/** Whether `held` includes `needed`. */
export const includesRole = (held: Role, needed: Role): boolean => RANK[held] >= RANK[needed];

const covers = ({ customers }: RoleGrant, customerId: string): boolean => customers === '*' || customers.includes(customerId);

/** The name under which limits, idempotency keys and the record of calls keep a caller. Two kinds of credentials never share one. */
export const callerOf = ({ via, subject }: Pick<Principal, 'via' | 'subject'>): string => `${via}:${subject}`;

/** The largest role that the caller has for this customer; undefined when it has none. */
export function roleFor({ grants }: Principal, customerId: string): Role | undefined {
  let largest: Role | undefined;
  for (const grant of grants) {
    if (covers(grant, customerId) && (largest === undefined || includesRole(grant.role, largest))) largest = grant.role;
  }
  return largest;
}

/** Whether the caller has at least this role for this customer. */
export const isEntitled = ({ grants }: Principal, role: Role, customerId: string): boolean =>
  grants.some((grant) => includesRole(grant.role, role) && covers(grant, customerId));

/** The customers for whom the caller has at least this role: what a list may show. `'*'` is all of them, also those to come. */
export function customersOf({ grants }: Principal, role: Role): '*' | ReadonlySet<string> {
  const named = new Set<string>();
  for (const grant of grants) {
    if (!includesRole(grant.role, role)) continue;
    if (grant.customers === '*') return '*';
    for (const customerId of grant.customers) named.add(customerId);
  }
  return named;
}

/** Whether the caller has at least this role for every customer, those to come included: what concerns the whole installation asks for it. */
export const hasEverywhere = (principal: Principal, role: Role): boolean => customersOf(principal, role) === '*';
