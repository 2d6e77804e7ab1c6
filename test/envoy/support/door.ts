/** What a caller gets, whatever the door. */
export interface Verdict {
  readonly kind: 'rest' | 'grpc';
  /** google.rpc.Code; 0: the call was answered. */
  readonly code: number;
  /** REST doors only. */
  readonly http?: number;
  /** Bifrost's code, from the ErrorInfo. */
  readonly reason?: string;
  /** Members at fault. */
  readonly fields: readonly string[];
  /** What a refusal says, for people and for programs; without what tells one call from another. */
  readonly message?: string;
  readonly details?: readonly unknown[];
  /** The answer as JSON, in the form that REST gives it. */
  readonly body: unknown;
  readonly headers: ReadonlyMap<string, string>;
}

export type Json = Readonly<Record<string, unknown>>;
export type Headers = Readonly<Record<string, string>>;

export interface CallOptions {
  readonly headers?: Headers;
  readonly signal?: AbortSignal;
}

/** One event of a stream, or how the stream ended: in the form that REST gives it. */
export interface Told {
  readonly tailnet_name: string;
  /** Empty: a heartbeat. */
  readonly event_type: string;
  readonly details: Readonly<Record<string, string>>;
  readonly resume_token: string;
}

/** A stream of events. Iterating ends with the reader's own signal, or throws {@link StreamEnd}. */
export interface Opened {
  readonly events: AsyncIterator<Told>;
  readonly headers: ReadonlyMap<string, string>;
}

/** How a stream was ended by the other side. */
export class StreamEnd extends Error {
  readonly verdict: Verdict;
  constructor(verdict: Verdict) {
    super(`the stream ended: ${verdict.reason ?? verdict.code}`);
    this.verdict = verdict;
  }
}

/** One way to the network API. */
export interface Door extends AsyncDisposable {
  readonly name: string;
  readonly kind: 'rest' | 'grpc';
  /** `request` has the proto's names. */
  readonly call: (method: string, request: Json, options?: CallOptions) => Promise<Verdict>;
}

interface Detail {
  readonly '@type': string;
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly field_violations?: readonly { readonly field: string }[];
}

/** Reads a google.rpc.Status as JSON. */
export function refusal(status: unknown): Pick<Verdict, 'code' | 'reason' | 'fields' | 'message' | 'details'> {
  const { code = -1, message = '', details = [] } = (status ?? {}) as { code?: number; message?: string; details?: readonly Detail[] };
  const reason = details.find((detail) => detail['@type'].endsWith('google.rpc.ErrorInfo'))?.reason;
  const fields = details.flatMap((detail) => detail.field_violations ?? []).map(({ field }) => field);
  return { code, message, fields, details: details.map(withoutRequest), ...(reason === undefined ? {} : { reason }) };
}

function withoutRequest(detail: Detail): unknown {
  if (detail.metadata === undefined) return detail;
  const { request_id: _, ...metadata } = detail.metadata;
  return { ...detail, metadata };
}
