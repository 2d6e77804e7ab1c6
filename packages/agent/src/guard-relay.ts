import { guardOrderText, isGuardHash, type ReportGuard, readGuardOrder } from '@bifrost/types/core';
import { Bell } from './bell.ts';
import type { Clock } from './ports/clock.ts';
import type { GuardFiles } from './ports/guard-files.ts';
import type { Logger } from './ports/logger.ts';

export interface GuardRelayParts {
  readonly files: GuardFiles;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The guard holds something else than before. */
  readonly onChange: () => void;
}

/** The guard looks once a second. */
const LOOK_MS = 250;
/** Later its word comes with the next report. */
const PATIENCE_MS = 30_000;

/** Hands the manager's orders to the guard, and tells what the guard says that it holds. It cannot make the guard hold anything else than rules for networks. */
export class GuardRelay {
  readonly #parts: GuardRelayParts;
  readonly #bell = new Bell();
  #received: string | undefined;
  #holds: string | undefined;
  #untilMs = Number.NEGATIVE_INFINITY;
  #refusing = false;

  constructor(parts: GuardRelayParts) {
    this.#parts = parts;
    this.#look();
  }

  /** What a report says of the guard. */
  get report(): ReportGuard {
    this.#look();
    return {
      ...(this.#holds === undefined ? {} : { holds: this.#holds }),
      ...(this.#received === undefined ? {} : { received: this.#received }),
    };
  }

  /** Takes what an answer says about the guard. What is no order is left, and so is what was handed over already. */
  take(said: unknown): void {
    const { files, clock, logger } = this.#parts;
    const order = readGuardOrder(said);
    if (order === undefined) {
      if (!this.#refusing) logger.log('warn', 'the manager sent an order for the guard that is none');
      this.#refusing = true;
      return;
    }
    this.#refusing = false;
    if (order.hash === this.#received) return;
    if (!files.put(guardOrderText(order))) {
      logger.log('warn', 'an order for the guard cannot be written');
      return;
    }
    this.#received = order.hash;
    this.#untilMs = clock.monotonicMs() + PATIENCE_MS;
    logger.log('info', 'the guard has an order', { hash: order.hash });
    this.#bell.ring();
  }

  /** Watches until the signal aborts, then rejects with its reason. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      await this.#bell.wait(this.#isWaiting() ? LOOK_MS : Number.POSITIVE_INFINITY, { signal });
      if (this.#look()) this.#parts.onChange();
    }
  }

  #isWaiting(): boolean {
    return this.#received !== undefined && this.#parts.clock.monotonicMs() < this.#untilMs;
  }

  /** True when it holds something else than at the last look. */
  #look(): boolean {
    const said = this.#parts.files.holds();
    const before = this.#holds;
    this.#holds = isGuardHash(said) ? said : undefined;
    if (this.#holds === this.#received) this.#received = undefined; // done; if it ever holds something else, it is to be told again
    return this.#holds !== before;
  }
}
