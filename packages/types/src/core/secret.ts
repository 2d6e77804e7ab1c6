const hidden = '[secret]';

/**
 * A value that must not be printed: auth keys, client secrets, tokens. It prints as `[secret]` in template strings,
 * `JSON.stringify`, `console.log` and `util.inspect`; only {@link Secret.reveal} gives the value.
 */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  /** The value itself. Call it only where the value leaves for its one destination. */
  reveal(): string {
    return this.#value;
  }
  /** Hides the value. */
  toString(): string {
    return hidden;
  }
  /** Hides the value. */
  toJSON(): string {
    return hidden;
  }
  /** Hides the value. */
  [Symbol.toPrimitive](): string {
    return hidden;
  }
  /** Hides the value. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return hidden;
  }
}
