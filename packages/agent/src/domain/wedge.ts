/** What one look at the daemon gave: an answer (with a state, or still without one), silence, nobody there, or something else such as an error. */
export type Look = 'answer' | 'no-state' | 'silence' | 'gone' | 'other';
/** Why it may be wedged; to be confirmed by another look, from another side. */
export type Suspicion = 'silence' | 'no-state';

export interface WedgeLimits {
  /** A daemon that answered before and is silent for so long is suspected. Milliseconds. */
  readonly silenceMs: number;
  /** One that answers, and has no state for so long, is suspected. Milliseconds. */
  readonly noStateMs: number;
  /** Within an hour it is called wedged no more often than this: who restarts it would otherwise do so for ever. */
  readonly episodesPerHour: number;
}

const HOUR_MS = 3_600_000;

/**
 * Tells a daemon that runs and does not work from one that is away, restarts, or has trouble with the network. Times are monotonic milliseconds.
 *
 * `limited`: it is wedged, and that was said as often as an hour allows.
 */
export class Wedge {
  readonly #limits: WedgeLimits;
  #verdict: 'fine' | 'wedged' | 'limited' = 'fine';
  #because: Suspicion | undefined;
  #hasAnswered = false;
  #silentSinceMs: number | undefined;
  #statelessSinceMs: number | undefined;
  #episodes: readonly number[] = [];
  #count = 0;

  constructor(limits: WedgeLimits) {
    this.#limits = limits;
  }

  get verdict(): 'fine' | 'wedged' | 'limited' {
    return this.#verdict;
  }

  /** How often it was called wedged since the agent started. */
  get episodes(): number {
    return this.#count;
  }

  observe(look: Look, nowMs: number): void {
    if (look === 'silence') {
      // Who has never answered may still be starting: that is the start-up probe's business.
      if (this.#hasAnswered) this.#silentSinceMs ??= nowMs;
      return;
    }
    if (look !== 'other') this.#hasAnswered = look !== 'gone';
    this.#silentSinceMs = undefined;
    if (look === 'no-state') this.#statelessSinceMs ??= nowMs;
    else if (look !== 'other') this.#statelessSinceMs = undefined;
    if (this.#because === 'silence' || this.#statelessSinceMs === undefined) this.#clear();
  }

  /** Milliseconds until there is something to confirm; infinite while nothing is suspicious. */
  dueInMs(nowMs: number): number {
    return Math.max(0, Math.min(this.#silenceDueMs(), this.#noStateDueMs()) - nowMs);
  }

  suspicion(nowMs: number): Suspicion | undefined {
    if (this.#silenceDueMs() <= nowMs) return 'silence';
    return this.#noStateDueMs() <= nowMs ? 'no-state' : undefined;
  }

  /** The suspicion is true. */
  confirm(suspicion: Suspicion, nowMs: number): void {
    this.#because = suspicion;
    this.#episodes = this.#episodes.filter((atMs) => nowMs - atMs < HOUR_MS);
    if (this.#episodes.length >= this.#limits.episodesPerHour) {
      this.#verdict = 'limited';
      return;
    }
    this.#verdict = 'wedged';
    this.#episodes = [...this.#episodes, nowMs];
    this.#count += 1;
  }

  /** The suspicion is not true: its time starts again. */
  dismiss(nowMs: number): void {
    this.#clear();
    if (this.#silentSinceMs !== undefined) this.#silentSinceMs = nowMs;
    if (this.#statelessSinceMs !== undefined) this.#statelessSinceMs = nowMs;
  }

  #clear(): void {
    this.#verdict = 'fine';
    this.#because = undefined;
  }

  #silenceDueMs(): number {
    return this.#dueMs(this.#silentSinceMs, this.#limits.silenceMs);
  }

  #noStateDueMs(): number {
    return this.#dueMs(this.#statelessSinceMs, this.#limits.noStateMs);
  }

  #dueMs(sinceMs: number | undefined, patienceMs: number): number {
    if (sinceMs === undefined || this.#verdict === 'wedged') return Number.POSITIVE_INFINITY;
    const [oldest] = this.#episodes;
    return Math.max(sinceMs + patienceMs, this.#verdict === 'limited' && oldest !== undefined ? oldest + HOUR_MS : 0);
  }
}
