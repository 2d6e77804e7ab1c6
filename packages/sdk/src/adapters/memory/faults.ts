import { BifrostError, type ErrorCode } from '@bifrost/types/core';

/** The fault queue of a memory adapter: what `failNext` fills and each call of the port asks first. */
export class Faults {
  readonly #codes: ErrorCode[] = [];

  failNext(code: ErrorCode): void {
    this.#codes.push(code);
  }

  /** The first line of every port method: the abort wins over the injected fault. */
  enter({ signal }: { readonly signal: AbortSignal }): void {
    signal.throwIfAborted();
    const code = this.#codes.shift();
    if (code !== undefined) throw new BifrostError({ code, message: 'injected by failNext' });
  }
}
