import { BifrostError } from '@bifrost/types/core';

/** How many streams of events are open, in all and of each caller: each holds a connection and some memory. */
export class Streams {
  readonly #limits: { readonly maxStreams: number; readonly maxStreamsPerCaller: number };
  readonly #open = new Map<string, number>();
  #total = 0;

  constructor(limits: { readonly maxStreams: number; readonly maxStreamsPerCaller: number }) {
    this.#limits = limits;
  }

  /** Dispose it when the stream ends. @throws {BifrostError} `STREAM_LIMIT` */
  enter(caller: string): Disposable {
    const own = this.#open.get(caller) ?? 0;
    if (this.#total >= this.#limits.maxStreams || own >= this.#limits.maxStreamsPerCaller)
      throw new BifrostError({ code: 'STREAM_LIMIT', message: 'Too many streams are open: end one, or share one among your readers.' });
    this.#open.set(caller, own + 1);
    this.#total += 1;
    let isOpen = true;
    return {
      [Symbol.dispose]: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#total -= 1;
        const left = (this.#open.get(caller) ?? 1) - 1;
        if (left === 0) this.#open.delete(caller);
        else this.#open.set(caller, left);
      },
    };
  }
}
