import { setImmediate } from 'node:timers/promises';

/** How many sockets and timers this process waits for: its own, and those of whatever runs the test. */
export const openResources = (): number => process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Timeout/.test(name)).length;

/** Less than what a timer of ours would stay if it were left. */
const LIMIT_MS = 5_000;

/** Ends when no more are open than before. Without a timer: whatever waits by one would be counted itself. */
export async function untilNoMoreThan(before: number): Promise<void> {
  const startMs = performance.now();
  while (openResources() > before) {
    if (performance.now() - startMs > LIMIT_MS) throw new Error(`${openResources()} are open, ${before} were: ${process.getActiveResourcesInfo()}`);
    await setImmediate();
  }
}
