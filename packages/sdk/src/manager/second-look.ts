import type { Context } from './context.ts';
import type { Outcome } from './work-queue.ts';

const SECOND_LOOK_MS = 2_000;

/**
 * For what is not found and was made for: one answer may be older than what it does not find, and what is released by mistake is not made again. Gives
 * when to look again; undefined once it has been missed for so long, or when its watch says so too.
 */
export function secondLook(
  { missedSinceMs, clock }: Context,
  key: string,
  { isToldGone = false }: { readonly isToldGone?: boolean } = {},
): Outcome | undefined {
  const nowMs = clock.nowMs();
  const sinceMs = missedSinceMs.get(key) ?? nowMs;
  const leftMs = isToldGone ? 0 : sinceMs + SECOND_LOOK_MS - nowMs;
  if (leftMs <= 0) return undefined;
  missedSinceMs.set(key, sinceMs);
  return { kind: 'waiting', recheckMs: leftMs };
}
