import type { Reason } from './model.ts';

const MOST_NAMES = 3;
const SHORTEST_MS = 1_000;
const LONGEST_MS = 300_000;

/** Why a detach is not over: the pods that still have the sidecar, by name. */
export function podsRemain(podNames: readonly string[]): Reason {
  const names = podNames.toSorted();
  const more = names.length - MOST_NAMES;
  const shown = names.slice(0, MOST_NAMES).join(', ');
  return { code: 'PODS_REMAIN', message: `Waits until pods that have the sidecar are gone: ${shown}${more > 0 ? ` and ${more} more` : ''}.` };
}

/** When to look for them again, milliseconds: in as long as has been waited already. That one has ended comes as a hint, and sooner. */
export const podRecheckMs = (waitedMs: number): number => Math.min(Math.max(waitedMs, SHORTEST_MS), LONGEST_MS);
