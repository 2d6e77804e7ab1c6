import type { Writable } from 'node:stream';
import type { LogFields, Logger, LogLevel } from '../../ports/logger.ts';

const LEVELS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Options of {@link streamLogger}. */
export interface StreamLoggerOptions {
  /** The lowest level that is written. @default 'info' */
  readonly level?: LogLevel;
  /** Bytes that may wait in the stream; beyond them lines are dropped and their number is told in a later line. @default 1048576 */
  readonly maxBufferedBytes?: number;
  /** Milliseconds since the Unix epoch. Default: the system's. */
  readonly nowMs?: () => number;
}

/**
 * A logger that writes one JSON object per line: `time` (RFC 3339), `level`, `message`, then the fields. It never throws and never waits; lines
 * for a stream that has failed or ended are lost. The stream stays the caller's: it is neither ended nor flushed here.
 *
 * @example
 * const logger = streamLogger(process.stderr, { level: 'debug' });
 */
export function streamLogger(writable: Writable, options: StreamLoggerOptions = {}): Logger {
  const { level: lowest = 'info', maxBufferedBytes = 1_048_576, nowMs = () => Date.now() } = options;
  let dropped = 0;
  const write = (level: LogLevel, message: string, fields: LogFields): void => {
    writable.write(`${JSON.stringify({ ...fields, time: new Date(nowMs()).toISOString(), level, message })}\n`);
  };
  writable.on('error', () => {}); // a broken pipe must not end the process through its logger
  return {
    log(level, message, fields = {}) {
      if (LEVELS[level] < LEVELS[lowest] || !writable.writable) return;
      if (writable.writableLength > maxBufferedBytes) {
        dropped += 1;
        return;
      }
      try {
        if (dropped > 0) write('warn', 'log lines were dropped: the stream is slow', { dropped });
        dropped = 0;
        write(level, message, fields);
      } catch {
        dropped += 1; // a field that JSON cannot hold, or a stream that throws: a logger never throws
      }
    },
  };
}
