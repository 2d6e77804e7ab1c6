import { type Outcome, SETTLED, WorkQueue, type WorkQueueOptions } from './work-queue.ts';

/** So long, milliseconds, a hint waits: by then the reply of our own write, which it may be about, has come. */
const OWN_WRITE_MS = 50;

type Look = (call: { readonly signal: AbortSignal }) => Promise<void>;
interface Hint {
  readonly sinceMs: number;
  readonly look: Look;
}

export interface HintsOptions extends Omit<WorkQueueOptions, 'work'> {
  /** Whether a round is under way that writes the object of this key. */
  readonly isWorking: (key: string) => boolean;
}

/**
 * What watches have told and nobody has looked at yet. Most of it is about our own writes: a hint waits until none is under way, and of several about
 * one object the newest is looked at. Looks go by customer, as rounds do, so that nobody's wait for another's.
 */
export class Hints {
  readonly #options: HintsOptions;
  readonly #queue: WorkQueue;
  readonly #hints = new Map<string, Hint>();

  constructor(options: HintsOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({ ...options, work: (key, call) => this.#work(key, call) });
  }

  /** `look` tells what a change is, and what follows; it is called once for all that is told until then. */
  add(key: string, look: Look): void {
    const sinceMs = this.#hints.get(key)?.sinceMs ?? this.#options.clock.nowMs();
    this.#hints.set(key, { sinceMs, look });
    this.#queue.add(key);
  }

  /** Ends looks under way and forgets the others. Safe to call twice. */
  async stop(reason: unknown): Promise<void> {
    this.#hints.clear();
    await this.#queue.stop(reason);
  }

  async #work(key: string, call: { readonly signal: AbortSignal }): Promise<Outcome> {
    const hint = this.#hints.get(key);
    if (hint === undefined) return SETTLED;
    const leftMs = hint.sinceMs + OWN_WRITE_MS - this.#options.clock.nowMs();
    if (leftMs > 0) return { kind: 'waiting', recheckMs: leftMs };
    if (this.#options.isWorking(key)) return { kind: 'waiting', recheckMs: OWN_WRITE_MS };
    this.#hints.delete(key);
    await hint.look(call);
    return SETTLED;
  }
}
