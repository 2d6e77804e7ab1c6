import type { LogFields, Logger, LogLevel } from '../../ports/logger.ts';

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that keeps its lines, for tests: the newest `capacity` of all levels. */
export class MemoryLogger implements Logger {
  readonly #lines: LogLine[] = [];
  readonly #capacity: number;

  constructor(options: { /** @default 10000 */ readonly capacity?: number } = {}) {
    this.#capacity = options.capacity ?? 10_000;
  }

  /** A copy, oldest first. */
  get lines(): readonly LogLine[] {
    return [...this.#lines];
  }

  /** Keeps the line. */
  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    this.#lines.push({ level, message, fields: { ...fields } });
    if (this.#lines.length > this.#capacity) this.#lines.shift();
  }
}

/** A logger that says nothing. */
export function silentLogger(): Logger {
  return { log: () => {} };
}
