import type { CallOptions } from './store.ts';

/** One change, or one refusal. */
export interface AuditRecord {
  readonly atMs: number;
  /** `manager` for what the loop does by itself, else the caller's own word for itself. */
  readonly actor: string;
  /** e.g. `createTailnet`. */
  readonly action: string;
  readonly customerId?: string;
  /** Tailnet name or sidecar id. */
  readonly subject: string;
  /** `accepted`, or the error code. */
  readonly outcome: string;
}

/** Takes audit records, in order. */
export interface AuditSink {
  /**
   * Resolves once the record is where it is kept. A call that changes something is refused when this rejects: nothing happens unrecorded.
   * Rejects with `signal.reason` itself when aborted before the record was taken.
   */
  append(record: AuditRecord, options: CallOptions): Promise<void>;
}
