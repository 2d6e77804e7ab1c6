import { BifrostError } from '@bifrost/types/core';
import type { Relay } from '../domain/policy/relays.ts';
import type { Clock, ControlPlane } from '../ports/index.ts';
import type { Call } from './context.ts';

/** Where it publishes none, and after a fault while something is known, the control plane is not asked again for so long: each sidecar's round wants to know. */
const PAUSE_MS = 30_000;
/** After a fault while nothing is known, as when a manager has just started: every first attach waits for the answer. */
const UNKNOWN_PAUSE_MS = 1_000;

const PUBLISHES_NONE: ReadonlySet<string> = new Set(['CONTROL_NOT_FOUND', 'CONTROL_ANSWER_INVALID']);

/** The control plane's relays. While it cannot be asked, what it said last. */
export class KnownRelays {
  readonly #controlPlane: Pick<ControlPlane, 'relays'>;
  readonly #clock: Pick<Clock, 'nowMs'>;
  #last: readonly Relay[] | undefined;
  #failed: { readonly error: BifrostError; readonly untilMs: number } | undefined;

  constructor(controlPlane: Pick<ControlPlane, 'relays'>, clock: Pick<Clock, 'nowMs'>) {
    this.#controlPlane = controlPlane;
    this.#clock = clock;
  }

  /** Empty: it publishes none. @throws {BifrostError} `CONTROL_RATE_LIMITED`, `CONTROL_UNAVAILABLE` — and it has not been asked with success yet */
  async read({ signal }: Call): Promise<readonly Relay[]> {
    if (this.#failed !== undefined && this.#clock.nowMs() < this.#failed.untilMs) return this.#lastOr(this.#failed.error);
    try {
      this.#last = await this.#controlPlane.relays({ signal });
      this.#failed = undefined;
      return this.#last;
    } catch (error) {
      if (!BifrostError.is(error) || signal.aborted) throw error;
      const isAwaited = this.#last === undefined && !PUBLISHES_NONE.has(error.code);
      const askedForMs = Math.min(Math.max(UNKNOWN_PAUSE_MS, error.retryAfterMs ?? 0), PAUSE_MS);
      this.#failed = { error, untilMs: this.#clock.nowMs() + (isAwaited ? askedForMs : PAUSE_MS) };
      return this.#lastOr(error);
    }
  }

  #lastOr(error: BifrostError): readonly Relay[] {
    if (this.#last !== undefined) return this.#last;
    if (PUBLISHES_NONE.has(error.code)) return [];
    throw error;
  }
}
