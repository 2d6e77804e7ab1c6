import type { ReportReason } from '@bifrost/types/core';
import { Bell } from './bell.ts';
import { backoffMs } from './domain/backoff.ts';
import type { ReportCounts } from './domain/metrics.ts';
import { ReportQueue } from './domain/report-queue.ts';
import { HEARTBEAT_BOUNDS_MS } from './domain/settings.ts';
import type { Clock } from './ports/clock.ts';
import type { Delivery, Ingest } from './ports/ingest.ts';
import type { Logger } from './ports/logger.ts';
import { together } from './together.ts';

export interface ReporterParts {
  readonly ingest: Ingest;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Until the manager wishes for another interval. */
  readonly heartbeatMs: number;
  /** The JSON of a report about what is seen now. */
  readonly build: (report: { readonly seq: number; readonly reason: ReportReason }) => string;
  /** An answer says something about the guard. */
  readonly onGuard?: (said: unknown) => void;
}

const RETRY = { baseMs: 500, maxMs: 15_000, maxBeats: 1.5 } as const;
/** What the last words may take. */
const FAREWELL_MS = 500;

/** Sends reports in order, one at a time; keeps what the manager could not take, in bounded memory, and tells it afterwards. */
export class Reporter {
  readonly #parts: ReporterParts;
  readonly #queue = new ReportQueue();
  readonly #sendBell = new Bell();
  readonly #beatBell = new Bell();
  readonly #farewell = new AbortController();
  #intervalMs: number;
  #nextBeatMs = 0;
  #seq = 0;
  #sent = 0;
  #failed = 0;
  #refused = 0;
  #troubled = false;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
    this.#intervalMs = parts.heartbeatMs;
  }

  /** Between heartbeats, as the manager wishes; milliseconds. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  get counts(): ReportCounts {
    const { size, superseded, overflowed } = this.#queue;
    return { sent: this.#sent, failed: this.#failed, refused: this.#refused, buffered: size, superseded, overflowed };
  }

  /** Takes a report about now into the queue. Each one stands for a heartbeat. */
  push(reason: ReportReason): void {
    const seq = this.#seq++;
    this.#queue.push({ seq, reason, body: this.#parts.build({ seq, reason }) });
    this.#planBeat();
    this.#sendBell.ring();
  }

  /** Sends until the signal aborts; then says `stop` and what is left, as far as half a second reaches, and resolves. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const stop = () => {
      this.push('stop');
      timer = setTimeout(() => this.#farewell.abort(), FAREWELL_MS);
    };
    signal.addEventListener('abort', stop, { once: true }); // before the loops' own listeners: `stop` is in the queue when they wake
    try {
      if (signal.aborted) stop();
      await together([(each) => this.#beatLoop(each), (each) => this.#sendLoop(each)], signal);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  #planBeat(): void {
    this.#nextBeatMs = this.#parts.clock.monotonicMs() + this.#intervalMs * (0.9 + 0.2 * this.#parts.clock.random());
  }

  async #beatLoop(signal: AbortSignal): Promise<void> {
    for (;;) {
      const waitMs = this.#nextBeatMs - this.#parts.clock.monotonicMs();
      if (waitMs <= 0) this.push('heartbeat');
      else await this.#beatBell.wait(waitMs, { signal });
    }
  }

  async #sendLoop(signal: AbortSignal): Promise<void> {
    for (let failures = 0; ; ) {
      const report = this.#queue.take();
      if (!report) {
        if (signal.aborted) return;
        await this.#pause(Number.POSITIVE_INFINITY, signal);
        continue;
      }
      const delivery = await this.#deliver(report.body);
      if (!delivery) return;
      this.#queue.settle(delivery.kind !== 'later');
      this.#note(delivery);
      if (delivery.kind !== 'later') failures = 0;
      else if (signal.aborted) return;
      else await this.#retryPause(++failures, delivery.retryAfterMs, signal);
    }
  }

  /** Undefined once even the last words have taken too long. */
  async #deliver(body: string): Promise<Delivery | undefined> {
    try {
      return await this.#parts.ingest.send(body, { signal: this.#farewell.signal });
    } catch (error) {
      if (this.#farewell.signal.aborted) return undefined;
      throw error;
    }
  }

  async #retryPause(attempt: number, retryAfterMs: number | undefined, signal: AbortSignal): Promise<void> {
    // A manager that has just come waits for a few heartbeats before it calls an instance silent: it must hear of us before.
    const maxMs = Math.min(RETRY.maxMs, RETRY.maxBeats * this.#intervalMs);
    const { clock } = this.#parts;
    const untilMs = clock.monotonicMs() + backoffMs({ attempt, random: clock.random(), retryAfterMs, baseMs: RETRY.baseMs, maxMs });
    // New reports ring too; they wait in the queue until the pause is over.
    for (let leftMs = 1; leftMs > 0 && !signal.aborted; leftMs = untilMs - clock.monotonicMs())
      await this.#pause(Math.max(1, untilMs - clock.monotonicMs()), signal);
  }

  /** Ends at a ring, when time is up, and at the order to stop, which here is no error. */
  async #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#sendBell.wait(milliseconds, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #note(delivery: Delivery): void {
    const { logger } = this.#parts;
    if (delivery.kind === 'taken') {
      this.#sent += 1;
      if (this.#troubled) logger.log('info', 'manager takes reports again', { buffered: this.#queue.size });
      this.#troubled = false;
      this.#adopt(delivery.nextHeartbeatMs);
      if (delivery.guard !== undefined) this.#parts.onGuard?.(delivery.guard);
      return;
    }
    if (delivery.kind === 'refused') this.#refused += 1;
    this.#failed += 1;
    if (!this.#troubled) logger.log('warn', 'manager does not take reports', { reason: delivery.reason });
    this.#troubled = true;
  }

  #adopt(wishMs: number | undefined): void {
    if (wishMs === undefined) return;
    const intervalMs = Math.min(HEARTBEAT_BOUNDS_MS.max, Math.max(HEARTBEAT_BOUNDS_MS.min, wishMs));
    if (intervalMs === this.#intervalMs) return;
    this.#intervalMs = intervalMs;
    this.#planBeat();
    this.#beatBell.ring();
  }
}
