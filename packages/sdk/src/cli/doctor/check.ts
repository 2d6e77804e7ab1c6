import { failureOf, headlineOf } from '../failure.ts';

/** How one matter stands. */
export type Verdict = 'ok' | 'warn' | 'fail' | 'skipped';

export interface Finding {
  readonly name: string;
  readonly verdict: Verdict;
  readonly seen: string;
  /** What to do about it. */
  readonly todo?: string;
}

export type Seen = Omit<Finding, 'name'>;

/** One matter that is looked at by itself: whatever becomes of the others, it has its own verdict. */
export interface Check {
  readonly name: string;
  readonly look: () => Promise<Seen>;
}

export const ok = (seen: string): Seen => ({ verdict: 'ok', seen });
export const skipped = (seen: string): Seen => ({ verdict: 'skipped', seen });
export const warn = (seen: string, todo: string): Seen => ({ verdict: 'warn', seen, todo });
export const fail = (seen: string, todo: string): Seen => ({ verdict: 'fail', seen, todo });

/** What an error says, as a finding. */
export function failed(error: unknown, todo?: string): Seen {
  const failure = failureOf(error);
  const { runbook } = failure;
  return fail(headlineOf(failure), todo ?? (runbook === undefined ? 'mend that, and run doctor again' : `see ${runbook}`));
}

/** All of them at once; in their order. @throws the signal's reason */
export async function lookAtAll(checks: readonly Check[], signal: AbortSignal): Promise<readonly Finding[]> {
  const findings = await Promise.all(
    checks.map(async ({ name, look }): Promise<Finding> => ({ name, ...(await look().catch((error: unknown) => failed(error))) })),
  );
  signal.throwIfAborted();
  return findings;
}
