import { BifrostError, type ErrorCode } from '@bifrost/types/core';
import { type ProvenCustomer, proveIsolation } from '../domain/policy/prove-isolation.ts';
import type { Logger } from '../ports/index.ts';

/**
 * The message names the entry and nobody: every customer of the tailnet may read it.
 *
 * @throws {BifrostError} `ISOLATION_VIOLATED` — under this policy one of these customers reaches another
 */
export function requireIsolated(policyText: string, customers: readonly ProvenCustomer[], logger: Logger): void {
  const [open] = proveIsolation(policyText, customers);
  if (open === undefined) return;
  logger.log('error', 'a policy that lets one customer reach another is not written', { code: 'ISOLATION_VIOLATED', ...open });
  throw new BifrostError({
    code: 'ISOLATION_VIOLATED',
    message: `With our entries in it the policy of the shared tailnet lets one customer reach another, by its entry ${open.by}: they are not written. Narrow that entry.`,
    details: { by: open.by },
    issues: [{ path: `policy.${open.by}`, message: 'lets one customer reach another' }],
  });
}

/** Of what a policy of several customers is not written for: to each of them this, since the words of the policy may be another's. */
const SAID: Partial<Readonly<Record<ErrorCode, string>>> = {
  POLICY_REFUSED: 'The control plane does not take the policy of the shared tailnet as it was to be written; nothing was changed.',
  POLICY_UNREADABLE: 'The policy of the shared tailnet cannot be read; until it is mended it is left as it is.',
};

/** Work on a policy that customers share: what is wrong in it is in the log for whoever runs the platform, and none of its words come to a customer. */
export async function quotingNobody<Value>(logger: Logger, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    const said = BifrostError.is(error) ? SAID[error.code] : undefined;
    if (!BifrostError.is(error) || said === undefined) throw error;
    const { code, message, issues } = error;
    logger.log('error', 'the policy of the shared tailnet is not written', {
      code,
      reason: message,
      faults: issues.map((issue) => issue.message).join('; '),
    });
    throw new BifrostError({ code, message: `${said} The log of the platform says what is wrong in it.` });
  }
}
