/** Repeatable chance: the same seed gives the same numbers on every machine. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  shuffled<T>(items: readonly T[]): T[] {
    const rest = [...items];
    for (let index = rest.length - 1; index > 0; index -= 1) {
      const other = this.below(index + 1);
      [rest[index], rest[other]] = [rest[other] as T, rest[index] as T];
    }
    return rest;
  }
}

/** The seed of this run: given, to repeat one, or new. */
export const seedOf = (given: string | undefined): number => (given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given));
