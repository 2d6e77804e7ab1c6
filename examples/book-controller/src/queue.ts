import { BifrostError, type Logger } from '@bifrost/sdk';

/** One round of work on a key. Answers how long it may take until the next look, in milliseconds; undefined: only when it is asked for. */
export type Round = (key: string, options: { readonly signal: AbortSignal }) => Promise<number | undefined>;

interface Entry {
  running: Promise<void> | undefined;
  /** A hint came that the present round may not have seen. */
  again: boolean;
  failures: number;
  timer: NodeJS.Timeout | undefined;
}

const BASE_MS = 500;
const LONGEST_MS = 60_000;
/** A round that lived so long had no trouble from the start. */
const STABLE_MS = 30_000;

/**
 * Level-triggered work: a key runs once at a time, hints melt together. The only place that knows when to try again: a round that throws waits, longer
 * each time, and hints do not shorten that.
 */
export class Queue implements AsyncDisposable {
  readonly #round: Round;
  readonly #logger: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #stopping = new AbortController();

  constructor(round: Round, logger: Logger) {
    this.#round = round;
    this.#logger = logger;
  }

  /** Asks for a round, now. */
  add(key: string): void {
    if (this.#stopping.signal.aborted) return;
    const entry = this.#entries.get(key) ?? { running: undefined, again: false, failures: 0, timer: undefined };
    this.#entries.set(key, entry);
    if (entry.running !== undefined) entry.again = true;
    else if (entry.failures === 0) this.#start(key, entry);
  }

  /** Ends what runs, and waits for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new DOMException('the controller stops', 'AbortError'));
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
    await Promise.all([...this.#entries.values()].map(({ running }) => running));
  }

  #start(key: string, entry: Entry): void {
    clearTimeout(entry.timer);
    entry.again = false;
    entry.running = this.#run(key, entry);
  }

  async #run(key: string, entry: Entry): Promise<void> {
    const { signal } = this.#stopping;
    const begunMs = performance.now();
    let nextMs: number | undefined;
    try {
      nextMs = await this.#round(key, { signal });
      entry.failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      entry.failures = performance.now() - begunMs > STABLE_MS ? 1 : entry.failures + 1;
      entry.again = false; // the next round sees whatever it was
      nextMs = Math.min(LONGEST_MS, BASE_MS * 2 ** (entry.failures - 1)) * (0.5 + Math.random() / 2);
      const [told] = BifrostError.is(error) ? [error.code] : String(error).split('\n'); // the API server's whole answer follows in some
      this.#logger.log('warn', 'will try again', { key, error: told, delayMs: Math.round(nextMs) });
    }
    entry.running = undefined;
    if (signal.aborted) return;
    if (entry.again) this.#start(key, entry);
    else if (nextMs === undefined) this.#entries.delete(key);
    else entry.timer = setTimeout(() => this.#start(key, entry), nextMs);
  }
}
