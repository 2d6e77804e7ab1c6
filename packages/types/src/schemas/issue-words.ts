import type { z } from 'zod';

/** By the kind that a schema expects. */
const KINDS: Readonly<Record<string, string>> = {
  string: 'must be text',
  number: 'must be a number',
  int: 'must be a whole number',
  bigint: 'must be a whole number',
  boolean: 'must be true or false',
  object: 'must be an object',
  record: 'must be an object',
  array: 'must be a list',
  date: 'must be a time',
  function: 'must be a function',
};

/** By the format that a text has not. */
const FORMATS: Readonly<Record<string, string>> = {
  url: 'must be a URL, of a scheme that is taken here',
  datetime: 'must be a time as in RFC 3339, such as 2024-01-01T00:00:00Z',
};

/** Of what a size is told, where it is not the value itself. */
const UNITS: Readonly<Record<string, string>> = { string: 'characters', array: 'items', set: 'items', map: 'members', object: 'members' };

interface Bound {
  readonly origin: string;
  readonly bound: number | bigint;
  readonly inclusive?: boolean | undefined;
}

function tooBig({ origin, bound, inclusive = true }: Bound): string {
  const unit = UNITS[origin];
  return unit === undefined ? `must be ${inclusive ? 'at most' : 'less than'} ${bound}` : `must have at most ${bound} ${unit}`;
}

function tooSmall({ origin, bound, inclusive = true }: Bound): string {
  const unit = UNITS[origin];
  if (unit === undefined) return `must be ${inclusive ? 'at least' : 'more than'} ${bound}`;
  return Number(bound) === 1 ? 'must not be empty' : `must have at least ${bound} ${unit}`;
}

const choice = (values: readonly unknown[]): string => (values.length === 1 ? `must be ${values[0]}` : `must be one of ${values.join(', ')}`);

/**
 * What is wanted, in our words, of an issue for which its schema has none: by its code, never by zod's own text, and without the value. Give it to zod as
 * `error` of a `safeParse`: what a schema says itself goes before it.
 *
 * @example
 * const parsed = createTailnetRequestSchema.safeParse(input, { error: issueWords });
 */
export function issueWords(issue: z.core.$ZodRawIssue): string {
  const { code, input, path = [] } = issue;
  if (code !== 'custom' && input === undefined && path.length > 0) return 'is needed';
  switch (code) {
    case 'invalid_type':
      return KINDS[issue.expected] ?? 'is of another kind than is taken here';
    case 'invalid_value':
      return choice(issue.values);
    case 'invalid_format':
      return FORMATS[issue.format] ?? 'has another form than is taken here';
    case 'too_big':
      return tooBig({ ...issue, bound: issue.maximum });
    case 'too_small':
      return tooSmall({ ...issue, bound: issue.minimum });
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`;
    case 'unrecognized_keys':
      return 'has a member that is not an option here';
    default:
      return 'is not what is taken here';
  }
}
