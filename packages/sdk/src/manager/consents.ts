import { refuseFor } from './given.ts';

/**
 * What a caller lets a call do is said by `true` alone: from a form or a query it comes as text, and 'false' is no consent.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` — with one issue for each that is neither true nor false
 */
export function requireConsents(consents: Readonly<Record<string, unknown>>): void {
  refuseFor(Object.entries(consents).flatMap(([path, value]) => (typeof value === 'boolean' ? [] : [{ path, message: 'must be true or false' }])));
}
