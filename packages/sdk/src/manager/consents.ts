import { BifrostError } from '@bifrost/types/core';

/**
 * What a caller lets a call do is said by `true` alone: from a form or a query it comes as text, and 'false' is no consent.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` — with one issue for each that is neither true nor false
 */
export function requireConsents(consents: Readonly<Record<string, unknown>>): void {
  const issues = Object.entries(consents).flatMap(([path, value]) =>
    typeof value === 'boolean' ? [] : [{ path, message: 'must be true or false' }],
  );
  if (issues.length === 0) return;
  throw new BifrostError({ code: 'INVALID_ARGUMENT', message: issues.map(({ path, message }) => `${path}: ${message}`).join('; '), issues });
}
