import {
  BifrostError,
  type IsolationProof,
  type Issue,
  type ProofFault,
  type ProofFinding,
  type ProofInput,
  type ProvenIsolation,
} from '@bifrost/types/core';
import { type Judgement, judging } from '../domain/policy/judge-evidence.ts';
import { proofFaults, writtenProof } from '../domain/policy/proof-document.ts';
import type { Call, Context } from './context.ts';
import type { Change } from './etags.ts';
import { sha256 } from './hashes.ts';
import { readEvidence } from './prove-read.ts';
import { turns } from './turns.ts';
import { describeError } from './unexpected.ts';

const ACTION = 'proveIsolation';
/** The code in the records of findings. */
const VIOLATED = 'ISOLATION_VIOLATED';
/** Findings whose telling is remembered. */
const MAX_REMEMBERED = 10_000;

/** Which findings have been told. */
export class ToldFindings {
  #told: ReadonlySet<string> = new Set();

  /** Those of a proof that are told now. One that was told is told again once a proof that could read everything has not found it. */
  news({ findings, inputs }: IsolationProof): readonly ProofFinding[] {
    const keyed = findings.map((finding) => [JSON.stringify(finding), finding] as const);
    const news = keyed.filter(([key]) => !this.#told.has(key)).map(([, finding]) => finding);
    const kept = inputs.some(({ unread }) => unread !== undefined) ? [...this.#told] : [];
    this.#told = new Set([...kept, ...keyed.map(([key]) => key)].slice(-MAX_REMEMBERED));
    return news;
  }
}

/** Thousands of customers take seconds. */
async function judged(inputs: readonly ProofInput[], call: Call): Promise<Judgement> {
  const steps = judging(inputs, sha256);
  const turn = turns(call);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    const others = turn();
    if (others !== undefined) await others;
  }
}

async function prove(context: Context, call: Call): Promise<ProvenIsolation> {
  const readAtMs = context.clock.nowMs();
  const inputs = await readEvidence(context, call);
  const proven = writtenProof(inputs, await judged(inputs, call), { readAtMs, digest: sha256 });
  for (const finding of context.toldFindings.news(proven.proof)) await tell(context, finding, call);
  return proven;
}

/** To the log, to listeners, and into the record, since somebody will ask since when. */
async function tell(context: Context, finding: ProofFinding, { signal }: Call): Promise<void> {
  const { clock, logger, events, audit } = context;
  const { layer, kind, tailnetName, customerId, otherCustomerId, by, where } = finding;
  const other = otherCustomerId === undefined ? {} : { otherCustomerId };
  logger.log('error', 'isolation does not hold', { code: VIOLATED, layer, kind, tailnet: tailnetName, customerId, ...other, by, where });
  events.emit('isolation:violated', { ...finding, atMs: clock.nowMs() });
  const record = { actor: 'manager', action: ACTION, customerId, subject: tailnetName, outcome: VIOLATED };
  await audit.append({ atMs: clock.nowMs(), ...record }, { signal }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    logger.log('error', 'a finding could not be recorded', { action: ACTION, error: describeError(error) });
  });
}

/** A proof speaks of all customers: whoever may not know of all of them gets none. */
function requireEverywhere({ scope }: Call): void {
  if (scope === undefined || (scope.visible === '*' && scope.permitted === '*')) return;
  throw new BifrostError({ code: 'PERMISSION_DENIED', message: 'A proof speaks of all customers: it needs a role for all of them.' });
}

/** @see NetworkManager.proveIsolation */
export async function proveIsolation(context: Context, call: Change): Promise<ProvenIsolation> {
  const { actor = 'sdk', request, signal } = call;
  const record = (outcome: string): Promise<void> => {
    const about = { action: ACTION, subject: '', outcome, ...(request === undefined ? {} : { request }) };
    return context.audit.append({ atMs: context.clock.nowMs(), actor, ...about }, { signal });
  };
  try {
    requireEverywhere(call);
    const proven = await prove(context, call);
    await record(proven.proof.verdict === 'apart' ? 'accepted' : VIOLATED);
    return proven;
  } catch (error) {
    if (BifrostError.is(error) && !signal.aborted)
      await record(error.code).catch(() => context.logger.log('error', 'a refusal could not be recorded', { action: ACTION, code: error.code }));
    throw error;
  }
}

/** What the manager does by itself, every so often: nothing is returned, what is found is told. */
export async function proveAgain(context: Context, call: Call): Promise<void> {
  await prove(context, call);
}

/**
 * Whether a proof is as it was written, of these inputs, and judging them again says the same. Needs nothing but the two: neither a manager nor a cluster.
 * Empty: it holds. That the inputs are what there was, only who has read them can say; a policy's text can be compared with the control plane's own.
 * A file of `bifrost prove --save`, and an answer by REST, have other names for the same members: those are for `bifrost prove --verify`.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` — what was given is no proof, or no inputs, in the form of `proveIsolation`
 * @example
 * const { proof, inputs } = await manager.proveIsolation();
 * const faults = verifyProof(proof, inputs); // [] — or, say, [{ kind: 'input-altered', name: 'policy acme-production' }]
 */
export function verifyProof(proof: IsolationProof, inputs: readonly ProofInput[]): readonly ProofFault[] {
  const issues = [...(isProof(proof) ? [] : [noSuch('proof')]), ...(isListOf(inputs, INPUT) ? [] : [noSuch('inputs')])];
  if (issues.length === 0) return proofFaults({ proof, inputs }, sha256);
  const message = 'Give proof and inputs as proveIsolation gives them. A saved file, and an answer by REST, are for `bifrost prove --verify`.';
  throw new BifrostError({ code: 'INVALID_ARGUMENT', message, issues });
}

const noSuch = (path: string): Issue => ({ path, message: 'is not what proveIsolation gives' });

/** Which are to be texts. What they say is judged after. */
const [PROOF, INPUT] = [
  ['readAt', 'installation', 'verdict', 'sha256'],
  ['name', 'from', 'text'],
] as const;
const LISTS = ['layers', 'findings', 'reservations', 'inputs'] as const;

const hasTexts = (value: unknown, names: readonly string[]): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && names.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === 'string');
const isListOf = (value: unknown, names: readonly string[]): boolean => Array.isArray(value) && value.every((one) => hasTexts(one, names));
const isProof = (proof: unknown): boolean => hasTexts(proof, PROOF) && LISTS.every((list) => isListOf(proof[list], []));
