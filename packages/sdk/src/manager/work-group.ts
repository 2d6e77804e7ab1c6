import { afterFailure, afterSuccess, fullBudget, probePauseMs, type RetryBudget, spendCredit, spendToken } from '../domain/retry-budget.ts';

/** One customer's keys in the queue: what is ready, what is parked because the retries have spent their budget, what runs. */
export class WorkGroup {
  readonly name: string;
  /** Keys that may run as soon as there is room. */
  readonly ready = new Set<string>();
  /** Keys whose retry is due, but not paid for. The longest parked is the next to go. */
  readonly parked = new Set<string>();
  /** Keys that are known: a group without any is forgotten. */
  known = 0;
  running = 0;
  /** Ends the pause before the next probe. */
  probe: AbortController | undefined;
  /** Retries that are ready or run. */
  readonly #retrying = new Set<string>();
  #budget: RetryBudget;

  constructor(name: string, nowMs: number) {
    this.name = name;
    this.#budget = fullBudget(nowMs);
  }

  /** A retry is due: it becomes ready if the budget has a token and nobody waits for one, else it is parked. */
  admit(key: string, nowMs: number): void {
    const left = this.parked.size === 0 ? spendToken(this.#budget, nowMs) : undefined;
    if (left === undefined) {
      this.parked.add(key);
      return;
    }
    this.#budget = left;
    this.#go(key);
  }

  /** Makes parked keys ready, as far as there is credit and room: credit that is not used yet is lost when one of them fails. */
  release(places: number): void {
    while (this.running + this.ready.size < places) {
      const [key] = this.parked;
      const left = key === undefined ? undefined : spendCredit(this.#budget);
      if (key === undefined || left === undefined) return;
      this.#budget = left;
      this.#go(key);
    }
  }

  /** The longest parked key goes, to see whether it works again. */
  goAsProbe(): void {
    this.probe = undefined;
    const [key] = this.parked;
    if (key !== undefined) this.#go(key);
  }

  /** True when keys are parked and nothing under way will let them go. */
  get needsProbe(): boolean {
    return this.parked.size > 0 && this.#retrying.size === 0 && this.probe === undefined;
  }

  probePauseMs(nowMs: number, random: number): number {
    return probePauseMs(this.#budget, { nowMs, random });
  }

  succeeded(key: string): void {
    this.#budget = afterSuccess(this.#budget, { retried: this.#retrying.delete(key) });
  }

  failed(key: string, { nowMs, retryAfterMs }: { readonly nowMs: number; readonly retryAfterMs: number | undefined }): void {
    this.#budget = afterFailure(this.#budget, { retried: this.#retrying.delete(key), nowMs, retryAfterMs });
  }

  /** Neither: it has to be paid for again. */
  interrupted(key: string): void {
    this.#retrying.delete(key);
  }

  #go(key: string): void {
    this.parked.delete(key);
    this.#retrying.add(key);
    this.ready.add(key);
  }
}
