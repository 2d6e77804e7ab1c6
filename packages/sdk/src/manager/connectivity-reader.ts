import { BifrostError, type ConnectivityEvent } from '@bifrost/types/core';
import type { ConnectivityHistory, Follower, Happening } from './connectivity-history.ts';

/** Events that a reader may be behind what happens. */
const CAPACITY = 1024;

/**
 * One reader's place in the history. It keeps a position and no events. What it resumed from may be any number of events back; of what happens while it
 * reads, it may be 1024 behind.
 */
export class ConnectivityReader implements Follower, Disposable {
  readonly #history: ConnectivityHistory;
  readonly #passes: (happening: Happening) => boolean;
  readonly #following: Disposable;
  /** What happens from here on counts. */
  readonly #liveFrom: number;
  /** The next that it has to look at: everything before has been given, or does not pass. */
  #position: number;
  #behind = 0;
  #lostFrom: number | undefined;
  #wake = (): void => {};

  constructor(history: ConnectivityHistory, { position, passes }: { readonly position: number; readonly passes: (happening: Happening) => boolean }) {
    this.#history = history;
    this.#passes = passes;
    this.#position = position;
    this.#liveFrom = history.end;
    this.#following = history.follow(this);
  }

  came(happening: Happening, position: number): void {
    if (!this.#passes(happening)) {
      if (this.#position === position) this.#position += 1;
    } else if (this.#lostFrom === undefined) {
      if (this.#behind === CAPACITY) this.#lostFrom = position;
      else this.#behind += 1;
      this.#wake();
    }
  }

  /** The next event, if there is one. @throws {BifrostError} `STREAM_OVERFLOW` after what was kept */
  take(): ConnectivityEvent | undefined {
    const end = this.#lostFrom ?? this.#history.end;
    while (this.#position < end) {
      const happening = this.#history.at(this.#position);
      if (happening === undefined) throw this.#overflow();
      const position = this.#position;
      this.#position += 1;
      if (!this.#passes(happening)) continue;
      if (position >= this.#liveFrom) this.#behind -= 1;
      return this.#history.eventAt(position);
    }
    if (this.#lostFrom !== undefined) throw this.#overflow();
    return undefined;
  }

  /** Where a stream goes on that comes after this one. */
  get resumeToken(): string {
    return this.#history.tokenAt(this.#position);
  }

  /** Resolves when there may be something to take, or `wake` is called. */
  woken(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  wake(): void {
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.#following[Symbol.dispose]();
  }

  #overflow(): BifrostError {
    return new BifrostError({
      code: 'STREAM_OVERFLOW',
      message: `The reader fell more than ${CAPACITY} events behind: open the stream again with the token in details.resumeToken.`,
      details: { resumeToken: this.resumeToken },
    });
  }
}
