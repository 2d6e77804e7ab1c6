import type { AuditSink, Logger } from '../ports/index.ts';

/** What stands where nobody gave a logger, or an audit sink. */
export const silentLogger: Logger = { log: () => {} };
export const unrecorded: AuditSink = { append: async () => {} };
