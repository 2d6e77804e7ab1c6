import { readFileSync } from 'node:fs';
import type { Clock } from '../../ports/clock.ts';

/** The kernel makes uuids too; loading `node:crypto` for a single one costs two MiB (docs/decisions/agent-runtime.md). */
function newUuid(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/uuid', 'utf8').trim();
  } catch {
    return process.getBuiltinModule('node:crypto').randomUUID();
  }
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs() {
    const [seconds, nanoseconds] = process.hrtime(); // `performance` would load all of perf_hooks
    return seconds * 1000 + nanoseconds / 1e6;
  },
  random: () => Math.random(),
  newId: newUuid,
};
