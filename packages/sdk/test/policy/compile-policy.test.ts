import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePolicy, type PolicyInput } from '../../src/domain/policy/compile-policy.ts';
import { bookTagOf, customerTagsOf, isIdentityTag } from '../../src/domain/policy/identity-tags.ts';
import { type JudgedPolicy, judgePacket, readPolicy } from '../../src/domain/policy/judge-policy.ts';
import { mergePolicy } from '../../src/domain/policy/policy-document.ts';
import { ADDRESSES, type Customer, customerOf, digest, isOurs, isWanted, world } from './worlds.ts';

const textOf = (input: PolicyInput): string => mergePolicy('{}', compilePolicy(input), isOurs);
const membersOf = (customers: readonly Customer[]) => customers.map(({ member }) => member);

/** The policy of a tailnet that they share, as it is read back. */
function sharedBy(customers: readonly Customer[]): JudgedPolicy {
  const policy = readPolicy(textOf({ members: membersOf(customers), shared: true }));
  if (policy === undefined) throw new Error('not a policy');
  return policy;
}

describe('a compiled policy, read back', () => {
  it('lets a book reach what its customer’s intent says, packet by packet, and nothing else', () => {
    fc.assert(
      fc.property(world, (customers) => {
        const policy = sharedBy(customers);
        for (const from of customers) {
          for (const to of customers) {
            for (const address of ADDRESSES) {
              const packet = { from: from.book, to: to.router, address, port: 443, protocol: 'tcp' } as const;
              const isRight = from === to && isWanted(from.member.config, address);
              expect([from.id, to.id, address, judgePacket(policy, packet).verdict]).toEqual([
                from.id,
                to.id,
                address,
                isRight ? 'allowed' : 'denied',
              ]);
            }
          }
        }
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  it('lets devices of a customer reach each other where the access policy says so, and never another’s', () => {
    fc.assert(
      fc.property(world, (customers) => {
        const policy = sharedBy(customers);
        for (const from of customers) {
          for (const to of customers) {
            const { accessPolicy, blockedNetworks } = from.member.config;
            const isRight = from === to && accessPolicy !== 'restrictive';
            // Of IPv6 nothing is blocked here, so that blocking all of 100.64.0.0/10 leaves devices granted: the guard holds that.
            expect(blockedNetworks).not.toContain('fd7a:115c:a1e0::/48');
            for (const target of [to.book, to.router]) {
              for (const address of target.addresses) {
                const { verdict } = judgePacket(policy, { from: from.book, to: target, address, port: 22, protocol: 'udp' });
                expect(verdict).toBe(isRight ? 'allowed' : 'denied');
              }
            }
          }
        }
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  it('is the same, whatever the order of members and networks', () => {
    fc.assert(
      fc.property(world, (customers) => {
        const members = membersOf(customers);
        const turned = members
          .map((member) => ({
            ...member,
            config: {
              ...member.config,
              allowedNetworks: [...member.config.allowedNetworks].reverse(),
              blockedNetworks: [...member.config.blockedNetworks].reverse(),
            },
          }))
          .reverse();
        const { tests: _, ...sections } = compilePolicy({ members, shared: true });
        const { tests: __, ...again } = compilePolicy({ members: turned, shared: true });
        expect(JSON.stringify(again)).toBe(JSON.stringify(sections));
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  it('meets its own tests', () => {
    fc.assert(
      fc.property(world, (customers) => {
        const input = { members: membersOf(customers), shared: true };
        const policy = sharedBy(customers);
        for (const { src, accept = [], deny = [] } of compilePolicy(input).tests) {
          const from = customers.find(({ member }) => member.sourceTags[0] === src);
          if (from === undefined) throw new Error('a test of nobody');
          const verdictTo = (target: string): string => {
            const host = target.slice(0, target.lastIndexOf(':')).replace(/^\[|\]$/g, '');
            const named = customers.flatMap(({ book, router }) => [book, router]).filter(({ tags }) => tags.includes(host));
            const packets = named.length === 0 ? [{ to: from.router, address: host }] : named.map((to) => ({ to, address: to.addresses[0] ?? '' }));
            return packets.map((packet) => judgePacket(policy, { from: from.book, port: 443, protocol: 'tcp', ...packet }).verdict).join();
          };
          for (const target of accept) expect([target, verdictTo(target)]).toEqual([target, 'allowed']);
          for (const target of deny) expect([target, verdictTo(target)]).toEqual([target, expect.not.stringContaining('allowed')]);
        }
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  it('opens a customer’s routers to its books for pings alone: only what a device can reach carries it to a network', () => {
    const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
    const [acme, globex] = [customerOf('acme', config, 0), customerOf('globex', config, 1)];
    const policy = sharedBy([acme, globex]);
    const verdict = (to: typeof acme.router, protocol: 'icmp' | 'tcp'): string =>
      judgePacket(policy, { from: acme.book, to, address: to.addresses[0] ?? '', port: 443, protocol }).verdict;
    expect([verdict(acme.router, 'icmp'), verdict(acme.router, 'tcp'), verdict(globex.router, 'icmp')]).toEqual(['allowed', 'denied', 'denied']);
    const alone = compilePolicy({ members: [acme.member], shared: false });
    expect(alone.grants.flatMap(({ ip }) => ip)).not.toContain('icmp:*');
  });

  it('has tests of what is denied alone where several customers are: a server may not count ways by routers', () => {
    const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: ['10.0.0.8/32'], accessPolicy: 'restrictive', enableLogging: false } as const;
    const members = membersOf([customerOf('acme', config, 0), customerOf('globex', config, 1)]);
    const tested = (shared: boolean) => compilePolicy({ members, shared }).tests.map(({ accept, deny }) => [accept !== undefined, deny?.[0]]);
    expect(tested(true)).toEqual([
      [false, '10.0.0.8:443'],
      [false, '10.0.0.8:443'],
    ]);
    expect(tested(false)).toEqual([
      [true, '10.0.0.8:443'],
      [true, '10.0.0.8:443'],
    ]);
  });

  it('has at most 16 tests of each kind for each member', () => {
    const ranges = (second: number): readonly string[] => Array.from({ length: 40 }, (_, index) => `10.${second}.${index * 2}.0/24`);
    const config = { allowedNetworks: ranges(1), blockedNetworks: ranges(2), accessPolicy: 'restrictive', enableLogging: false } as const;
    const { tests } = compilePolicy({ members: [customerOf('acme', config, 0).member], shared: false });
    expect(tests.map(({ accept = [], deny = [] }) => [accept.length, deny.length])).toEqual([[16, 16]]);
  });

  it('names who may make devices of our tags, and defines those owners, whom somebody else may own', () => {
    const { member } = customerOf('acme', { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false }, 0);
    const { tagOwners } = compilePolicy({ members: [member], shared: true, ownerTags: ['tag:client'] });
    expect(tagOwners).toMatchObject({ [member.routerTag]: ['tag:client'], 'tag:client': [] });
  });

  it('says grants even when there are none: without them a tailnet allows everything', () => {
    expect(readPolicy(textOf({ members: [], shared: false }))).toEqual({ openToAll: false, rules: [] });
  });
});

describe('what a book asks for', () => {
  const config = { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
  const { member, book, router } = customerOf('acme', config, 0);
  const [plain] = member.books;
  if (plain === undefined) throw new Error('no book');
  const ask = (change: Partial<typeof plain>) => {
    const members = [{ ...member, books: [{ ...plain, ...change }] }];
    const sections = compilePolicy({ members, shared: true });
    return { sections, policy: readPolicy(mergePolicy('{}', sections, isOurs)) ?? { openToAll: true, rules: [] } };
  };

  it('a shell is for the customer’s routers, on port 22 alone', () => {
    const { sections, policy } = ask({ enableSsh: true });
    expect(sections.ssh).toEqual([{ action: 'accept', src: [member.routerTag], dst: [plain.tag], users: ['autogroup:nonroot', 'root'] }]);
    const to = { to: book, address: '100.64.0.1', protocol: 'tcp' } as const;
    expect(judgePacket(policy, { from: router, ...to, port: 22 }).verdict).toBe('allowed');
    expect(judgePacket(policy, { from: router, ...to, port: 23 }).verdict).toBe('denied');
    expect(judgePacket(ask({ enableSsh: false }).policy, { from: router, ...to, port: 22 }).verdict).toBe('denied');
  });

  it('routes that it offers are for the customer’s routers, by way of this book alone', () => {
    const { policy } = ask({ advertiseRoutes: ['10.7.0.0/24'] });
    const packet = { from: router, address: '10.7.0.9', port: 80, protocol: 'tcp' } as const;
    expect(judgePacket(policy, { ...packet, to: book }).verdict).toBe('allowed');
    expect(judgePacket(policy, { ...packet, to: { ...book, tags: ['tag:bifrost-book'] } }).verdict).toBe('denied');
  });

  it('attributes go to its devices', () => {
    expect(compilePolicy({ members: [member], shared: false, nodeAttributes: ['funnel', 'a'] }).nodeAttrs).toEqual([
      { target: member.sourceTags, attr: ['a', 'funnel'] },
    ]);
  });
});

describe('tags of identities', () => {
  const tailnetName = 'production';

  it('are tags, whatever the ids are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ unit: 'binary', maxLength: 60 }), (customerId, book) => {
        const { customer, router } = customerTagsOf({ customerId, tailnetName }, digest);
        for (const tag of [customer, router, bookTagOf({ customerId, tailnetName }, book, digest)]) {
          expect(tag).toMatch(/^tag:[a-z][a-z0-9-]{0,80}[a-z0-9]$/);
          expect(isIdentityTag(tag)).toBe(true);
        }
      }),
      { seed: 6 },
    );
  });

  it.each([
    ['case', 'Acme', 'acme'],
    ['another alphabet', 'acme', 'аcme'],
    ['what cannot stand in a tag', 'a.b', 'a-b'],
    ['length', `${'a'.repeat(60)}1`, `${'a'.repeat(60)}2`],
    ['nothing but marks', '...', ',,,'],
  ])('are apart where ids differ in %s only', (_, one, other) => {
    const [ofOne, ofOther] = [one, other].map((customerId) => ({ customerId, tailnetName }));
    if (ofOne === undefined || ofOther === undefined) throw new Error('two places');
    expect(customerTagsOf(ofOne, digest).customer).not.toBe(customerTagsOf(ofOther, digest).customer);
    const c = { customerId: 'c', tailnetName };
    expect(bookTagOf(c, one, digest)).not.toBe(bookTagOf(c, other, digest));
    expect(bookTagOf(ofOne, 'b', digest)).not.toBe(bookTagOf(ofOther, 'b', digest));
  });

  it('are apart for two tailnets of one customer: what one grants is not for the books of the other', () => {
    const [one, other] = ['live', 'trial'].map((name) => customerTagsOf({ customerId: 'acme', tailnetName: name }, digest));
    expect(one?.customer).toMatch(/^tag:bifrost-customer-acme-/);
    expect([one?.customer, one?.router]).not.toEqual([other?.customer, other?.router]);
  });

  it.each(['tag:bifrost-book', 'tag:bifrost-router', 'tag:bifrost-book-eu', 'tag:gateway', 'tag:bifrost-customer-acme'])(
    '%s, which somebody has chosen, is none of them',
    (tag) => expect(isIdentityTag(tag)).toBe(false),
  );
});
