/** What a caller may do about an error: nothing, or the same call again after a pause. */
export type RetryAdvice = 'never' | 'backoff';

interface CodeEntry {
  readonly retry: RetryAdvice;
  /** Status for REST doors. */
  readonly http: number;
  /** Numeric google.rpc.Code for gRPC doors. */
  readonly grpc: number;
}

/**
 * The closed list of error codes, each with its retry advice and the status of both network doors.
 * A code never changes its meaning; a new situation gets a new code.
 */
export const ERROR_CODES = {
  // What the caller sent or asked for.
  INVALID_ARGUMENT: { retry: 'never', http: 400, grpc: 3 },
  INVALID_OPTIONS: { retry: 'never', http: 400, grpc: 3 },
  TAILNET_NOT_FOUND: { retry: 'never', http: 404, grpc: 5 },
  TAILNET_EXISTS: { retry: 'never', http: 409, grpc: 6 },
  TAILNET_IN_USE: { retry: 'never', http: 409, grpc: 9 },
  TAILNET_DELETING: { retry: 'backoff', http: 409, grpc: 9 },
  SIDECAR_NOT_FOUND: { retry: 'never', http: 404, grpc: 5 },
  SIDECAR_EXISTS: { retry: 'never', http: 409, grpc: 6 },
  HOSTNAME_TAKEN: { retry: 'never', http: 409, grpc: 6 },
  WORKLOAD_NOT_FOUND: { retry: 'never', http: 404, grpc: 5 },
  WORKLOAD_AMBIGUOUS: { retry: 'never', http: 409, grpc: 9 },
  WORKLOAD_UNSUPPORTED: { retry: 'never', http: 422, grpc: 9 },
  CUSTOMER_MISMATCH: { retry: 'never', http: 403, grpc: 7 },
  FIELD_CONFLICT: { retry: 'never', http: 409, grpc: 9 },
  POD_SECURITY_FORBIDDEN: { retry: 'never', http: 422, grpc: 9 },
  CLUSTER_RANGES_UNKNOWN: { retry: 'never', http: 422, grpc: 9 },
  ROUTE_CONFLICT: { retry: 'never', http: 409, grpc: 9 },
  ATTACH_TIMEOUT: { retry: 'never', http: 504, grpc: 4 },
  TAILNET_NOT_ACCEPTED: { retry: 'never', http: 409, grpc: 9 },
  EGRESS_NOT_DENIED: { retry: 'never', http: 422, grpc: 9 },
  OWNED_BY_CREATOR: { retry: 'never', http: 409, grpc: 9 },
  ATTACHED_BY_ANNOTATION: { retry: 'never', http: 409, grpc: 9 },
  ROLLOUT_REQUIRED: { retry: 'never', http: 409, grpc: 9 },
  CONFIRM_REQUIRED: { retry: 'never', http: 409, grpc: 9 },
  UPGRADE_ROLLED_BACK: { retry: 'never', http: 409, grpc: 9 },
  UPGRADE_HALTED: { retry: 'never', http: 409, grpc: 9 },
  DRIFT_REPEATED: { retry: 'never', http: 409, grpc: 9 },
  SIDECAR_QUARANTINED: { retry: 'never', http: 409, grpc: 9 },
  PODS_REMAIN: { retry: 'backoff', http: 409, grpc: 9 },
  REGISTRATION_EXPIRED: { retry: 'never', http: 409, grpc: 9 },
  ETAG_MISMATCH: { retry: 'never', http: 412, grpc: 10 },
  MANAGER_READ_ONLY: { retry: 'never', http: 503, grpc: 9 },
  // Callers at a door.
  UNAUTHENTICATED: { retry: 'never', http: 401, grpc: 16 },
  AUTH_UNAVAILABLE: { retry: 'backoff', http: 503, grpc: 14 },
  PERMISSION_DENIED: { retry: 'never', http: 403, grpc: 7 },
  RATE_LIMITED: { retry: 'backoff', http: 429, grpc: 8 },
  IDEMPOTENCY_KEY_REUSED: { retry: 'never', http: 422, grpc: 9 },
  PATH_NOT_FOUND: { retry: 'never', http: 404, grpc: 12 },
  BODY_TOO_LARGE: { retry: 'never', http: 413, grpc: 8 },
  DEADLINE_EXCEEDED: { retry: 'backoff', http: 504, grpc: 4 },
  SERVICE_DRAINING: { retry: 'backoff', http: 503, grpc: 14 },
  STREAM_LIMIT: { retry: 'backoff', http: 429, grpc: 8 },
  INTERNAL: { retry: 'backoff', http: 500, grpc: 13 },
  // Reports from agents.
  REPORT_INVALID: { retry: 'never', http: 400, grpc: 3 },
  REPORT_TOO_LARGE: { retry: 'never', http: 413, grpc: 8 },
  REPORT_UNAUTHENTICATED: { retry: 'never', http: 401, grpc: 16 },
  REPORT_FORBIDDEN: { retry: 'never', http: 403, grpc: 7 },
  // The control plane of the tailnets.
  CONTROL_CREDENTIALS_INVALID: { retry: 'never', http: 502, grpc: 9 },
  CONTROL_DENIED: { retry: 'never', http: 502, grpc: 9 },
  CONTROL_NOT_FOUND: { retry: 'never', http: 502, grpc: 5 },
  CONTROL_QUOTA: { retry: 'never', http: 502, grpc: 8 },
  POLICY_UNREADABLE: { retry: 'never', http: 409, grpc: 9 },
  CONTROL_CONFLICT: { retry: 'backoff', http: 502, grpc: 10 },
  CONTROL_RATE_LIMITED: { retry: 'backoff', http: 503, grpc: 14 },
  CONTROL_UNAVAILABLE: { retry: 'backoff', http: 503, grpc: 14 },
  CONTROL_ANSWER_INVALID: { retry: 'backoff', http: 502, grpc: 14 },
  POLICY_REFUSED: { retry: 'never', http: 409, grpc: 9 },
  ISOLATION_VIOLATED: { retry: 'never', http: 409, grpc: 9 },
  // Kubernetes.
  CLUSTER_DENIED: { retry: 'never', http: 502, grpc: 9 },
  CLUSTER_CONFLICT: { retry: 'backoff', http: 503, grpc: 10 },
  CLUSTER_UNAVAILABLE: { retry: 'backoff', http: 503, grpc: 14 },
  CLUSTER_REJECTED: { retry: 'never', http: 502, grpc: 9 },
  // Our own state.
  STORE_CONFLICT: { retry: 'backoff', http: 409, grpc: 10 },
  STORE_EXISTS: { retry: 'never', http: 409, grpc: 6 },
  STORE_NOT_FOUND: { retry: 'never', http: 404, grpc: 5 },
  STORE_UNAVAILABLE: { retry: 'backoff', http: 503, grpc: 14 },
  // The local daemon beside an agent.
  LOCALAPI_DENIED: { retry: 'never', http: 502, grpc: 7 },
  LOCALAPI_UNAVAILABLE: { retry: 'backoff', http: 503, grpc: 14 },
  // The manager and its streams.
  MANAGER_STOPPED: { retry: 'never', http: 503, grpc: 9 },
  STREAM_OVERFLOW: { retry: 'backoff', http: 503, grpc: 8 },
  RESUME_TOKEN_EXPIRED: { retry: 'never', http: 410, grpc: 11 },
  WAIT_FAILED: { retry: 'never', http: 409, grpc: 9 },
} as const satisfies Record<string, CodeEntry>;

