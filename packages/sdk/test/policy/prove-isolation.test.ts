import fc from 'fast-check';
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { compilePolicy } from '../../src/domain/policy/compile-policy.ts';
import { judgePacket, readPolicy } from '../../src/domain/policy/judge-policy.ts';
import { mergePolicy } from '../../src/domain/policy/policy-document.ts';
import { type ProvenCustomer, proveIsolation } from '../../src/domain/policy/prove-isolation.ts';
import { type NaivePacket, naively } from './naive.ts';
import { ADDRESSES, type Customer, customerOf, isIn, isOurs, world } from './worlds.ts';

const compiled = (customers: readonly Customer[]): string =>
  mergePolicy('{}', compilePolicy({ members: customers.map(({ member }) => member), shared: true }), isOurs);

const provenOf = ({ id, member, book, router }: Customer): ProvenCustomer => ({
  customerId: id,
  tags: [...book.tags, ...router.tags],
  addresses: [...book.addresses, ...router.addresses],
  networks: [...member.config.allowedNetworks, ...router.routes, ...book.routes],
});
const prove = (text: string, customers: readonly Customer[]) => proveIsolation(text, customers.map(provenOf));

/** Of what a packet asks for besides its address. */
const ASKED = [
  { port: 443, protocol: 'tcp' },
  { port: 22, protocol: 'tcp' },
  { port: 450, protocol: 'udp' },
  { port: 0, protocol: 'icmp' },
] as const;

/** Addresses of a device, and what lies behind it. */
const addressesAt = ({ addresses, routes }: Customer['book']): readonly string[] => [
  ...addresses,
  ...ADDRESSES.filter((address) => routes.some((route) => isIn(address, route))),
];

/** Every packet from one customer's device to another's, or to what lies behind it. */
function* foreignPackets(customers: readonly Customer[]): Generator<readonly [Customer, Customer, NaivePacket]> {
  for (const from of customers)
    for (const to of customers)
      for (const sender of from === to ? [] : [from.book, from.router])
        for (const target of [to.book, to.router])
          for (const address of addressesAt(target)) for (const asked of ASKED) yield [from, to, { from: sender, to: target, address, ...asked }];
}

/** Those that pass, by a reading of the policy that the product has no part in, with the grants that let them. */
function* leaks(
  text: string,
  customers: readonly Customer[],
): Generator<{ readonly from: Customer; readonly to: Customer; readonly packet: NaivePacket; readonly by: readonly string[] }> {
  const letting = naively(text);
  for (const [from, to, packet] of foreignPackets(customers)) {
    const by = letting(packet);
    if (by.length > 0) yield { from, to, packet, by };
  }
}

const two: fc.Arbitrary<readonly Customer[]> = world.filter((customers) => customers.length > 1);

/** Rules of anybody's: of tags, networks, addresses, everything. */
const rule = (customers: readonly Customer[]): fc.Arbitrary<object> => {
  const tags = customers.flatMap(({ book, router }) => [...book.tags, ...router.tags]);
  const selector = fc.constantFrom(
    '*',
    'autogroup:tagged',
    'autogroup:member',
    'group:dev',
    'tag:nobodys',
    '10.0.0.0/29',
    '10.0.0.12',
    '100.64.1.1',
    '100.64.0.0/10',
    'fd00::/125',
    'corp',
    ...tags,
  );
  const selectors = fc.array(selector, { minLength: 1, maxLength: 2 });
  return fc.record(
    {
      src: selectors,
      dst: selectors,
      ip: fc.constantFrom(['*'], ['tcp:443'], ['400-500'], ['22', 'udp:450'], ['icmp:*'], ['tcp:1-21', '444']),
      via: fc.array(fc.constantFrom(...tags), { maxLength: 1 }),
    },
    { requiredKeys: ['src', 'dst', 'ip'] },
  );
};

