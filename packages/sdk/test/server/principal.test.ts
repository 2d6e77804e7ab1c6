import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grantsOf, grantsOfClaim } from '../../src/server/auth/grants.ts';
import { callerOf, customersOf, hasEverywhere, isEntitled, type Principal, type Role, roleFor } from '../../src/server/auth/principal.ts';

const ROLES: readonly Role[] = ['viewer', 'operator', 'admin'];
const CUSTOMERS = ['a', 'b', 'c'];
const principalOf = (...roles: readonly string[]): Principal => ({ subject: 'ada', via: 'jwt', grants: grantsOf(roles) });
const someRoles = fc.array(
  fc.tuple(fc.constantFrom(...ROLES), fc.constantFrom(...CUSTOMERS, '*')).map(([role, customer]) => `${role}:${customer}`),
  { maxLength: 6 },
);

describe('a principal', () => {
  it('has the largest role that any grant gives it', () => {
    const principal = principalOf('viewer:*', 'operator:a', 'admin:b', 'viewer:a');
    expect(CUSTOMERS.map((customer) => roleFor(principal, customer))).toEqual(['operator', 'admin', 'viewer']);
    expect(customersOf(principal, 'viewer')).toBe('*');
    expect(customersOf(principal, 'operator')).toEqual(new Set(['a', 'b']));
    expect(hasEverywhere(principal, 'viewer')).toBe(true);
    expect(hasEverywhere(principal, 'operator')).toBe(false);
    expect(roleFor(principalOf(), 'a')).toBeUndefined();
    expect(customersOf(principalOf(), 'viewer')).toEqual(new Set());
  });

  it('answers alike by every function, whatever it was granted', () => {
    const agrees = fc.property(someRoles, (roles) => {
      const principal = principalOf(...roles);
      for (const [rank, role] of ROLES.entries()) {
        const customers = customersOf(principal, role);
        for (const customer of [...CUSTOMERS, 'unnamed']) {
          const plainly = roles.some(
            (text) => ROLES.indexOf(text.split(':')[0] as Role) >= rank && ['*', customer].includes(text.split(':')[1] ?? ''),
          );
          const held = roleFor(principal, customer);
          expect(isEntitled(principal, role, customer)).toBe(plainly);
          expect(held !== undefined && ROLES.indexOf(held) >= rank).toBe(plainly);
          expect(customers === '*' || customers.has(customer)).toBe(plainly);
        }
        expect(hasEverywhere(principal, role)).toBe(customers === '*');
      }
    });
    expect(fc.check(agrees, { seed: 7, numRuns: 300 }).failed).toBe(false);
  });

  it('of one kind of credential is nobody of another kind', () => {
    expect(callerOf({ via: 'jwt', subject: 'ada' })).not.toBe(callerOf({ via: 'api-key', subject: 'ada' }));
  });
});

describe('the claim with the roles', () => {
  it('is a list of texts', () => {
    expect(grantsOfClaim(['operator:customer-123', 'viewer:*', 'operator:b'])).toEqual([
      { role: 'operator', customers: ['customer-123', 'b'] },
      { role: 'viewer', customers: '*' },
    ]);
  });

  it.each([
    ['no claim', undefined],
    ['one text', 'admin:*'],
    ['an object', { role: 'admin', customers: '*' }],
    ['a list of objects', [{ role: 'admin', customers: '*' }]],
    ['an unknown role', ['owner:*']],
    ['one that cannot be read among others', ['viewer:*', 'admin']],
    ['another case', ['Admin:*']],
    ['spaces', [' admin:*']],
    ['a line break', ['admin:*\n']],
    ['a wildcard within', ['admin:customer-*']],
    ['two customers', ['admin:a,b']],
    ['no customer', ['admin:']],
    ['a list in a list', [['admin:*']]],
    ['too many', Array.from({ length: 1_001 }, (_, index) => `viewer:c${index}`)],
    ['an array of another make', { 0: 'admin:*', length: 1 }],
  ])('%s grants nothing', (_name, claim) => {
    expect(grantsOfClaim(claim)).toEqual([]);
  });

  it('never grants what no text says', () => {
    const honest = fc.property(fc.anything(), (claim) => {
      for (const { role, customers } of grantsOfClaim(claim)) {
        for (const customer of customers === '*' ? ['*'] : customers) expect(claim).toContain(`${role}:${customer}`);
      }
    });
    expect(fc.check(honest, { seed: 7, numRuns: 500 }).failed).toBe(false);
  });
});
