import type { ConnectivityHeartbeat, ConnectivityEvent as Event } from '@bifrost/types/core';
import { type ConnectivityEvent, ConnectivityEventSchema } from '@bifrost/types/proto';
import { messageOf } from './convert.ts';

/** Messages of events, one for all readers of an event. */
export class EventMessages {
  readonly #messages = new WeakMap<Event, ConnectivityEvent>();

  of(item: Event | ConnectivityHeartbeat): ConnectivityEvent {
    if ('heartbeat' in item) return messageOf(ConnectivityEventSchema, { timestamp: item.timestamp, resumeToken: item.resumeToken });
    const known = this.#messages.get(item);
    if (known !== undefined) return known;
    const message = messageOf(ConnectivityEventSchema, { ...item });
    this.#messages.set(item, message);
    return message;
  }
}
