import type { Digest } from './identity-tags.ts';
import { type IsolationFinding, type ProvenCustomer, proveIsolation } from './prove-isolation.ts';

/** What was proven, of which inputs, and what came of it: for whoever was not there. */
export interface IsolationProof {
  readonly v: 1;
  /** When the inputs were read back. */
  readonly readAt: string;
  readonly tailnet: string;
  readonly inputs: {
    /** Of the policy's text, as it was read back. */
    readonly policySha256: string;
    /** Of the customers, in the form of {@link canonicalCustomers}. */
    readonly customersSha256: string;
  };
  readonly customers: number;
  /** Pairs of customers that were judged: each in both directions. */
  readonly pairs: number;
  readonly verdict: 'apart' | 'open';
  readonly findings: readonly IsolationFinding[];
  /** Of all that is above. */
  readonly sha256: string;
}

/** What a proof speaks of. */
export interface ProofInputs {
  readonly policyText: string;
  readonly customers: readonly ProvenCustomer[];
}

/** One text for the same customers, whatever their order. */
export function canonicalCustomers(customers: readonly ProvenCustomer[]): string {
  const lines = customers.map(({ customerId, tags, addresses, networks }) =>
    JSON.stringify({ customerId, tags: [...tags].sort(), addresses: [...addresses].sort(), networks: [...networks].sort() }),
  );
  return lines.sort().join('\n');
}

const contentOf = ({ v, readAt, tailnet, inputs, customers, pairs, verdict, findings }: Omit<IsolationProof, 'sha256'>): string =>
  JSON.stringify([
    ...[v, readAt, tailnet, inputs.policySha256, inputs.customersSha256, customers, pairs, verdict],
    findings.map(({ from, to, by }) => [from, to, by]),
  ]);

/** Proves, and writes it down. */
export function isolationProof(
  inputs: ProofInputs,
  { tailnet, readAtMs, digest }: { readonly tailnet: string; readonly readAtMs: number; readonly digest: Digest },
): IsolationProof {
  const { policyText, customers } = inputs;
  const findings = proveIsolation(policyText, customers);
  const content = {
    v: 1,
    readAt: new Date(readAtMs).toISOString(),
    tailnet,
    inputs: { policySha256: digest(policyText), customersSha256: digest(canonicalCustomers(customers)) },
    customers: customers.length,
    pairs: customers.length * Math.max(0, customers.length - 1),
    verdict: findings.length === 0 ? 'apart' : 'open',
    findings,
  } as const;
  return { ...content, sha256: digest(contentOf(content)) };
}

/** What does not hold of a proof: it was altered, it is of other inputs, or proving again says something else. */
export type ProofFault = 'altered' | 'other-policy' | 'other-customers' | 'other-verdict';

/** Empty: the proof is of these inputs, as it was written, and proving again says the same. */
export function proofFaults(proof: IsolationProof, { policyText, customers }: ProofInputs, digest: Digest): readonly ProofFault[] {
  const again = isolationProof({ policyText, customers }, { tailnet: proof.tailnet, readAtMs: Date.parse(proof.readAt), digest });
  return [
    ...(digest(contentOf(proof)) === proof.sha256 ? [] : (['altered'] as const)),
    ...(again.inputs.policySha256 === proof.inputs.policySha256 ? [] : (['other-policy'] as const)),
    ...(again.inputs.customersSha256 === proof.inputs.customersSha256 ? [] : (['other-customers'] as const)),
    ...(again.verdict === proof.verdict && JSON.stringify(again.findings) === JSON.stringify(proof.findings) ? [] : (['other-verdict'] as const)),
  ];
}
