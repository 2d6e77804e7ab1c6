import { pause } from '../../support/pause.ts';

export interface Lasting {
  readonly leastMs: number;
  readonly mostMs: number;
  /** What goes wrong has been met often enough. */
  readonly isMet: () => boolean;
  readonly everyMs: number;
  /** Hints, again and again: without work nothing is asked. */
  readonly meanwhile: () => Promise<void>;
}

/** So long lasts what goes wrong, and until it was met: a busy machine has few rounds in a time, and what nobody met has tried nothing. */
export async function lasting({ leastMs, mostMs, isMet, everyMs, meanwhile }: Lasting): Promise<void> {
  const fromMs = performance.now();
  for (let sinceMs = 0; sinceMs < leastMs || (!isMet() && sinceMs < mostMs); sinceMs = performance.now() - fromMs) {
    await meanwhile();
    await pause(everyMs);
  }
}
