import type { BusHint, DaemonStatus } from '../domain/daemon.ts';
import type { PingAnswer } from '../domain/pings.ts';

export interface CallOptions {
  readonly signal: AbortSignal;
}

/**
 * The daemon beside us, read-only. Every method rejects with `signal.reason` itself when aborted.
 *
 * @throws {BifrostError} `LOCALAPI_DENIED` (it refuses us), `LOCALAPI_UNAVAILABLE` (no answer, or not one of its answers;
 * `details.reason` is `gone` when nobody listens on the socket) from any method.
 */
export interface LocalApi extends AsyncDisposable {
  status(options: CallOptions & { readonly timeoutMs: number }): Promise<DaemonStatus>;
  /** One disco ping; undefined when no answer came within two seconds. */
  ping(ip: string, options: CallOptions): Promise<PingAnswer | undefined>;
  /** Hints that something changed, until the daemon ends the stream. A `break` closes it. */
  watch(mask: number, options: CallOptions): AsyncIterable<BusHint>;
}
