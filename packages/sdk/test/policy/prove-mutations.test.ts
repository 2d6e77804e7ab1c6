// Whatever single thing is flipped in what was read back — a grant, a rule, a label, a tag, a credential — the proof fails, and names it.
import type { ProofFinding } from '@bifrost/types/core';
import fc from 'fast-check';
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { customerTagsOf } from '../../src/domain/policy/identity-tags.ts';
import { judgeEvidence } from '../../src/domain/policy/judge-evidence.ts';
import { ruleLine, rulesOfLines } from '../../src/domain/policy/judge-guard.ts';
import type { EvidenceKind, EvidenceKinds } from '../../src/domain/policy/proof-evidence.ts';
import { changed, inputsOf, keyOf, type Read, readBack } from './evidence.ts';
import { grantMutations, type Mutation, type Policy } from './policy-mutations.ts';
import { sectionMutations } from './section-mutations.ts';
import { type Customer, configuration, customerOf, digest } from './worlds.ts';

const judged = (read: Read) => judgeEvidence(inputsOf(read), digest);

const intents = fc.array(
  configuration.filter(
    ({ allowedNetworks, blockedNetworks, accessPolicy }) =>
      accessPolicy !== 'permissive' && allowedNetworks.length > 0 && !blockedNetworks.includes('100.64.0.0/10'),
  ),
  { minLength: 2, maxLength: 3 },
);
const customersOf = (configs: readonly Customer['member']['config'][]): readonly Customer[] =>
  configs.map((config, index) => customerOf(`customer-${index}`, config, index));

type Edit<Kind extends EvidenceKind> = (evidence: EvidenceKinds[Kind]) => EvidenceKinds[Kind];

/** Labels, tags, credentials: of each customer, as if they were the next one's. */
function identityMutations(read: Read, customers: readonly Customer[], isShared: boolean): readonly Mutation[] {
  return customers.flatMap((customer, index): readonly Mutation[] => {
    const other = customers[(index + 1) % customers.length] as Customer;
    const [{ id }, key] = [customer, keyOf(customer)];
    const edit = <Kind extends EvidenceKind>(
      what: string,
      place: readonly [Kind, string],
      change: Edit<Kind>,
      names: Partial<ProofFinding>,
    ): Mutation => ({
      ...{ what: `${what} of ${id}`, read: changed(read, place, change), names },
    });
    const tags = customerTagsOf({ customerId: other.id, tailnetName: other.id }, digest);
    const devices = isShared ? '(shared)' : id;
    const tagged = (what: string, deviceId: string, retag: (tags: readonly string[]) => readonly string[], tag: string): Mutation =>
      edit(
        what,
        ['devices', devices],
        (all) => all.map((device) => (device.deviceId === deviceId ? { ...device, tags: retag(device.tags) } : device)),
        {
          ...{ layer: 'identity', kind: 'foreign-tag', by: expect.stringContaining(tag) },
        },
      );
    const apart = (): readonly Mutation[] => [
      edit('credential', ['tailnet', id], (tailnet) => ({ ...tailnet, credentialSecretName: `secret-${other.id}` }), {
        kind: 'shared-credential',
        by: `secret secret-${other.id}`,
      }),
      edit('control plane tailnet', ['tailnet', id], (tailnet) => ({ ...tailnet, controlId: `control-${other.id}` }), {
        kind: 'shared-tailnet',
        by: `control plane tailnet control-${other.id}`,
      }),
      edit('devices', ['devices', id], () => read.devices?.[other.id] ?? [], { kind: 'shared-tailnet', by: `device book-${other.id}` }),
    ];
    return [
      edit('namespace’s label', ['workload', key], (workload) => ({ ...workload, customerId: other.id }), {
        kind: 'foreign-namespace',
        by: `namespace ${id}`,
        customerId: id,
        otherCustomerId: other.id,
      }),
      edit('namespace’s missing label', ['workload', key], ({ customerId: _, ...workload }) => workload, {
        kind: 'foreign-namespace',
        by: `namespace ${id}`,
      }),
      edit('template’s label', ['workload', key], (workload) => ({ ...workload, sidecarId: `sidecar-${other.id}` }), { kind: 'foreign-sidecar' }),
      edit('attachment’s customer', ['sidecar', key], (sidecar) => ({ ...sidecar, customerId: other.id }), { kind: 'foreign-namespace' }),
      edit('tailnet’s customer', ['tailnet', id], (tailnet) => ({ ...tailnet, customerId: other.id }), {
        kind: 'foreign-tailnet',
        by: `sidecar sidecar-${id}`,
      }),
      edit('attachment’s tailnet', ['sidecar', key], (sidecar) => ({ ...sidecar, tailnetName: other.id }), {
        kind: 'foreign-tailnet',
        otherCustomerId: other.id,
      }),
      tagged('another’s tag on the device', `book-${id}`, (own) => [...own, tags.customer], tags.customer),
      tagged('another’s tag in place of the device’s own', `book-${id}`, () => [tags.customer], tags.customer),
      tagged('another’s router tag', `router-${id}`, (own) => [...own, tags.router], isShared ? `router-${id}` : tags.router),
      tagged(
        'a tag of no customer',
        `book-${id}`,
        (own) => [...own, 'tag:bifrost-customer-nobody-0123456789abcdef'],
        'tag:bifrost-customer-nobody-0123456789abcdef',
      ),
      ...(isShared ? [tagged('no tag on the device', `book-${id}`, () => ['tag:bifrost-book'], 'without the tag')] : apart()),
    ];
  });
}

