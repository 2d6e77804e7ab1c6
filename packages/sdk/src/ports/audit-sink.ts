import type { CallOptions } from './store.ts';

/** The request that a door took. */
export interface AuditedRequest {
  readonly requestId: string;
  /** W3C trace context, as it came. */
  readonly traceparent?: string;
  /** As the API calls it: `CreateTailnet`. */
  readonly method: string;
  /** SHA-256 of what was asked for, hex: two records of the same wish can be told. */
  readonly requestSha256?: string;
}

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
  /** Absent for what did not come through a door. */
  readonly request?: AuditedRequest;
}

/** Takes audit records, in order. */
export interface AuditSink {
  /**
   * Resolves once the record is where it is kept. A call that changes something is refused when this rejects: nothing happens unrecorded.
   * Rejects with `signal.reason` itself when aborted before the record was taken.
   */
  append(record: AuditRecord, options: CallOptions): Promise<void>;
}
