import { setTimeout as pause } from 'node:timers/promises';

export interface EventuallyOptions {
  /** @default 30_000 */
  readonly timeoutMs?: number;
  /** @default 200 */
  readonly intervalMs?: number;
}

/**
 * Asks again until the probe answers with something else than undefined, null or false, and gives that. A probe that throws has not answered yet.
 * Rejects after the deadline with `what` and the last thing that the probe said.
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  { timeoutMs = 30_000, intervalMs = 200 }: EventuallyOptions = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await probe();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
    await pause(intervalMs);
  }
}

/** Asks for the whole time and rejects as soon as the probe does not hold: for what must not happen. */
export async function throughout(
  what: string,
  probe: () => Promise<boolean>,
  { timeoutMs = 3_000, intervalMs = 200 }: EventuallyOptions = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    if (!(await probe())) throw new Error(`did not hold: ${what}`);
    await pause(intervalMs);
  }
}

/** Asks again and again while `action` runs, and rejects when the probe once did not hold; gives what the action gives. */
export async function during<T>(what: string, action: () => Promise<T>, probe: () => Promise<boolean>, { intervalMs = 200 } = {}): Promise<T> {
  const ended = new AbortController();
  const running = action().finally(() => ended.abort());
  const asking = async (): Promise<void> => {
    do {
      if (!(await probe())) throw new Error(`did not hold: ${what}`);
      await pause(intervalMs, undefined, { signal: ended.signal }).catch(() => undefined);
    } while (!ended.signal.aborted);
  };
  const [result, held] = await Promise.allSettled([running, asking()]);
  if (held.status === 'rejected') throw held.reason;
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
