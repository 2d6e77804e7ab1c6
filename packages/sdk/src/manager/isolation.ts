import { BifrostError } from '@bifrost/types/core';
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
  logger.log('error', 'the policy would let one customer reach another', { code: 'ISOLATION_VIOLATED', ...open });
  throw new BifrostError({
    code: 'ISOLATION_VIOLATED',
    message: `The policy of the shared tailnet would let one customer reach another, by its entry ${open.by}: it is not written. Narrow that entry.`,
    details: { by: open.by },
    issues: [{ path: `policy.${open.by}`, message: 'lets one customer reach another' }],
  });
}