describe('the proof', () => {
  it('holds for what is compiled, whatever the intents', () => {
    fc.assert(
      fc.property(two, (customers) => {
        expect(prove(compiled(customers), customers)).toEqual([]);
        expect([...leaks(compiled(customers), customers)]).toEqual([]);
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  it('finds whatever lets one packet through, and names each rule that does', () => {
    let count = 0;
    fc.assert(
      fc.property(
        two.chain((customers) => fc.tuple(fc.constant(customers), fc.array(rule(customers), { minLength: 1, maxLength: 3 }))),
        ([customers, grants]) => {
          const text = JSON.stringify({ grants, hosts: { corp: '10.0.0.4' }, groups: { 'group:dev': ['dev@example.com'] } });
          const found = new Set(prove(text, customers).map(({ by }) => by));
          const policy = readPolicy(text);
          if (policy === undefined) throw new Error('not a policy');
          for (const { packet, by } of leaks(text, customers)) {
            for (const grant of by) expect(found).toContain(grant);
            expect(judgePacket(policy, packet).verdict).toBe('allowed');
            count += 1;
          }
        },
      ),
      { seed: 6, numRuns: 600 },
    );
    expect(count).toBeGreaterThan(1_000);
  });

  it('finds nothing where no packet passes, when each rule’s meaning is known and every network has its router', () => {
    const known = two
      .map((customers) => customers.filter(({ member }) => member.config.allowedNetworks.length > 0))
      .filter(({ length }) => length > 1);
    const byTag = (customers: readonly Customer[]) => {
      const tags = customers.flatMap(({ book, router }) => [...book.tags.slice(1), ...router.tags]);
      const some = fc.array(fc.constantFrom(...tags), { minLength: 1, maxLength: 2 });
      return fc.record({ src: some, dst: some, ip: fc.constant(['*']) });
    };
    fc.assert(
      fc.property(
        known.chain((customers) => fc.tuple(fc.constant(customers), fc.array(byTag(customers), { maxLength: 3 }))),
        ([customers, grants]) => {
          const text = JSON.stringify({ grants });
          const pairs = new Set([...leaks(text, customers)].map(({ from, to }) => `${from.id}>${to.id}`));
          for (const { from, to } of prove(text, customers)) expect([...pairs]).toContain(`${from}>${to}`);
        },
      ),
      { seed: 6, numRuns: 300 },
    );
  });

  it.each([
    ['no policy at all', '{}', 'default'],
    ['the policy of a new tailnet', '{ "acls": [{ "action": "accept", "src": ["*"], "dst": ["*:*"] }] }', 'acls.0'],
    ['what cannot be read', '{ "grants": [', 'policy'],
    ['a selector that nobody knows here', '{ "grants": [{ "src": ["svc:x"], "dst": ["*"], "ip": ["*"] }] }', 'grants.0'],
    ['the tag that all books have', '{ "grants": [{ "src": ["tag:bifrost-book"], "dst": ["tag:bifrost-book"], "ip": ["443"] }] }', 'grants.0'],
    ['members in another case', '{ "Grants": [{ "SRC": ["*"], "Dst": ["*"], "IP": ["*"] }] }', 'grants.0'],
    ['an alias', '{ "hosts": { "other": "100.64.1.1" }, "grants": [{ "src": ["*"], "dst": ["other"], "ip": ["*"] }] }', 'grants.0'],
    [
      'a set of addresses',
      '{ "ipsets": { "ipset:a": ["add 100.64.1.0/24"] }, "grants": [{ "src": ["*"], "dst": ["ipset:a"], "ip": ["*"] }] }',
      'grants.0',
    ],
    ['a port in an acl', '{ "acls": [{ "action": "accept", "proto": "udp", "src": ["100.64.0.1"], "dst": ["100.64.1.1:53"] }] }', 'acls.0'],
  ])('does not hold with %s', (_, text, by) => {
    const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
    const customers = [customerOf('a', config, 0), customerOf('b', config, 1)];
    expect(prove(text, customers)).toContainEqual(expect.objectContaining({ by }));
  });
});

describe('a compiled policy in which one thing is changed', () => {
  const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: [], accessPolicy: 'standard', enableLogging: false } as const;
  const customers = [customerOf('a', config, 0), customerOf('b', config, 1), customerOf('c', config, 2)];
  const policy = parse(compiled(customers)) as { grants: { src: string[]; dst: string[]; ip: string[]; via?: string[] }[] };
  const tagsOf = ({ book, router }: Customer): readonly string[] => [...book.tags.slice(1), ...router.tags];

  const mutations = policy.grants.flatMap(({ src, dst, via }, index): [string, number, object][] => {
    const owner = customers.find((customer) => tagsOf(customer).some((tag) => src.includes(tag))) as Customer;
    const other = customers.find((customer) => customer !== owner) as Customer;
    const way = via?.includes(owner.member.routerTag) ? other.member.routerTag : other.book.tags.at(-1);
    const changes: Readonly<Record<string, object>> = {
      'for everybody': { src: ['*'] },
      'from another too': { src: [...src, other.member.routerTag] },
      'from another’s book too': { src: [...src, ...other.member.sourceTags] },
      'of all ports': { ip: ['*'] },
      'of another protocol too': { ip: ['udp:*', 'tcp:1-65535'] },
      ...(via === undefined
        ? { 'to another': { dst: [...dst, other.member.routerTag] }, 'to another’s book': { dst: [...dst, ...other.member.sourceTags] } }
        : { 'without via': { via: undefined }, 'by way of another’s': { via: [way] }, 'by way of another’s too': { via: [...via, way] } }),
      ...(via === undefined ? { 'to everything': { dst: ['*'] } } : {}),
    };
    return Object.entries(changes).map(([what, change]) => [`grant ${index} ${what}`, index, change]);
  });
  const mutated = (index: number, change: object): string =>
    JSON.stringify({ ...policy, grants: policy.grants.map((grant, at) => (at === index ? { ...grant, ...change } : grant)) });
  const named = (text: string): readonly string[] => [...new Set(prove(text, customers).map(({ by }) => by))];
  const leaking = (text: string): readonly string[] => [...new Set([...leaks(text, customers)].flatMap(({ by }) => by))];

  it('there is much to change', () => expect(mutations.length).toBeGreaterThan(50));

  // More ports lead to nobody else: who may be reached at all, and by way of whom, is what keeps customers apart.
  it.each(mutations)('%s: the proof says what a packet finds, and names it', (_, index, change) => {
    const text = mutated(index, change);
    expect(leaking(text)).toEqual('ip' in change ? [] : [`grants.${index}`]);
    expect(named(text)).toEqual(leaking(text));
  });

  it('holds when nothing is', () => expect(prove(JSON.stringify(policy), customers)).toEqual([]));
});
