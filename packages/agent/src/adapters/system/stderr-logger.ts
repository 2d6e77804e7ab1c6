import { writeSync } from 'node:fs';
import type { Logger } from '../../ports/logger.ts';

const STDERR = 2;

/** One JSON line on stderr for each call. Written directly: a stream object for it costs memory that this process does not have to spend. */
export const stderrLogger: Logger = {
  log(level, message, fields = {}) {
    try {
      writeSync(STDERR, `${JSON.stringify({ at: new Date().toISOString(), level, message, ...fields })}\n`);
    } catch {
      // Nobody reads, or the pipe is full: a log line is not worth the process.
    }
  },
};
