import type { IsolationProof, ProofInput } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { judging } from '../../src/domain/policy/judge-evidence.ts';
import { isolationProof, proofFaults } from '../../src/domain/policy/proof-document.ts';
import { proofInput, unreadInput } from '../../src/domain/policy/proof-evidence.ts';
import { changed, inputsOf, readBack } from './evidence.ts';
import { customerOf, digest } from './worlds.ts';

const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
const read = readBack([customerOf('a', config, 0), customerOf('b', config, 1), customerOf('c', config, 2)]);
const inputs = inputsOf(read);
const open = inputsOf(changed(read, ['policy', 'a'], () => '{ "grants": [{ "src": ["*"], "dst": ["*"], "ip": ["*"] }] }'));
const about = { readAtMs: Date.UTC(2026, 10, 29), digest };
const { proof } = isolationProof(inputs, about);

describe('a proof', () => {
  it('says what was proven, of which inputs, and when', () => {
    expect(proof).toMatchObject({ v: 1, readAt: '2026-11-29T00:00:00.000Z', installation: 'test', verdict: 'apart', findings: [] });
    expect(proof).toMatchObject({ customers: 3, pairs: 6, tailnets: 3, sidecars: 3, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(proof.layers.map(({ layer, assurance }) => [layer, assurance])).toEqual([
      ['identity', 'enforced'],
      ['tailnet-policy', 'enforced'],
      ['guard', 'enforced'],
      ['network-policy', 'unproven'],
    ]);
    const policy = inputs.find(({ name }) => name === 'policy a');
    expect(proof.inputs).toContainEqual({ name: 'policy a', from: 'control-plane', sha256: digest(policy?.text ?? '') });
    expect(proof.inputs).toHaveLength(inputs.length);
    expect(isolationProof(open, about).proof).toMatchObject({
      verdict: 'open',
      findings: [{ kind: 'beyond-intent', by: 'grants.0', where: 'policy a' }],
    });
  });

  it('comes about in parts, between which others have their turn: two for each rule of a policy that all share', () => {
    const parts = (customers: number): number => {
      const shared = readBack(
        Array.from({ length: customers }, (_, at) => customerOf(`n${at}`, config, at)),
        'shared',
      );
      return [...judging(inputsOf(shared), digest)].length;
    };
    const rules = 2; // of each customer: its networks, and pings of its own routers
    expect(parts(12) - parts(2)).toBe(10 * (2 * rules + 1));
  });

  it('says of what was not read that it was not, and judges the rest', () => {
    const away = [...open.filter(({ name }) => name !== 'policy b'), unreadInput('policy', 'b', 'CONTROL_UNAVAILABLE')];
    const { proof: partial } = isolationProof(away, about);
    expect(partial.findings).toHaveLength(1);
    expect(partial.layers[1]).toEqual({ layer: 'tailnet-policy', assurance: 'unproven', judged: 3, findings: 1 });
    expect(partial.reservations).toContainEqual({
      ...{ layer: 'tailnet-policy', assurance: 'unproven', reason: 'not-read', subject: 'policy b', code: 'CONTROL_UNAVAILABLE' },
    });
    expect(partial.inputs).toContainEqual(expect.objectContaining({ name: 'policy b', unread: 'CONTROL_UNAVAILABLE' }));
  });

  it('is verified by whoever has the inputs, in whatever order, also after it went through JSON', () => {
    expect(proofFaults({ proof, inputs: [...inputs].reverse() }, digest)).toEqual([]);
    expect(proofFaults(JSON.parse(JSON.stringify({ proof, inputs })), digest)).toEqual([]);
    expect(proofFaults(isolationProof(open, about), digest)).toEqual([]);
  });

  const without = (name: string): readonly ProofInput[] => inputs.filter((input) => input.name !== name);
  const altered = (name: string, text: string): readonly ProofInput[] => inputs.map((input) => (input.name === name ? { ...input, text } : input));
  it.each<[string, Partial<IsolationProof>, readonly ProofInput[], readonly object[]]>([
    ['another policy', {}, open, [{ kind: 'input-altered', name: 'policy a' }, { kind: 'other-verdict' }]],
    ['an input less', {}, without('tailnet c'), [{ kind: 'input-missing', name: 'tailnet c' }, { kind: 'other-verdict' }]],
    ['an input more', {}, [...inputs, proofInput('devices', 'd', [])], [{ kind: 'input-added', name: 'devices d' }]],
    [
      'an input that is no evidence any more',
      {},
      altered('tailnet a', '{'),
      [{ kind: 'input-altered', name: 'tailnet a' }, { kind: 'other-verdict' }],
    ],
    [
      'an input said to be from elsewhere',
      { inputs: proof.inputs.map((input) => ({ ...input, from: 'store' as const })) },
      inputs,
      [{ kind: 'altered' }, ...proof.inputs.filter(({ from }) => from !== 'store').map(({ name }) => ({ kind: 'input-altered', name }))],
    ],
    ['another time', { readAt: '2026-11-28T00:00:00.000Z' }, inputs, [{ kind: 'altered' }]],
    ['another installation', { installation: 'other' }, inputs, [{ kind: 'altered' }]],
    ['another verdict', { verdict: 'open' }, inputs, [{ kind: 'altered' }, { kind: 'other-verdict' }]],
    ['another count', { pairs: 1 }, inputs, [{ kind: 'altered' }, { kind: 'other-verdict' }]],
    [
      'a better layer',
      { layers: proof.layers.map((layer) => ({ ...layer, assurance: 'enforced' as const })) },
      inputs,
      [{ kind: 'altered' }, { kind: 'other-verdict' }],
    ],
  ])('is not one with %s', (_, change, given, faults) => {
    expect(proofFaults({ proof: { ...proof, ...change }, inputs: given }, digest)).toEqual(faults);
  });

  it('is not one of inputs that were read after all, or were not', () => {
    const away = isolationProof([...inputs.filter(({ name }) => name !== 'policy b'), unreadInput('policy', 'b', 'CONTROL_UNAVAILABLE')], about);
    const said = (unread: string) => away.inputs.map((input) => (input.name === 'policy b' ? { ...input, unread } : input));
    expect(proofFaults(away, digest)).toEqual([]);
    const faults = [{ kind: 'input-altered', name: 'policy b' }, { kind: 'other-verdict' }];
    expect(proofFaults({ ...away, inputs: said('CONTROL_DENIED') }, digest)).toEqual(faults);
    const entries = away.proof.inputs.map((entry) => (entry.name === 'policy b' ? { ...entry, unread: 'CONTROL_DENIED' } : entry));
    expect(proofFaults({ ...away, proof: { ...away.proof, inputs: entries } }, digest)).toEqual([
      { kind: 'altered' },
      { kind: 'input-altered', name: 'policy b' },
    ]);
  });

  it('is none with a finding taken out, even if its own hash is made anew', () => {
    const honest = isolationProof(open, about).proof;
    const forged = isolationProof(inputs, about).proof;
    expect(proofFaults({ proof: { ...forged, inputs: honest.inputs }, inputs: open }, digest)).toEqual([
      { kind: 'altered' },
      { kind: 'other-verdict' },
    ]);
  });
});