/** A code of the closed list: what callers branch on. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** One wrong field. `path` is written as in the caller's own object: `config.allowedNetworks.0`. */
export interface Issue {
  readonly path: string;
  readonly message: string;
}

/** What an error is made of; see {@link BifrostError}. */
export interface BifrostErrorInit {
  readonly code: ErrorCode;
  /** A sentence that says what to do. Never a secret, never rejected input. */
  readonly message: string;
  readonly issues?: readonly Issue[];
  /** Facts for programs: names and ids only. */
  readonly details?: Readonly<Record<string, string>>;
  /** Milliseconds to wait before the same call again, when the other side said so. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

const marker = Symbol.for('bifrost.error'); // survives two copies of this package in one process

/**
 * The only error class that Bifrost throws. Branch on `code` and `retry`, not on the message.
 *
 * @example
 * try { await manager.createTailnet(request); } catch (error) {
 *   if (BifrostError.is(error) && error.code === 'TAILNET_EXISTS') return;
 *   throw error;
 * }
 */
export class BifrostError extends Error {
  override readonly name = 'BifrostError';
  readonly [marker] = true;
  readonly code: ErrorCode;
  readonly issues: readonly Issue[];
  readonly details: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | undefined;

  constructor(init: BifrostErrorInit) {
    super(`[${init.code}] ${init.message}`, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.issues = init.issues ?? [];
    this.details = init.details ?? {};
    this.retryAfterMs = init.retryAfterMs;
  }

  get retry(): RetryAdvice {
    return ERROR_CODES[this.code].retry;
  }

  /** The page that says what to do about it: how it shows, how to be sure, how to mend and prevent it. From the project's folder. */
  get runbook(): string {
    return `docs/runbooks/${this.code}.md`;
  }

  /** True for errors of any copy of this package. */
  static is(value: unknown): value is BifrostError {
    return typeof value === 'object' && value !== null && marker in value;
  }

  /** The JSON form that doors and logs show; the cause stays inside the process. */
  toJSON(): Pick<BifrostError, 'code' | 'message' | 'issues' | 'details' | 'retry' | 'runbook'> {
    const { code, message, issues, details, retry, runbook } = this;
    return { code, message, issues, details, retry, runbook };
  }
}
