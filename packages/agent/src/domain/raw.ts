/** Reading the daemon's JSON: only what we name, bounded as the report's schema wants it. */
export const WORD = 64;
export const NAME = 255;

export const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Without control characters; undefined when nothing is left. */
export function textOf(value: unknown, limit: number): string | undefined {
  if (typeof value !== 'string') return undefined;
  return value.replace(/\p{Cc}/gu, '').slice(0, limit) || undefined;
}

/** Go writes an empty list as null. */
export const textsOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []);

export const countOf = (value: unknown): number => (Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0);

/** Go's zero time lies before the Unix epoch and means "never". */
export function timeOf(value: unknown): number | undefined {
  const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return atMs > 0 ? atMs : undefined;
}
