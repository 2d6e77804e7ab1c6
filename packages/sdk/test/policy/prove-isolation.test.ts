import fc from 'fast-check';
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { compilePolicy } from '../../src/domain/policy/compile-policy.ts';
import { type JudgedPacket, judgePacket, readPolicy } from '../../src/domain/policy/judge-policy.ts';
import { mergePolicy } from '../../src/domain/policy/policy-document.ts';
import { type ProvenCustomer, proveIsolation } from '../../src/domain/policy/prove-isolation.ts';
import { ADDRESSES, type Customer, customerOf, isIn, isOurs, world } from './worlds.ts';

const compiled = (customers: readonly Customer[]): string =>
  mergePolicy('{}', compilePolicy({ members: customers.map(({ member }) => member), shared: true }), isOurs);

const provenOf = ({ id, member, book, router }: Customer): ProvenCustomer => ({
  customerId: id,
  tags: [...book.tags, ...router.tags],
  addresses: [...book.addresses, ...router.addresses],
  networks: [...member.config.allowedNetworks, ...router.routes],
});
const prove = (text: string, customers: readonly Customer[]) => proveIsolation(text, customers.map(provenOf));

/** Every packet from one customer's device to another's, or to what lies behind it, that the policy lets pass. */
function* leaks(text: string, customers: readonly Customer[]): Generator<readonly [Customer, Customer, JudgedPacket]> {
  const policy = readPolicy(text);
  if (policy === undefined) throw new Error('not a policy');
  for (const from of customers) {
    for (const to of customers) {
      if (from === to) continue;
      for (const sender of [from.book, from.router]) {
        for (const target of [to.book, to.router]) {
          for (const address of [
            ...target.addresses,
            ...(target === to.router ? ADDRESSES.filter((one) => target.routes.some((route) => isIn(one, route))) : []),
          ]) {
            const packet = { from: sender, to: target, address, port: 443, protocol: 'tcp' } as const;
            if (judgePacket(policy, packet).verdict === 'allowed') yield [from, to, packet];
          }
        }
      }
    }
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
      ip: fc.constantFrom(['*'], ['tcp:443'], ['400-500']),
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

  it('finds whatever lets one packet through, and names its rule', () => {
    fc.assert(
      fc.property(
        two.chain((customers) => fc.tuple(fc.constant(customers), fc.array(rule(customers), { minLength: 1, maxLength: 3 }))),
        ([customers, grants]) => {
          const text = JSON.stringify({ grants, hosts: { corp: '10.0.0.4' } });
          const found = prove(text, customers);
          const policy = readPolicy(text);
          if (policy === undefined) throw new Error('not a policy');
          for (const [, , packet] of leaks(text, customers)) {
            const { by } = judgePacket(policy, packet);
            expect(found.map((finding) => finding.by)).toContain(by);
          }
        },
      ),
      { seed: 6, numRuns: 600 },
    );
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
          const pairs = new Set([...leaks(text, customers)].map(([from, to]) => `${from.id}>${to.id}`));
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
  const foreign = (of: readonly string[]): string =>
    customers.flatMap(({ member }) => [...member.sourceTags, member.routerTag]).find((tag) => !of.includes(tag)) ?? '';

  const mutations = policy.grants.flatMap((grant, index): [string, number, object][] => [
    ...(grant.via === undefined ? [] : [[`grant ${index} without via`, index, { via: undefined }] as [string, number, object]]),
    ...(grant.via === undefined
      ? []
      : [
          [
            `grant ${index} by way of another’s router`,
            index,
            { via: [customers.find(({ member }) => member.routerTag !== grant.via?.[0])?.member.routerTag] },
          ] as [string, number, object],
        ]),
    [`grant ${index} for everybody`, index, { src: ['*'] }],
    ...(grant.via === undefined
      ? [[`grant ${index} to another`, index, { dst: [...grant.dst, foreign([...grant.src, ...grant.dst])] }] as [string, number, object]]
      : []),
    ...(grant.via === undefined ? [[`grant ${index} to everything`, index, { dst: ['*'] }] as [string, number, object]] : []),
    [`grant ${index} from another too`, index, { src: [...grant.src, foreign([...grant.src, ...grant.dst, ...(grant.via ?? [])])] }],
  ]);

  it('there is much to change', () => expect(mutations.length).toBeGreaterThan(20));

  it.each(mutations)('%s: the proof fails, and names it', (_, index, change) => {
    const grants = policy.grants.map((grant, at) => (at === index ? { ...grant, ...change } : grant));
    const found = prove(JSON.stringify({ ...policy, grants }), customers);
    expect(new Set(found.map(({ by }) => by))).toEqual(new Set([`grants.${index}`]));
  });

  it('holds when nothing is', () => expect(prove(JSON.stringify(policy), customers)).toEqual([]));
});