/** The rules of a template, and what it stands on. */
function guardMutations(read: Read, customers: readonly Customer[]): readonly Mutation[] {
  return customers.flatMap((customer) => {
    const key = keyOf(customer);
    const rules = rulesOfLines(read.workload?.[key]?.guard?.rules ?? []);
    const edit = (what: string, change: Edit<'workload'>, names: Partial<ProofFinding>): Mutation => ({
      ...{
        what: `${what} of ${customer.id}`,
        read: changed(read, ['workload', key], change),
        names: { layer: 'guard', where: `workload ${key}`, ...names },
      },
    });
    const withRules =
      (changedRules: typeof rules): Edit<'workload'> =>
      (workload) =>
        workload.guard === undefined
          ? workload
          : { ...workload, guard: { ...workload.guard, rules: changedRules.map(ruleLine), sha256: digest(JSON.stringify(changedRules)) } };
    return [
      ...rules.flatMap((rule, index) => [
        edit(`rule ${index} taken out`, withRules(rules.toSpliced(index, 1)), { kind: 'guard-altered', by: expect.stringContaining(rule.selector) }),
        edit(
          `rule ${index} turned round`,
          withRules(rules.with(index, { ...rule, action: rule.action === 'prohibit' ? 'lookup main' : 'prohibit' })),
          {
            ...{ kind: 'guard-altered', by: expect.stringContaining(rule.selector) },
          },
        ),
      ]),
      edit('no guard', ({ guard: _, ...workload }) => workload, { kind: 'guard-missing' }),
      edit('a container before the guard', (workload) => ({ ...workload, guardAt: 1 }), { kind: 'guard-altered' }),
    ];
  });
}

function caught({ what, read, names }: Mutation): void {
  const { findings } = judged(read);
  const expected = names === undefined ? [] : expect.arrayContaining([expect.objectContaining(names)]);
  expect([what, findings]).toEqual([what, expected]);
}

describe.each(['organization', 'shared'] as const)('an installation with tenancy %s', (tenancy) => {
  const isShared = tenancy === 'shared';

  it('passes as it was made, whatever the intents', () => {
    fc.assert(
      fc.property(fc.array(configuration, { minLength: 1, maxLength: 3 }), (configs) => {
        const { findings, layers, reservations } = judged(readBack(customersOf(configs), tenancy));
        expect(findings).toEqual([]);
        expect(layers.slice(0, 3).map(({ assurance }) => assurance)).toEqual(['enforced', 'enforced', 'enforced']);
        expect(new Set(reservations.map(({ layer }) => layer))).toEqual(new Set(['network-policy']));
      }),
      { seed: 6, numRuns: 60 },
    );
  });

  it.each([
    ['label, tag or credential', identityMutations, 8],
    ['grant', grantMutations, 40],
    ['owner, approver or shell', sectionMutations, 3],
    ['rule of a guard', guardMutations, 3],
  ] as const)('fails for every %s that is flipped, and names it', (_, mutationsOf, numRuns) => {
    const kinds = new Set<string>();
    let count = 0;
    fc.assert(
      fc.property(intents, (configs) => {
        const customers = customersOf(configs);
        const read = readBack(customers, tenancy);
        for (const mutation of mutationsOf(read, customers, isShared)) {
          caught(mutation);
          if (mutation.names !== undefined) kinds.add(mutation.names.kind ?? '');
          count += 1;
        }
      }),
      { seed: 6, numRuns },
    );
    expect(count).toBeGreaterThan(50);
    expect(kinds.size).toBeGreaterThan(0);
  });
});

