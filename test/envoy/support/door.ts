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
  /** The answer as JSON, in the form that REST gives it. */
  readonly body: unknown;
  readonly headers: ReadonlyMap<string, string>;
}

export type Json = Readonly<Record<string, unknown>>;
export type Headers = Readonly<Record<string, string>>;

/** One way to the network API. */
export interface Door extends AsyncDisposable {
  readonly name: string;
  readonly kind: 'rest' | 'grpc';
  /** `request` has the proto's names. */
  readonly call: (method: string, request: Json, options?: { readonly headers?: Headers; readonly signal?: AbortSignal }) => Promise<Verdict>;
}

interface Detail {
  readonly '@type': string;
  readonly reason?: string;
  readonly field_violations?: readonly { readonly field: string }[];
}

/** Reads a google.rpc.Status as JSON. */
export function refusal(status: unknown): Pick<Verdict, 'code' | 'reason' | 'fields'> {
  const { code = -1, details = [] } = (status ?? {}) as { readonly code?: number; readonly details?: readonly Detail[] };
  const reason = details.find((detail) => detail['@type'].endsWith('google.rpc.ErrorInfo'))?.reason;
  const fields = details.flatMap((detail) => detail.field_violations ?? []).map(({ field }) => field);
  return { code, fields, ...(reason === undefined ? {} : { reason }) };
}
