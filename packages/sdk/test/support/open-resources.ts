// Both wait without a timer: it would be counted itself.
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const open = (): number => process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Timeout/.test(name)).length;

/** Longer than the timers that whatever runs the tests has now and then. */
const LOOK_MS = 250;

/** Less than what a timer of ours would stay if it were left. */
const LIMIT_MS = 5_000;

/** How many sockets and timers this process waits for, but for what comes and goes. */
export async function openResources(): Promise<number> {
  let least = open();
  for (const startMs = performance.now(); performance.now() - startMs < LOOK_MS; least = Math.min(least, open())) await turn();
  return least;
}

/** Ends when no more are open than before. */
export async function untilNoMoreThan(before: number): Promise<void> {
  const startMs = performance.now();
  while (open() > before) {
    if (performance.now() - startMs > LIMIT_MS) throw new Error(`More than ${before} are open: ${process.getActiveResourcesInfo().join(', ')}`);
    await turn();
  }
}
