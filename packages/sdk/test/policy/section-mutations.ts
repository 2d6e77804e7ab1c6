// Every flip of who owns tags, whose routes are approved and who gets a shell, with what must be found of it.
import type { ProofFinding } from '@bifrost/types/core';
import { parse } from 'jsonc-parser';
import { changed, type Read } from './evidence.ts';
import type { Mutation } from './policy-mutations.ts';
import { type Customer, isIn } from './worlds.ts';

export const NOBODYS = 'tag:bifrost-router-gone-0123456789abcdef';
const NEEDED = 'tag:bifrost-book';

interface Shell {
  readonly src: readonly string[];
  readonly dst: readonly string[];
}
interface Sections {
  readonly tagOwners: Readonly<Record<string, unknown>>;
  readonly autoApprovers: { readonly routes: Readonly<Record<string, readonly string[]>> };
  readonly ssh: readonly Shell[];
}
type Flip = (what: string, edited: Partial<Sections>, names: Partial<ProofFinding> | undefined) => Mutation;

interface Place {
  readonly sections: Sections;
  readonly flip: Flip;
  readonly customer: Customer;
  readonly other: Customer;
  readonly customers: readonly Customer[];
  readonly isShared: boolean;
}

/** Whether an intent has one network with all of another in it. */
const hasAll = (allowed: readonly string[], network: string): boolean => {
  const [base = '', bits] = network.split('/');
  return allowed.some((range) => Number(range.split('/')[1]) <= Number(bits) && isIn(base, range));
};
const meet = (one: string, other: string): boolean => hasAll([one], other) || hasAll([other], one);

function ownerMutations({ sections: { tagOwners }, flip, customer, other, isShared }: Place): readonly Mutation[] {
  const owned = (what: string, tag: string, owners: unknown, names: Partial<ProofFinding> | undefined): Mutation =>
    flip(`${what} of ${tag}`, { tagOwners: { ...tagOwners, [tag]: owners } }, names && { kind: 'foreign-owner', by: `tagOwners.${tag}`, ...names });
  const [{ routerTag: theirs }, { id: customerId }, { id: otherCustomerId }] = [other.member, customer, other];
  const foreign: readonly (readonly [string, unknown])[] = [
    ['another’s router as owner', [NEEDED, theirs]],
    ['people as owners', ['group:dev']],
    ['every member as owner', ['autogroup:member']],
    ['owners that are no list', theirs],
    ['the platform’s machine as owner', ['tag:ops']],
  ];
  const own = [...customer.book.tags.slice(1), ...customer.router.tags];
  if (!isShared)
    return [
      ...own.flatMap((tag) => foreign.map(([what, owners]) => owned(what, tag, owners, undefined))),
      ...foreign.map(([what, owners]) => owned(what, theirs, owners, { customerId, otherCustomerId })),
      owned('what all books here carry as owner', theirs, [NEEDED], { customerId, otherCustomerId }),
      ...foreign.map(([what, owners]) => owned(what, NOBODYS, owners, { customerId })),
      ...[[], ['autogroup:admin']].map((owners) => owned('only who writes the policy as owner', theirs, owners, undefined)),
      owned('people as owners', NEEDED, ['group:dev'], undefined),
    ];
  const byOthers = { ...tagOwners, [NEEDED]: ['tag:ops'], 'tag:ops': ['tag:machines'], 'tag:machines': ['tag:ops', theirs] };
  return [
    ...own.flatMap((tag) => foreign.map(([what, owners]) => owned(what, tag, owners, { customerId }))),
    ...own.map((tag) => owned('the administrators as owners besides', tag, [NEEDED, 'autogroup:admin'], undefined)),
    owned('a customer’s router as owner', NEEDED, [theirs], { customerId: otherCustomerId }),
    flip(
      'a customer’s router as owner of owners',
      { tagOwners: byOthers },
      {
        ...{ kind: 'foreign-owner', by: 'tagOwners.tag:machines', customerId: otherCustomerId },
      },
    ),
    owned('the platform’s people as owners', NEEDED, ['group:ops', 'tag:ops'], undefined),
  ];
}

