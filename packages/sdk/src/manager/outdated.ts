import { BifrostError } from '@bifrost/types/core';
import type { Clock } from '../ports/index.ts';

interface Version {
  readonly key: string;
  readonly version: string;
}

/** So long a version counts as over; then a conflict may have had another reason. */
const OVER_FOR_MS = 3_000;

/**
 * Versions of stored objects that a write of the loop has ended, or found ended. A read that still answers one is older than that write: a round that goes
 * by it asks for everything around it, and in the end its own write is refused.
 */
export class Outdated {
  readonly #clock: Pick<Clock, 'nowMs'>;
  /** Until when each counts, the oldest first. */
  readonly #over = new Map<string, number>();
  readonly #written = new WeakSet<object>();

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
  }

  /** Makes a write of `current`: when it went through, and when it was refused because of its version, that version is over. */
  async replacing<T extends Version>(kind: string, current: Version, write: () => Promise<T>): Promise<T> {
    try {
      const written = { ...(await write()) }; // a later read may give the very object again
      if (written.version !== current.version) this.end(kind, current);
      this.#written.add(written);
      return written;
    } catch (error) {
      if (BifrostError.is(error) && error.code === 'STORE_CONFLICT') this.end(kind, current);
      throw error;
    }
  }

  /** @throws {BifrostError} `STORE_CONFLICT` — what was read is over: it is read again */
  refuse(kind: string, read: Version | undefined): void {
    if (read === undefined) return;
    const untilMs = this.#over.get(nameOf(kind, read));
    if (untilMs === undefined || untilMs <= this.#clock.nowMs()) return;
    throw new BifrostError({ code: 'STORE_CONFLICT', message: `The ${kind} was answered in a version that is over; it is read again.` });
  }

  /** What a write answered, and no read: it was stored so in this round. */
  isWritten(stored: Version): boolean {
    return this.#written.has(stored);
  }

  /** That version was the last, or another has come. */
  end(kind: string, version: Version): void {
    const nowMs = this.#clock.nowMs();
    for (const [known, untilMs] of this.#over) {
      if (untilMs > nowMs) break;
      this.#over.delete(known);
    }
    const name = nameOf(kind, version);
    this.#over.delete(name); // to the end of the order
    this.#over.set(name, nowMs + OVER_FOR_MS);
  }
}

const nameOf = (kind: string, { key, version }: Version): string => `${kind}:${key}:${version}`;
