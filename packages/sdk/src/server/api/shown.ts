import { type ChangePlan, type StatusReason, wirePath } from '@bifrost/types/core';
import type { Plain } from './convert.ts';

/** With the path of its reason as callers write it. */
export function shown<Read extends { readonly reason?: StatusReason }>(read: Read): Plain {
  const path = read.reason?.path;
  return path === undefined ? { ...read } : { ...read, reason: { ...read.reason, path: wirePath(path) } };
}

/** With the names of what changes as callers write them. */
export const shownPlan = (plan: ChangePlan): Plain => ({
  ...plan,
  changes: plan.changes.map(wirePath),
  warnings: (plan.warnings ?? []).map((warning) => ({ ...warning, path: wirePath(warning.path) })),
});
