import { describe, expect, it } from 'vitest';
import { type IsolationProof, isolationProof, proofFaults } from '../../src/domain/policy/proof-document.ts';
import type { ProvenCustomer } from '../../src/domain/policy/prove-isolation.ts';
import { digest } from './worlds.ts';

const customer = (name: string, at: number): ProvenCustomer => ({
  customerId: name,
  tags: [`tag:${name}`],
  addresses: [`100.64.${at}.1`],
  networks: ['10.0.0.0/8'],
});
const customers = [customer('a', 0), customer('b', 1), customer('c', 2)];
const apart = JSON.stringify({ grants: [{ src: ['tag:a'], dst: ['tag:a'], ip: ['*'] }] });
const open = JSON.stringify({ grants: [{ src: ['tag:a'], dst: ['tag:b'], ip: ['*'] }] });
const about = { tailnet: 'shared', readAtMs: Date.UTC(2026, 10, 29), digest };

describe('a proof', () => {
  const proof = isolationProof({ policyText: apart, customers }, about);

  it('says what was proven, of which inputs, and when', () => {
    expect(proof).toEqual({
      ...{ v: 1, tailnet: 'shared', readAt: '2026-11-29T00:00:00.000Z', customers: 3, pairs: 6, verdict: 'apart', findings: [] },
      inputs: { policySha256: digest(apart), customersSha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(isolationProof({ policyText: open, customers }, about)).toMatchObject({
      verdict: 'open',
      findings: [{ from: 'a', to: 'b', by: 'grants.0' }],
    });
  });

  it('is verified by whoever has the inputs, in whatever order', () => {
    expect(proofFaults(proof, { policyText: apart, customers: [...customers].reverse() }, digest)).toEqual([]);
  });

  it.each<[string, Partial<IsolationProof>, string, readonly ProvenCustomer[], readonly string[]]>([
    ['another policy', {}, open, customers, ['other-policy', 'other-verdict']],
    ['a customer less', {}, apart, customers.slice(1), ['other-customers']],
    ['a device more', {}, apart, [...customers, customer('d', 3)], ['other-customers']],
    ['another time', { readAt: '2026-11-28T00:00:00.000Z' }, apart, customers, ['altered']],
    ['another tailnet', { tailnet: 'other' }, apart, customers, ['altered']],
    ['another verdict', { verdict: 'open' }, apart, customers, ['altered', 'other-verdict']],
    ['a finding that was taken out', { findings: [{ from: 'a', to: 'b', by: 'x' }] }, apart, customers, ['altered', 'other-verdict']],
    ['another count', { pairs: 1 }, apart, customers, ['altered']],
  ])('is not one with %s', (_, change, policyText, given, faults) => {
    expect(proofFaults({ ...proof, ...change }, { policyText, customers: given }, digest)).toEqual(faults);
  });
});
