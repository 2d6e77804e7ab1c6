import { BifrostError } from '@bifrost/types/core';
import { isUnavailable } from './failure.ts';
import { durationMs, durationText } from './quantities.ts';
import type { Session } from './session.ts';

/** How far the awaited thing is. */
export interface Stand<T> {
  /** For people: `attaching (PODS_REMAIN: ...)`. */
  readonly text: string;
  readonly done?: { readonly value: T };
  /** It will not come about by waiting. */
  readonly failed?: string;
}

export interface Wait<T> {
  /** `sidecar 1234: connected`. */
  readonly what: string;
  /** As `--timeout` has it. */
  readonly timeout: string;
  readonly look: () => Promise<Stand<T>>;
}

const PAUSE_MS = 1_000;

/**
 * Looks once a second until it is done, and shows how far it is.
 *
 * @throws {BifrostError} `WAIT_FAILED`
 * @throws {DOMException} `TimeoutError`: the work goes on without us
 */
export async function waitUntil<T>(session: Session, { what, timeout, look }: Wait<T>): Promise<T> {
  const { clock } = session.cli;
  const [limitMs, startedMs] = [durationMs(timeout, '--timeout'), clock.nowMs()];
  using progress = session.show.progress();
  for (;;) {
    const passedMs = clock.nowMs() - startedMs;
    const stand = await look().catch((error: unknown): Stand<T> => {
      if (session.signal.aborted || !isUnavailable(error)) throw error;
      return { text: 'no answer; asking again' };
    });
    // On a terminal the line stays and its time moves; elsewhere each new word is a line.
    progress.update(session.cli.stderr.isTTY === true ? `${what}: ${stand.text} (${durationText(passedMs)})` : `${what}: ${stand.text}`);
    if (stand.done !== undefined) return stand.done.value;
    if (stand.failed !== undefined)
      throw new BifrostError({
        code: 'WAIT_FAILED',
        message: `${what}: ${stand.failed}`,
        issues: [{ path: 'status', message: 'will not come about by waiting' }],
      });
    if (passedMs >= limitMs) throw new DOMException(`${what}: not within ${timeout}; the work goes on, only the waiting has ended`, 'TimeoutError');
    await clock.sleep(PAUSE_MS, { signal: session.signal });
  }
}
