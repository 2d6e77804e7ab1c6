import { writeFile } from 'node:fs/promises';
import type { IsolationProof, ProofFault, ProofInput } from '@bifrost/types/core';
import { NetworkManager, type ProveIsolationResponse, ProveIsolationResponseSchema } from '@bifrost/types/proto';
import { fromJsonString } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import { fileOf, usage } from '../connect.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Run } from '../program.ts';
import { countText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { timeMs, wireOf } from '../wire.ts';

interface ProveOptions {
  readonly save?: string;
  readonly verify?: string;
}

/** As the SDK has it: what its hash was made of. Undefined: there is none in it. */
function proofOf({ proof }: ProveIsolationResponse): IsolationProof | undefined {
  const readAtMs = timeMs(proof?.readAt);
  if (proof === undefined || readAtMs === undefined) return undefined;
  // The words of a newer service are kept as they are: its hash is made of them.
  return { ...proof, readAt: new Date(readAtMs).toISOString() } as unknown as IsolationProof;
}

interface Saved {
  readonly proof: IsolationProof;
  readonly inputs: readonly ProofInput[];
}

/** Undefined: what the file holds is no proof, or none any more. @throws {BifrostError} `INVALID_OPTIONS` — it cannot be read */
async function savedProof(path: string): Promise<Saved | undefined> {
  const text = (await fileOf(path, '--verify')).toString('utf8');
  try {
    const saved = fromJsonString(ProveIsolationResponseSchema, text, { ignoreUnknownFields: true });
    const proof = proofOf(saved);
    return proof && { proof, inputs: saved.inputs as readonly ProofInput[] };
  } catch {
    return undefined;
  }
}

/** Only its owner may read it: it names every customer. @throws {BifrostError} `INVALID_OPTIONS` */
async function save(path: string, answer: ProveIsolationResponse): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(wireOf(ProveIsolationResponseSchema, answer), null, 2)}\n`, { mode: 0o600 });
  } catch (error) {
    throw usage(`--save: the file cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'}).`, '--save');
  }
}

function linesOf({ show }: Session, proof: IsolationProof): readonly string[] {
  const { verdict, customers, tailnets, sidecars, layers, findings, reservations, inputs, readAt } = proof;
  const counts = [countText(customers, 'customer'), countText(tailnets, 'tailnet'), countText(sidecars, 'sidecar')];
  const partly = new Map<string, number>();
  for (const { layer, assurance, reason } of reservations) {
    const line = `${layer}: ${assurance}, ${reason}`;
    partly.set(line, (partly.get(line) ?? 0) + 1);
  }
  return [
    `${verdict}: ${counts.join(', ')}, by ${countText(inputs.length, 'input')} read at ${readAt}`,
    ...show.table({
      head: ['LAYER', 'ASSURANCE', 'JUDGED', 'FINDINGS'],
      rows: layers.map(({ layer, assurance, judged, findings: found }) => [layer, assurance, String(judged), String(found)]),
    }),
    ...[...partly].map(([line, count]) => `${line} (${count})`),
    ...(findings.length === 0
      ? []
      : show.table({
          head: ['KIND', 'TAILNET', 'CUSTOMER', 'OTHER', 'BY', 'WHERE'],
          rows: findings.map(({ kind, tailnetName, customerId, otherCustomerId = '', by, where }) => [
            kind,
            tailnetName,
            customerId,
            otherCustomerId,
            by,
            where,
          ]),
        })),
  ];
}

const faultText = ({ kind, name }: ProofFault): string => `the proof does not hold: ${kind}${name === undefined ? '' : `, ${name}`}`;

const NO_PROOF = 'the proof does not hold: the file is no proof as `bifrost prove --save` or the service has written it';

async function verify(session: Session, path: string): Promise<ExitCode> {
  const saved = await savedProof(path);
  // The document was damaged, which is what an auditor asks about: no wrong command line.
  if (saved === undefined) {
    session.show.answer({ holds: false, faults: [{ kind: 'altered' }] }, () => [NO_PROOF]);
    return EXIT.found;
  }
  const { proof, inputs } = saved;
  // Not before it is needed: a shell waits for the command at each completion.
  const { verifyProof } = await import('../../manager/prove-calls.ts');
  const faults = verifyProof(proof, inputs);
  session.show.answer({ holds: faults.length === 0, faults, verdict: proof.verdict }, () => [
    ...(faults.length === 0
      ? ['the proof holds: it is as it was written, of these inputs, and judging them again says the same']
      : faults.map(faultText)),
    ...linesOf(session, proof),
  ]);
  return faults.length === 0 && proof.verdict === 'apart' ? EXIT.ok : EXIT.found;
}

export function addProve(program: Command, run: Run): void {
  program
    .command('prove')
    .description('whether anything lets one customer reach another, or a book more than its intent; ends with 3 when anything does')
    .option('--save <file>', 'write the proof with all its inputs, for --verify')
    .option('--verify <file>', 'ask nobody: whether the proof in the file holds')
    .action(
      run<ProveOptions>(async (session, _, { save: to, verify: from }) => {
        if (from !== undefined) {
          if (to !== undefined) throw usage('Say either --save or --verify.', '--verify');
          return verify(session, from);
        }
        const method = NetworkManager.method.proveIsolation;
        const answer = await session.call(method, { withInputs: to !== undefined });
        const proof = proofOf(answer);
        if (proof === undefined) throw usage('The answer holds no proof.', 'The answer');
        if (to !== undefined) await save(to, answer);
        session.show.answer(wireOf(method.output, { ...answer, inputs: [] }), () => linesOf(session, proof));
        return proof.verdict === 'apart' ? EXIT.ok : EXIT.found;
      }),
    );
}
