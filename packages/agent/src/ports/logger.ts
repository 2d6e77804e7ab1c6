export type LogLevel = 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Structured log lines. Never throws, never waits. Fields carry names and codes, never secrets. */
export interface Logger {
  log(level: LogLevel, message: string, fields?: LogFields): void;
}
