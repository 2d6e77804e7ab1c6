import type { BifrostError } from '@bifrost/types/core';
import { expect } from 'vitest';
import { type Opened, refusal } from './world.ts';

/** The call is refused with this code and these paths (one at least, always); nothing that existed has changed; the refusal is on record. */
export async function expectRefused(
  world: Opened,
  call: () => Promise<unknown>,
  { code, paths, audited = true }: { readonly code: string; readonly paths?: readonly string[]; readonly audited?: boolean },
): Promise<BifrostError> {
  await world.run(2_000);
  const [before, recorded, events] = [await world.snapshot([world.book]), world.audit.records.length, world.names().length];
  const error = await refusal(call());
  expect(error.code, error.message).toBe(code);
  expect(error.issues, `${code} names no path`).not.toEqual([]);
  if (paths !== undefined) expect(error.issues.map(({ path }) => path)).toEqual(paths);
  await world.run(2_000);
  expect(await world.snapshot([world.book])).toEqual(before);
  expect(world.names()).toHaveLength(events);
  expect(world.audit.records.slice(recorded).map(({ outcome }) => outcome)).toEqual(audited ? [code] : []);
  return error;
}
