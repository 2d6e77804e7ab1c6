/** What became of one report. */
export type Delivery =
  | {
      readonly kind: 'taken';
      readonly nextHeartbeatMs?: number;
      /** What the answer says about the guard, as it came. */
      readonly guard?: unknown;
    }
  /** It will never be taken: drop it. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** The same again after a pause; the receiver may have wished for its length, milliseconds. */
  | { readonly kind: 'later'; readonly reason: string; readonly retryAfterMs?: number };

/** The manager's door for reports. */
export interface Ingest extends AsyncDisposable {
  /** Rejects with `signal.reason` itself on abort; every other failure is an answer. */
  send(body: string, options: { readonly signal: AbortSignal }): Promise<Delivery>;
}
