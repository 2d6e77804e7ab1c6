import type { DescMethodServerStreaming, DescMethodUnary } from '@bufbuild/protobuf';
import { systemClock } from '../../adapters/system/clock.ts';
import type { NetworkManager } from '../../manager/network-manager.ts';
import { silentLogger, unrecorded } from '../../manager/silent.ts';
import type { AuditSink, Clock, Logger } from '../../ports/index.ts';
import type { Authenticator } from '../auth/authenticator.ts';
import { Attempts } from '../limits/attempts.ts';
import { IdempotencyStore } from '../limits/idempotency.ts';
import { RateLimiter, type RateLimiterOptions } from '../limits/rate-limiter.ts';
import { ApiCall } from './api-call.ts';
import type { Caller } from './caller.ts';
import type { TrustsPeer } from './credentials.ts';
import { CustomersOfObjects } from './customers-of-objects.ts';
import { EventMessages } from './event-messages.ts';
import type { Outcome } from './handlers.ts';
import { Readiness } from './health.ts';
import { Streams } from './streams.ts';

/** What the network API is made of. Only `manager` and `authenticator` are needed. */
export interface NetworkApiOptions {
  readonly manager: NetworkManager;
  /** Says who calls. */
  readonly authenticator: Authenticator;
  /** Where denials at the door are recorded; give it what the manager has. Default: nowhere. */
  readonly audit?: AuditSink;
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the system's. */
  readonly clock?: Clock;
  readonly rateLimits?: RateLimiterOptions;
  /** Of which peers to believe the client's address and certificate: a proxy of ours. Default: none. */
  readonly trustsPeer?: TrustsPeer;
  /** A unary call ends by then, milliseconds. @default 30000 */
  readonly callTimeoutMs?: number;
  /** Streams of events at once, of all callers. @default 4096 */
  readonly maxStreams?: number;
  /** Of one caller. @default 100 */
  readonly maxStreamsPerCaller?: number;
}

export type Unary = DescMethodUnary;
export type Streaming = DescMethodServerStreaming;

/** What every call needs; see {@link NetworkApiOptions}. */
export interface ApiParts {
  readonly manager: NetworkManager;
  readonly authenticator: Authenticator;
  readonly audit: AuditSink;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly limiter: RateLimiter;
  readonly attempts: Attempts;
  readonly kept: IdempotencyStore<Outcome>;
  readonly owners: CustomersOfObjects;
  readonly streams: Streams;
  readonly events: EventMessages;
  readonly trustsPeer: TrustsPeer;
  readonly callTimeoutMs: number;
  readonly readiness: Readiness;
}

/** The network API without a door: every door asks here, so that all give the same answers. */
export class NetworkApi implements Disposable {
  readonly readiness = new Readiness();
  readonly #parts: ApiParts;

  constructor(options: NetworkApiOptions) {
    const { manager, authenticator, clock = systemClock(), rateLimits = {}, maxStreams = 4096, maxStreamsPerCaller = 100 } = options;
    const limiter = new RateLimiter(rateLimits);
    this.#parts = {
      manager,
      authenticator,
      clock,
      audit: options.audit ?? unrecorded,
      logger: options.logger ?? silentLogger,
      limiter,
      attempts: new Attempts(limiter),
      kept: new IdempotencyStore({ clock, sizeBytesOf: (outcome) => 2 * JSON.stringify(outcome.body).length }),
      owners: new CustomersOfObjects(manager),
      streams: new Streams({ maxStreams, maxStreamsPerCaller }),
      events: new EventMessages(),
      trustsPeer: options.trustsPeer ?? (() => false),
      callTimeoutMs: options.callTimeoutMs ?? 30_000,
      readiness: this.readiness,
    };
  }

  /** One call, as a door has taken it. Nothing has been looked at yet. */
  begin(caller: Caller): ApiCall {
    return new ApiCall(this.#parts, caller);
  }

  [Symbol.dispose](): void {
    this.#parts.limiter[Symbol.dispose]();
  }
}