describe('other ways out', () => {
  const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: ['10.0.0.4/30'], accessPolicy: 'standard', enableLogging: false } as const;
  const customers = [customerOf('a', config, 0), customerOf('b', config, 1)];
  const read = readBack(customers);
  const withPolicy = (text: string) => judged(changed(read, ['policy', 'a'], () => text)).findings;
  const granted = (grant: object) => withPolicy(JSON.stringify({ grants: [{ ip: ['*'], ...grant }] }));

  it.each([
    ['no rules at all, which allows everything', '{}', 'default'],
    ['text that is no policy', '{ "grants": [', 'policy'],
    ['an acl for everybody', '{ "acls": [{ "action": "accept", "src": ["*"], "dst": ["*:*"] }] }', 'acls.0'],
  ])('a policy of one customer with %s', (_, text, by) => expect(withPolicy(text)).toEqual([expect.objectContaining({ kind: 'beyond-intent', by })]));

  it.each<[string, object, boolean]>([
    ['what is blocked', { src: ['tag:bifrost-book'], dst: ['10.0.0.4'] }, true],
    ['what contains something blocked', { src: ['tag:bifrost-book'], dst: ['10.0.0.0/29'] }, true],
    ['what nobody allowed', { src: ['tag:bifrost-book'], dst: ['203.0.113.0/24'] }, true],
    ['by a selector that nobody knows here', { src: ['tag:bifrost-book'], dst: ['svc:x'] }, true],
    ['from an address of the book’s device', { src: ['100.64.0.1'], dst: ['203.0.113.9'] }, true],
    ['by way of the customer’s own router only', { src: ['tag:bifrost-book'], dst: ['203.0.113.9'], via: ['tag:bifrost-router'] }, true],
    ['twin: what is allowed', { src: ['tag:bifrost-book'], dst: ['10.0.0.0/30', '10.0.0.8/29'] }, false],
    ['twin: the tailnet’s own devices', { src: ['tag:bifrost-book'], dst: ['tag:printers'] }, false],
    ['twin: from somebody else’s devices', { src: ['tag:theirs'], dst: ['203.0.113.0/24'] }, false],
    ['twin: from an address that is none of the book’s', { src: ['100.64.0.2'], dst: ['203.0.113.9'] }, false],
    ['twin: from people', { src: ['autogroup:member'], dst: ['*'] }, false],
  ])('a foreign grant of %s', (_, grant, isFound) => expect(granted(grant).length > 0).toBe(isFound));

  it.each([
    ['restrictive', ['beyond-intent']],
    ['standard', []],
  ] as const)('all ports of a router where books may but ping it, or all of it: %s', (accessPolicy, kinds) => {
    const two = [customerOf('a', { ...config, accessPolicy }, 0), customerOf('b', { ...config, accessPolicy }, 1)];
    const wide = changed(readBack(two, 'shared'), ['policy', '(shared)'], (text) => {
      const { grants, ...rest } = parse(text) as Policy;
      const at = grants.findIndex(({ src, dst }) => src.every((tag) => tag.includes('customer-a')) && dst.some((tag) => tag.includes('router-a')));
      return JSON.stringify({ ...rest, grants: grants.map((grant, index) => (index === at ? { ...grant, ip: ['*'] } : grant)) });
    });
    expect(judged(wide).findings.map(({ kind }) => kind)).toEqual(kinds);
  });

  it('a device that two customers’ tailnets list is one tailnet, whatever their ids say', () => {
    const [device] = read.devices?.['b'] ?? [];
    if (device === undefined) throw new Error('no device');
    expect(judged(changed(read, ['devices', 'a'], (all) => [...all, device])).findings).toContainEqual(
      expect.objectContaining({ kind: 'shared-tailnet', customerId: 'a', otherCustomerId: 'b', by: `device ${device.deviceId}` }),
    );
  });

  it('is told up to a thousand times', () => {
    const many = Array.from({ length: 1_200 }, () => ({ src: ['tag:bifrost-book'], dst: ['203.0.113.9'], ip: ['*'] }));
    const { findings, layers } = judged(changed(read, ['policy', 'a'], () => JSON.stringify({ grants: many })));
    expect(findings).toHaveLength(1_000);
    expect(layers[1]).toMatchObject({ findings: 1_200 });
  });
});
