import { setImmediate } from 'node:timers/promises';
import type { Call } from './context.ts';

/** As long as nobody else waits, milliseconds. */
const TURN_MS = 20;

/** For work that takes seconds: asked between parts of it, it says when others are to have their turn, reports of agents above all. Rejects with `signal.reason`. */
export function turns({ signal }: Call): () => Promise<void> | undefined {
  let sinceMs = performance.now();
  return () => {
    if (performance.now() - sinceMs < TURN_MS) return undefined;
    return setImmediate().then(() => {
      signal.throwIfAborted();
      sinceMs = performance.now();
    });
  };
}
