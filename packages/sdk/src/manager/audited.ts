import { BifrostError } from '@bifrost/types/core';
import { isSecretLike } from '../domain/secret-like.ts';
import type { Context } from './context.ts';
import type { Change } from './etags.ts';

/** Who stands in the record where a caller gives no name. */
const DEFAULT_ACTOR = 'sdk';

export interface Audited {
  /** As it came: who asks, by which request, and whose the object was found to be. */
  readonly call: Change;
  readonly action: string;
  /** What it is about, as the caller gives it. */
  readonly subject: unknown;
  /** Whose it is to be, where the caller says so. */
  readonly customerId?: unknown;
}

/** A name as callers give it, for the record; empty for what cannot be one: rejected input, and keys put where names belong, are not written down. */
export const nameForRecord = (value: unknown): string =>
  typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._/-]{0,316}$/.test(value) && !isSecretLike(value) ? value : '';

const readOnly = (): BifrostError =>
  new BifrostError({
    code: 'MANAGER_READ_ONLY',
    message: 'This manager is in read-only mode: call one that is not, or switch it back.',
    issues: [{ path: 'readOnly', message: 'is on' }],
  });

const recorder =
  (context: Context, { call, action, subject, customerId: named }: Audited) =>
  (outcome: string): Promise<void> => {
    const { actor = DEFAULT_ACTOR, request, signal } = call; // whose it is, is known only when it has been found
    const customerId = nameForRecord(named) || call.about?.customerId;
    const known = { ...(customerId ? { customerId } : {}), ...(request ? { request } : {}) };
    const about = { action, subject: nameForRecord(subject), ...known };
    return context.audit.append({ atMs: context.clock.nowMs(), actor, outcome, ...about }, { signal });
  };

/** Records what was refused, and throws it on; when it cannot be recorded the log says so. */
const refuser =
  (context: Context, { call, action }: Audited, record: (outcome: string) => Promise<void>) =>
  async (error: unknown): Promise<never> => {
    if (BifrostError.is(error) && !call.signal.aborted) {
      const { code } = error;
      await record(code).catch(() => context.logger.log('error', 'a refusal could not be recorded', { action, code }));
    }
    throw error;
  };

/**
 * A question whose answer shows what is allowed to whom, or what would be: who asked is recorded, as it is for a change, before anything is answered.
 * It changes nothing, so it is answered in read-only mode too.
 */
export async function auditedQuestion<Result>(context: Context, asked: Audited, answer: () => Promise<Result>): Promise<Result> {
  const record = recorder(context, asked);
  const result = await answer().catch(refuser(context, asked, record));
  await record('accepted');
  return result;
}

/**
 * Runs the checks of a call, records what comes of them, then writes. Nothing is written unrecorded: the record of an accepted call comes first.
 * A refusal is recorded with its code and thrown on; when it cannot be recorded the log says so. One that only the write could know comes after `accepted`.
 */
export async function audited<Checked, Result>(
  context: Context,
  asked: Audited,
  { check, write }: { readonly check: () => Promise<Checked>; readonly write: (checked: Checked) => Promise<Result> },
): Promise<Result> {
  const record = recorder(context, asked);
  const refused = refuser(context, asked, record);
  let checked: Checked;
  try {
    if (context.readOnly()) throw readOnly();
    checked = await check();
    if (context.readOnly()) throw readOnly(); // since a moment ago
  } catch (error) {
    return refused(error);
  }
  await record('accepted');
  try {
    return await write(checked);
  } catch (error) {
    if (BifrostError.is(error) && error.code === 'ETAG_MISMATCH') return refused(error);
    throw error;
  }
}
