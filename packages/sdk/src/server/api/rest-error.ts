import { BifrostError, type Issue } from '@bifrost/types/core';
import { isSecretLike } from '../../domain/secret-like.ts';

/** What is wrong with a request itself: a part of it, or the whole body (an empty path). */
export const wrong = (path: string, message: string): BifrostError =>
  new BifrostError({ code: 'INVALID_ARGUMENT', message: path === '' ? message : `${path}: ${message}`, issues: [{ path, message }] });

const MAX_NAME = 64;

/** The name of something that is not known here, which is the caller's own text. */
export const shownName = (name: string): string => (isSecretLike(name) ? '' : name.slice(0, MAX_NAME));

/** The same of several members. */
export function malformed(issues: readonly Issue[]): BifrostError {
  const [first] = issues;
  const more = issues.length > 1 ? `; and ${issues.length - 1} more` : '';
  return new BifrostError({ code: 'INVALID_ARGUMENT', message: `${first?.path}: ${first?.message}${more}`, issues });
}
