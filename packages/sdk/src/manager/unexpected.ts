import { BifrostError } from '@bifrost/types/core';

/** An error as a log line may show it. Messages of others may quote what they stumbled over, a key for instance: of those, the kind and the place. */
export function describeError(error: unknown): string {
  if (BifrostError.is(error)) return error.message;
  if (!(error instanceof Error)) return typeof error;
  const place = error.stack?.split('\n').find((line) => /^\s+at /.test(line));
  return place === undefined ? error.name : `${error.name} ${place.trim()}`;
}
