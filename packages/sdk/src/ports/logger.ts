/** How urgent a line is. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** Facts of a line, by name. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Structured log lines. A logger never throws and never waits. Fields carry names and ids, never secrets. */
export interface Logger {
  /** Writes one line. */
  log(level: LogLevel, message: string, fields?: LogFields): void;
}
