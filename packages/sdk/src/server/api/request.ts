import type { Plain } from './convert.ts';

/** A member that is text; absent is empty. */
export const text = (request: Plain, name: string): string => (typeof request[name] === 'string' ? request[name] : '');

/** A copy without some members. */
export const without = (request: Plain, ...names: readonly string[]): Plain =>
  Object.fromEntries(Object.entries(request).filter(([name]) => !names.includes(name)));

/** Whether a filter lets this through: unset, empty, or this very value. */
export const isAmong = (filter: unknown, value: string): boolean => filter === undefined || filter === '' || filter === value;
