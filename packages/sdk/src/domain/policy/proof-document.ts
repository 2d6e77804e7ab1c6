import type { IsolationProof, ProofFault, ProofInput, ProofInputHash, ProvenIsolation } from '@bifrost/types/core';
import type { Digest } from './identity-tags.ts';
import { type Judgement, judgeEvidence } from './judge-evidence.ts';
import { Evidence } from './proof-evidence.ts';

type Content = Omit<IsolationProof, 'sha256'>;

/** Members in the order of the type, whatever order they came in: the same content has one text. */
function textOf(content: Content): string {
  const { v, readAt, installation, verdict, customers, pairs, tailnets, sidecars, layers, findings, reservations, inputs } = content;
  return JSON.stringify({
    ...{ v, readAt, installation, verdict, customers, pairs, tailnets, sidecars },
    layers: layers.map(({ layer, assurance, judged, findings: found }) => ({ layer, assurance, judged, findings: found })),
    findings: findings.map(({ layer, kind, tailnetName, customerId, otherCustomerId, by, where }) => ({
      ...{ layer, kind, tailnetName, customerId, otherCustomerId, by, where },
    })),
    reservations: reservations.map(({ layer, assurance, reason, subject, code }) => ({ layer, assurance, reason, subject, code })),
    inputs: inputs.map(({ name, from, unread, sha256 }) => ({ name, from, unread, sha256 })),
  });
}

const byName = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : Number(a.name > b.name));

const hashOf = ({ name, from, text, unread }: ProofInput, digest: Digest): ProofInputHash => ({
  ...{ name, from, ...(unread === undefined ? {} : { unread }) },
  sha256: digest(text),
});

interface About {
  readonly readAtMs: number;
  readonly digest: Digest;
}

/** Writes down what came of judging these inputs. */
export function writtenProof(inputs: readonly ProofInput[], judgement: Judgement, { readAtMs, digest }: About): ProvenIsolation {
  const { customers, pairs, tailnets, sidecars, layers, findings, reservations } = judgement;
  const sorted = [...inputs].sort(byName);
  const content: Content = {
    ...{ v: 1, readAt: new Date(readAtMs).toISOString(), installation: new Evidence(inputs).get('settings', 'manager')?.installation ?? '' },
    verdict: findings.length === 0 ? 'apart' : 'open',
    ...{ customers, pairs, tailnets, sidecars, layers, findings, reservations },
    inputs: sorted.map((input) => hashOf(input, digest)),
  };
  return { proof: { ...content, sha256: digest(textOf(content)) }, inputs: sorted };
}

/** Judges what was read back, and writes it down. */
export const isolationProof = (inputs: readonly ProofInput[], about: About): ProvenIsolation =>
  writtenProof(inputs, judgeEvidence(inputs, about.digest), about);

/** What of the inputs is not as the proof says. */
function* inputFaults(proof: IsolationProof, inputs: readonly ProofInput[], digest: Digest): Generator<ProofFault, void, void> {
  const given = new Map(inputs.map((input) => [input.name, hashOf(input, digest)]));
  const told = new Map(proof.inputs.map((input) => [input.name, input]));
  for (const [name, { sha256, from, unread }] of told) {
    const there = given.get(name);
    if (there === undefined) yield { kind: 'input-missing', name };
    else if (there.sha256 !== sha256 || there.from !== from || there.unread !== unread) yield { kind: 'input-altered', name };
  }
  for (const name of given.keys()) if (!told.has(name)) yield { kind: 'input-added', name };
}

/** Inputs that were altered may be no evidence at all any more. */
function judgedAgain(inputs: readonly ProofInput[], digest: Digest): Judgement | undefined {
  try {
    return judgeEvidence(inputs, digest);
  } catch {
    return undefined;
  }
}

/** Empty: the proof is as it was written, of these inputs, and judging them again says the same. */
export function proofFaults({ proof, inputs }: ProvenIsolation, digest: Digest): readonly ProofFault[] {
  const again = judgedAgain(inputs, digest);
  const verdict = again === undefined ? undefined : again.findings.length === 0 ? 'apart' : 'open';
  const isSame = again !== undefined && textOf({ ...proof, ...again, verdict: verdict ?? 'open' }) === textOf(proof);
  return [
    ...(digest(textOf(proof)) === proof.sha256 ? [] : [{ kind: 'altered' } as const]),
    ...inputFaults(proof, inputs, digest),
    ...(isSame ? [] : [{ kind: 'other-verdict' } as const]),
  ];
}
