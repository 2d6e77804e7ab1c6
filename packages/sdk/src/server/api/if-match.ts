import type { Plain } from './convert.ts';
import { text } from './request.ts';
import { wrong } from './rest-error.ts';

const STRONG = /^"([\x21\x23-\x7e]{1,128})"$/;

/** The condition of a change: the header `If-Match`, or the member `etag`. @throws {BifrostError} `INVALID_ARGUMENT` */
export function ifMatchOf(header: string | undefined, request: Plain): string | undefined {
  const member = text(request, 'etag') || undefined;
  if (header === undefined || header === '*') return member; // what does not exist is not found anyway
  const [, etag] = STRONG.exec(header) ?? [];
  if (etag === undefined) throw wrong('if-match', 'must be one etag in quotes, as it was read');
  if (member !== undefined && member !== etag) throw wrong('etag', 'differs from the header If-Match');
  return etag;
}
