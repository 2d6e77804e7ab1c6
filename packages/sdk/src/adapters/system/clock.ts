import { randomUUID } from 'node:crypto';
import type { Clock } from '../../ports/clock.ts';
import type { CallOptions } from '../../ports/store.ts';

const LONGEST_TIMER_MS = 2_147_483_647; // Node fires a longer timer at once

/** The machine's own time and chance. Keeps nothing and needs no disposal; a pending `sleep` keeps the process alive, as a timer does. */
export function systemClock(): Clock {
  return { nowMs: () => Date.now(), sleep, newId: () => randomUUID(), random: () => Math.random() };
}

function sleep(milliseconds: number, { signal }: CallOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    let left = Math.max(0, milliseconds);
    let timer: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const next = (): void => {
      const part = Math.min(left, LONGEST_TIMER_MS);
      left -= part;
      timer = setTimeout(left > 0 ? next : done, part);
    };
    const done = (): void => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    next();
  });
}
