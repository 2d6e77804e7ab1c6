import { BifrostError } from '@bifrost/types/core';
import type { Call, Context } from './context.ts';
import type { Hindrance } from './hindrances.ts';

/** Codes of what the control plane answers, or has in it. */
const OF_CONTROL = /^(CONTROL|POLICY|ISOLATION)_/;

/** So long a trouble that may pass is waited for, before it counts as one that stays. */
const MAY_PASS_MS = 60_000;

/** By what hindered, what is left: only this, and never because the API server is away. */
const LEFT: Readonly<Record<Hindrance, string>> = {
  control: 'abandoned at the control plane: keys or devices may be left there',
  template: 'abandoned in the cluster: the sidecar is left in the pod template',
  pods: 'abandoned in the cluster: pods that do not end are left with the sidecar',
  policies: 'abandoned in the cluster: NetworkPolicies may be left there',
};

/** A stored object that is taken away, and its name in the record: a sidecar's id, or a tailnet's name. */
export interface Abandoned {
  readonly key: string;
  readonly subject: string;
  readonly customerId: string;
}

interface Left extends Abandoned {
  readonly hindrance: Hindrance;
  readonly code: string;
  /** More for the log. */
  readonly message?: string;
}

/** How much longer, milliseconds, a hindrance may pass by itself; 0 when it counts as one that stays. The first call begins its time. */
export function mayPassMs({ hindrances, clock }: Context, key: string, hindrance: Hindrance): number {
  const nowMs = clock.nowMs();
  return Math.max(0, hindrances.since(key, hindrance, nowMs) + MAY_PASS_MS - nowMs);
}

/** Tells what is left, once. */
export async function recordLeft(context: Context, { hindrance, code, message, key, subject, customerId }: Left, call: Call): Promise<void> {
  const { hindrances, logger, audit, clock } = context;
  if (!hindrances.isUntold(key, hindrance)) return;
  logger.log('warn', LEFT[hindrance], { subject, code, ...(message === undefined ? {} : { reason: message }) });
  await audit.append({ atMs: clock.nowMs(), actor: 'manager', action: 'abandon', subject, customerId, outcome: code }, call);
  hindrances.told(key, hindrance);
}

/**
 * At the control plane only what it does not let us do may be abandoned: at once what it refuses, later what it does not answer. Ids of what may be left
 * are in the stored object until now.
 */
export async function leaveAtControl(context: Context, { error, ...abandoned }: Abandoned & { readonly error: unknown }, call: Call): Promise<void> {
  if (!BifrostError.is(error) || !OF_CONTROL.test(error.code) || call.signal.aborted) throw error;
  const leftMs = mayPassMs(context, abandoned.key, 'control');
  if (error.retry === 'backoff' && leftMs > 0) throw error;
  await recordLeft(context, { ...abandoned, hindrance: 'control', code: error.code }, call);
}
