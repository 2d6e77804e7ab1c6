export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Structured log lines. A logger never throws and never waits. Fields carry names and ids, never secrets. */
export interface Logger {
  log(level: LogLevel, message: string, fields?: LogFields): void;
}
