import type { Clock } from '../ports/index.ts';

/** Tells when nothing was told for a while: one sleep at a time, however much is told. Due at its start, so that the first thing told may be where one begins. */
export class Heartbeat implements Disposable {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #onDue: () => void;
  readonly #stop = new AbortController();
  #isDue = true;
  #toldAtMs: number;

  constructor({ clock, everyMs, onDue }: { readonly clock: Clock; readonly everyMs: number; readonly onDue: () => void }) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#onDue = onDue;
    this.#toldAtMs = clock.nowMs();
    this.#run().catch(() => {}); // it ends by its own stop only
  }

  get isDue(): boolean {
    return this.#isDue;
  }

  /** Something was told: the time begins anew. */
  told(): void {
    this.#isDue = false;
    this.#toldAtMs = this.#clock.nowMs();
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    for (let leftMs = this.#everyMs; ; leftMs = this.#isDue ? this.#everyMs : this.#leftMs()) {
      await this.#clock.sleep(leftMs, { signal: this.#stop.signal });
      if (this.#leftMs() > 0) continue;
      this.#isDue = true;
      this.#onDue();
    }
  }

  /** At most the whole time: a clock that was put back must not silence it. */
  #leftMs(): number {
    return Math.min(this.#toldAtMs + this.#everyMs - this.#clock.nowMs(), this.#everyMs);
  }
}
