import { randomUUID } from 'node:crypto';
import { BifrostError } from '@bifrost/types/core';
import type { HandlerContext } from '@connectrpc/connect';
import { peerKey } from '../limits/rate-limiter.ts';
import { addressOf, type TrustsPeer } from './credentials.ts';
import { connectError } from './errors.ts';
import { callerIn } from './grpc-door.ts';
import { identityOf } from './request-identity.ts';
import { Streams } from './streams.ts';

export interface AnonymousStreamsOptions {
  /** Streams at once that need no credential (health, reflection), of all. @default 1024 */
  readonly maxAnonymousStreams?: number;
  /** Of one address; an IPv6 address stands for its /64, and a trusted proxy says the client's. @default 100 */
  readonly maxAnonymousStreamsPerAddress?: number;
  /** As the network API's. */
  readonly trustsPeer?: TrustsPeer;
}

/** Streams that anybody may open and hold: there is no caller to count them by, so it is by the address. */
export class AnonymousStreams {
  readonly #streams: Streams;
  readonly #trustsPeer: TrustsPeer;

  constructor({ maxAnonymousStreams = 1024, maxAnonymousStreamsPerAddress = 100, trustsPeer = () => false }: AnonymousStreamsOptions) {
    this.#streams = new Streams({ maxStreams: maxAnonymousStreams, maxStreamsPerCaller: maxAnonymousStreamsPerAddress });
    this.#trustsPeer = trustsPeer;
  }

  /** Dispose it when the stream ends; a reader that leaves does so by itself. @throws {ConnectError} `RESOURCE_EXHAUSTED`, of our `STREAM_LIMIT` */
  enter(context: HandlerContext): Disposable {
    const caller = callerIn(context);
    try {
      const place = this.#streams.enter(peerKey(addressOf(caller, this.#trustsPeer)));
      caller.signal.addEventListener('abort', () => place[Symbol.dispose](), { once: true });
      return place;
    } catch (error) {
      throw BifrostError.is(error) ? connectError(error, identityOf(caller, randomUUID).requestId) : error;
    }
  }
}
