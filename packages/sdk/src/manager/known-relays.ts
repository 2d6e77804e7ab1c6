import { BifrostError } from '@bifrost/types/core';
import type { Relay } from '../domain/policy/relays.ts';
import type { Clock, ControlPlane } from '../ports/index.ts';
import type { Call } from './context.ts';

/** After a fault the control plane is not asked again for so long: each sidecar's round wants to know. */
const PAUSE_MS = 30_000;

const PUBLISHES_NONE: ReadonlySet<string> = new Set(['CONTROL_NOT_FOUND', 'CONTROL_ANSWER_INVALID']);

/** The control plane's relays. While it cannot be asked, what it said last. */
export class KnownRelays {
  readonly #controlPlane: ControlPlane;
  readonly #clock: Clock;
  #last: readonly Relay[] | undefined;
  #fault: { readonly error: BifrostError; readonly untilMs: number } | undefined;

  constructor(controlPlane: ControlPlane, clock: Clock) {
    this.#controlPlane = controlPlane;
    this.#clock = clock;
  }

  /** Empty: it publishes none. @throws {BifrostError} `CONTROL_RATE_LIMITED`, `CONTROL_UNAVAILABLE` — and it has not been asked with success yet */
  async read({ signal }: Call): Promise<readonly Relay[]> {
    if (this.#fault !== undefined && this.#clock.nowMs() < this.#fault.untilMs) return this.#lastOr(this.#fault.error);
    try {
      this.#last = await this.#controlPlane.relays({ signal });
      this.#fault = undefined;
      return this.#last;
    } catch (error) {
      if (!BifrostError.is(error) || signal.aborted) throw error;
      if (PUBLISHES_NONE.has(error.code)) return this.#last ?? [];
      this.#fault = { error, untilMs: this.#clock.nowMs() + PAUSE_MS };
      return this.#lastOr(error);
    }
  }

  #lastOr(error: BifrostError): readonly Relay[] {
    if (this.#last !== undefined) return this.#last;
    throw error;
  }
}
