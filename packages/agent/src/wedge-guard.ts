import type { AgentSign } from '@bifrost/types/core';
import { Bell } from './bell.ts';
import { type Look, type Suspicion, Wedge, type WedgeLimits } from './domain/wedge.ts';
import type { Clock } from './ports/clock.ts';
import type { LocalApi } from './ports/local-api.ts';
import type { Logger } from './ports/logger.ts';
import type { Surroundings } from './ports/surroundings.ts';
import { extra } from './surveyor.ts';

export interface WedgeGuardParts {
  readonly localApi: LocalApi;
  readonly surroundings: Surroundings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: WedgeLimits;
  readonly onChange: () => void;
}

/** What the last question to a silent daemon may take. */
const MAX_LAST_MS = 5000;

/** Says whether the daemon runs and does not work: what the tailscale container's liveness probe asks for. Never on a first suspicion. */
export class WedgeGuard {
  readonly #parts: WedgeGuardParts;
  readonly #wedge: Wedge;
  readonly #bell = new Bell();

  constructor(parts: WedgeGuardParts) {
    this.#parts = parts;
    this.#wedge = new Wedge(parts.limits);
  }

  get isWedged(): boolean {
    return this.#wedge.verdict === 'wedged';
  }

  get episodes(): number {
    return this.#wedge.episodes;
  }

  get signs(): readonly AgentSign[] {
    const { verdict } = this.#wedge;
    return verdict === 'fine' ? [] : verdict === 'wedged' ? ['daemon-wedged'] : ['wedge-limit'];
  }

  note(look: Look): void {
    this.#wedge.observe(look, this.#parts.clock.monotonicMs());
    this.#bell.ring();
  }

  /** Watches until the signal aborts, then rejects with its reason. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#parts;
    for (;;) {
      await this.#bell.wait(this.#wedge.dueInMs(clock.monotonicMs()), { signal });
      const suspicion = this.#wedge.suspicion(clock.monotonicMs());
      if (suspicion === undefined) continue;
      const isTrue = await this.#holds(suspicion, signal);
      if (this.#wedge.suspicion(clock.monotonicMs()) !== suspicion) continue; // it answered meanwhile
      this.#settle(suspicion, isTrue);
    }
  }

  #settle(suspicion: Suspicion, isTrue: boolean): void {
    const { clock, logger, onChange } = this.#parts;
    if (isTrue) this.#wedge.confirm(suspicion, clock.monotonicMs());
    else this.#wedge.dismiss(clock.monotonicMs());
    if (isTrue) logger.log('error', this.isWedged ? 'daemon is wedged' : 'daemon is wedged, and that was said often enough', { because: suspicion });
    onChange();
  }

  /**
   * A daemon that waits for its control plane has no state either, and warns of it only where the control plane refuses (seen with 1.102.5): it is
   * wedged only if it is to run and the control plane answers us.
   */
  async #holds(suspicion: Suspicion, signal: AbortSignal): Promise<boolean> {
    const { localApi, surroundings, limits } = this.#parts;
    if (suspicion === 'silence') return !(await localApi.answers({ signal, timeoutMs: Math.min(limits.silenceMs, MAX_LAST_MS) }));
    const prefs = await extra(() => localApi.prefs({ signal }), signal);
    return prefs?.wantsToRun === true && (await surroundings.controlAnswers(prefs.controlUrl, { signal }));
  }
}
