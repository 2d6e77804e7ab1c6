import type { Condition } from '@bifrost/types/core';

/** A condition as it stands, without its history. */
export type ConditionNow = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/**
 * The conditions of an object after a look at it: each keeps the time since which its status holds, and all speak of `generation`. Those that are
 * not told any more go. The same look again gives the same list.
 */
export function withConditions(
  before: readonly Condition[] | undefined,
  told: readonly ConditionNow[],
  { generation, nowMs }: { readonly generation: number; readonly nowMs: number },
): readonly Condition[] {
  return told.map(({ type, status, reason, message }) => {
    const known = before?.find((condition) => condition.type === type);
    const lastTransitionTime = known?.status === status ? known.lastTransitionTime : new Date(nowMs).toISOString().replace(/\.\d+Z$/, 'Z');
    return { type, status, reason, message, observedGeneration: generation, lastTransitionTime };
  });
}
