import type { HttpRequest } from './rest-door.ts';

const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 };
/** Timers of Node end at once when they are to last longer. */
const MAX_MS = 2 ** 31 - 1;

/** A deadline that is weeks away is none to us: as it stands it would be over at once. */
export function withoutLongDeadline({ headers }: Pick<HttpRequest, 'headers'>): void {
  const [, amount = '0', unit = 'n'] = /^(\d{1,8})([HMSmun])$/.exec(String(headers['grpc-timeout'])) ?? [];
  if (Number(amount) * (UNITS_MS[unit] ?? 0) > MAX_MS) delete headers['grpc-timeout'];
  if (Number(headers['connect-timeout-ms'] ?? 0) > MAX_MS) delete headers['connect-timeout-ms'];
}
