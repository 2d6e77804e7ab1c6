import type { z } from 'zod';
import { BifrostError, type ErrorCode, type Issue } from '../core/errors.ts';
import { issueWords } from './issue-words.ts';

const MAX_ISSUES = 100;
const MAX_SEGMENT = 64; // an unknown key is the caller's own text

const pathText = (path: readonly PropertyKey[]): string => path.map((segment) => String(segment).slice(0, MAX_SEGMENT)).join('.');

/** One issue per wrong field, each with a path as in the caller's own object; an unknown key gets its own. */
function issuesOf(error: z.ZodError): readonly Issue[] {
  const issues = error.issues.flatMap((issue): Issue[] =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: pathText([...issue.path, key]), message: 'is not an option here' }))
      : [{ path: pathText(issue.path), message: issue.message }],
  );
  return issues.slice(0, MAX_ISSUES);
}

const sentence = (issues: readonly Issue[]): string =>
  issues
    .slice(0, 3)
    .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    .join('; ') + (issues.length > 3 ? `; and ${issues.length - 3} more` : '');

/** Members set to `undefined` count as absent, as callers mean it. */
function withoutUndefined(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value);
  return entries.some(([, member]) => member === undefined) ? Object.fromEntries(entries.filter(([, member]) => member !== undefined)) : value;
}

/**
 * Reads `value` by `schema`, with its defaults filled in. The caller's object is left as it is.
 *
 * @throws {BifrostError} `code` — with one entry in `issues` for each wrong member (at most 100): its path and what is wanted, never the value.
 * @example
 * const request = parseOrThrow(createTailnetRequestSchema, input, 'INVALID_ARGUMENT');
 */
export function parseOrThrow<Schema extends z.ZodType>(schema: Schema, value: unknown, code: ErrorCode): z.output<Schema> {
  const parsed = schema.safeParse(withoutUndefined(value), { error: issueWords });
  if (parsed.success) return parsed.data;
  const issues = issuesOf(parsed.error);
  throw new BifrostError({ code, message: sentence(issues), issues });
}
