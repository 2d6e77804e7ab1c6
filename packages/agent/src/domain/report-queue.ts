import type { ReportReason } from '@bifrost/types/core';

/** A report ready to send. */
export interface QueuedReport {
  readonly seq: number;
  readonly reason: ReportReason;
  /** Its JSON. */
  readonly body: string;
}

/**
 * Reports that wait for the manager, in order. A waiting heartbeat gives way to whatever comes after it, since every report carries the whole
 * state; of the others the oldest go first when there is no more room. The one in flight stays.
 */
export class ReportQueue {
  readonly #waiting: QueuedReport[] = [];
  readonly #limit: number;
  #inFlight = false;
  /** Heartbeats that a newer report made needless. */
  superseded = 0;
  /** Reports lost for want of room. */
  overflowed = 0;

  constructor(limit = 32) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#waiting.length;
  }

  push(report: QueuedReport): void {
    const first = this.#inFlight ? 1 : 0;
    const beat = this.#waiting.findIndex(({ reason }, index) => index >= first && reason === 'heartbeat');
    if (beat >= 0) {
      this.#waiting.splice(beat, 1);
      this.superseded += 1;
    }
    if (this.#waiting.length >= this.#limit) {
      this.#waiting.splice(first, 1);
      this.overflowed += 1;
    }
    this.#waiting.push(report);
  }

  /** The oldest, now in flight until `settle`. */
  take(): QueuedReport | undefined {
    this.#inFlight = this.#waiting.length > 0;
    return this.#waiting[0];
  }

  /** Ends the flight: a report that is done leaves the queue, another waits in its old place. */
  settle(done: boolean): void {
    this.#inFlight = false;
    if (done) this.#waiting.shift();
  }
}
