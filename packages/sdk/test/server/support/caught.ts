import { inspect } from 'node:util';
import { BifrostError } from '@bifrost/types/core';
import { expect } from 'vitest';

export const soon = () => ({ signal: AbortSignal.timeout(10_000) });

/** The error of a call that must fail with one of ours. */
export async function refusalOf(call: () => unknown): Promise<BifrostError> {
  try {
    await call();
  } catch (error) {
    if (BifrostError.is(error)) return error;
    throw error;
  }
  return expect.fail('nothing was refused');
}

/** Paths of what options have wrong. */
export async function wrongPaths(call: () => unknown): Promise<readonly string[]> {
  const error = await refusalOf(call);
  expect(error.code).toBe('INVALID_OPTIONS');
  return error.issues.map(({ path }) => path);
}

/** All that a careless logger could print of a value, causes included. */
export function printed(value: unknown): string {
  const causes: string[] = [];
  for (let at: unknown = value; at instanceof Error; at = at.cause) causes.push(`${at.message}\n${at.stack}\n${JSON.stringify(at)}`);
  return `${causes.join('\n')}\n${String(value)}\n${JSON.stringify(value)}\n${inspect(value, { depth: 20, showHidden: true })}`;
}
