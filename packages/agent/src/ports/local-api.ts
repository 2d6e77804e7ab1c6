import type { BusHint } from '../domain/bus.ts';
import type { DaemonStatus } from '../domain/daemon.ts';
import type { PingAnswer } from '../domain/pings.ts';
import type { DaemonPrefs, DroppedPackets, Identity } from '../domain/survey.ts';

export interface CallOptions {
  readonly signal: AbortSignal;
}
export interface TimedCallOptions extends CallOptions {
  readonly timeoutMs: number;
}
/** Checks that the daemon makes of its surroundings. */
export type DaemonCheck = 'ip-forwarding' | 'udp-gro-forwarding';

/**
 * The daemon beside us, read-only. Every method rejects with `signal.reason` itself when aborted. What a daemon was built without is answered with
 * undefined, where undefined is among the answers.
 *
 * @throws {BifrostError} `LOCALAPI_DENIED` (it refuses us), `LOCALAPI_UNAVAILABLE` (no answer, or not one of its answers;
 * `details.reason` is `gone` when nobody listens on the socket, `timeout` when somebody does and is silent, `status-N` for an HTTP status) from any method.
 */
export interface LocalApi extends AsyncDisposable {
  status(options: TimedCallOptions): Promise<DaemonStatus>;
  /** Whether it answers anything at all. Never rejects but on abort. */
  answers(options: TimedCallOptions): Promise<boolean>;
  /** One disco ping, of that many bytes where they are given; undefined when no answer came within two seconds. */
  ping(ip: string, options: CallOptions & { readonly sizeBytes?: number }): Promise<PingAnswer | undefined>;
  /** Hints that something changed, until the daemon ends the stream. A `break` closes it. */
  watch(mask: number, options: CallOptions): AsyncIterable<BusHint>;
  /** Whose machine it is; undefined when the daemon does not know the address. */
  whoIs(ip: string, options: CallOptions): Promise<Identity | undefined>;
  prefs(options: CallOptions): Promise<DaemonPrefs | undefined>;
  /** Whether the check found something wrong. */
  warns(check: DaemonCheck, options: CallOptions): Promise<boolean | undefined>;
  droppedPackets(options: CallOptions): Promise<DroppedPackets | undefined>;
}
