import { BifrostError, type Issue } from '@bifrost/types/core';

const isObject = (given: unknown): boolean => typeof given === 'object' && given !== null && !Array.isArray(given);

/** @throws {BifrostError} `INVALID_ARGUMENT` — unless there are no issues */
export function refuseFor(issues: readonly Issue[]): void {
  if (issues.length === 0) return;
  const message = issues.map(({ path, message: wanted }) => (path === '' ? `The request ${wanted}.` : `${path}: ${wanted}`)).join('; ');
  throw new BifrostError({ code: 'INVALID_ARGUMENT', message, issues });
}

/**
 * What a call takes apart itself, before any schema or instead of one: callers without types give anything, and are answered by code.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` — it is no object
 */
export function requireObject<Given>(given: Given, path = ''): Given {
  refuseFor(isObject(given) ? [] : [{ path, message: 'must be an object' }]);
  return given;
}

/** For taking apart what was not checked yet, so that the refusal is recorded: what is no object has no members. Its check calls {@link requireObject}. */
export const membersOf = <Given extends object>(given: Given): Given => (isObject(given) ? given : ({} as Given));