function approverMutations({ sections: { autoApprovers }, flip, customer, other, customers, isShared }: Place): readonly Mutation[] {
  const allowed = (each: Customer): readonly string[] => each.member.config.allowedNetworks;
  const approved = (what: string, route: string, who: readonly string[], isFound: boolean): Mutation => {
    const routes = { ...autoApprovers.routes, [route]: [...(autoApprovers.routes[route] ?? []), ...who] };
    const names = isFound ? ({ kind: 'foreign-approver', by: `autoApprovers.routes.${route}` } as const) : undefined;
    return flip(`${what} of ${route}`, { autoApprovers: { routes } }, names);
  };
  const others = customers.filter((each) => each !== customer);
  const wide = '10.0.0.0/27';
  return [
    ...allowed(customer).flatMap((route): readonly Mutation[] => [
      approved('another’s router as approver', route, [other.member.routerTag], !isShared || !hasAll(allowed(other), route)),
      approved('another’s book as approver', route, other.book.tags.slice(1), !isShared || !hasAll(allowed(other), route)),
      approved('everything as approver', route, ['*'], isShared && others.some((each) => !hasAll(allowed(each), route))),
      approved('people as approvers', route, ['group:dev'], false),
      approved('the platform’s machine as approver', route, ['tag:ops'], false),
      approved('nobody’s router as approver', route, [NOBODYS], !isShared), // in a shared one it may be somebody’s who has just come
    ]),
    approved(
      'the own router as approver',
      wide,
      [customer.member.routerTag],
      isShared && !hasAll(allowed(customer), wide) && others.some((each) => allowed(each).some((network) => meet(network, wide))),
    ),
  ];
}

function shellMutations({ sections: { ssh }, flip, customer, other, isShared }: Place): readonly Mutation[] {
  const { member, book, id: customerId } = customer;
  const dst = [String(book.tags.at(-1))];
  const from = (what: string, rule: Partial<Shell>, names: Partial<ProofFinding> | undefined): readonly Mutation[] => [
    flip(
      what,
      { ssh: [...ssh, { ...{ action: 'accept', src: [member.routerTag], dst, users: ['root'] }, ...rule }] },
      names && {
        ...{ kind: 'foreign-shell', by: `ssh.${ssh.length}` },
        ...names,
      },
    ),
    ...ssh.flatMap((each, index) =>
      each.dst.includes(dst[0] ?? '')
        ? [
            flip(
              `${what}, in rule ${index}`,
              {
                ssh: ssh.map((one, at) =>
                  at === index ? { ...one, src: [...one.src, ...(rule.src ?? [])], dst: [...one.dst, ...(rule.dst ?? [])] } : one,
                ),
              },
              names && { kind: 'foreign-shell', by: `ssh.${index}`, ...names },
            ),
          ]
        : [],
    ),
  ];
  const there = isShared ? { customerId: other.id, otherCustomerId: customerId } : { customerId, otherCustomerId: other.id };
  return [
    ...from('a shell for another’s router', { src: [other.member.routerTag] }, there),
    ...from('a shell for another’s books', { src: other.member.sourceTags }, there),
    ...from('a shell for nobody’s router', { src: [NOBODYS] }, { customerId }),
    ...from('a shell for all machines', { src: ['autogroup:tagged'] }, isShared ? {} : undefined),
    ...from('a shell for everything', { src: ['*'] }, isShared ? {} : undefined),
    ...from('a shell for an address', { src: [other.book.addresses[0] ?? ''] }, isShared ? there : undefined),
    ...from('a shell at another’s book', { dst: other.book.tags.slice(-1) }, isShared ? { customerId, otherCustomerId: other.id } : undefined),
    ...from('a shell everywhere', { dst: ['autogroup:tagged'] }, isShared ? { customerId } : undefined),
    ...from('a shell for people', { src: ['autogroup:member', 'group:dev', 'ops@example.com'] }, undefined),
    ...from('a shell for the platform’s machine', { src: ['tag:ops'] }, undefined),
  ];
}

export function sectionMutations(read: Read, customers: readonly Customer[], isShared: boolean): readonly Mutation[] {
  return customers.flatMap((customer, index) => {
    const key = isShared ? '(shared)' : customer.id;
    const text = read.policy?.[key] ?? '{}';
    const policy = parse(text) as Partial<Sections>;
    const sections: Sections = { tagOwners: {}, autoApprovers: { routes: {} }, ssh: [], ...policy };
    const where = { layer: 'tailnet-policy', where: `policy ${key}` } as const;
    const groups = { 'group:dev': ['dev@example.com'] };
    const flip: Flip = (what, edited, names) => ({
      what: `${what}, of ${customer.id}`,
      read: changed(read, ['policy', key], () => JSON.stringify({ ...policy, groups, ...edited })),
      names: names && { ...where, ...names },
    });
    const other = customers[(index + 1) % customers.length] as Customer;
    const place = { sections, flip, customer, other, customers, isShared };
    return [...ownerMutations(place), ...approverMutations(place), ...shellMutations(place)];
  });
}
