import { BifrostError, CONNECTIVITY_WORDS, type ConnectivityEvent, type ConnectivityEventType, type InstanceEvent } from '@bifrost/types/core';
import type { EventBus } from './event-bus.ts';
import { ResumeTokens } from './resume-tokens.ts';

const WORDS: ReadonlyMap<string, ConnectivityEventType> = new Map(Object.entries(CONNECTIVITY_WORDS));

/** One event as it is kept. */
export interface Happening {
  readonly word: ConnectivityEventType;
  readonly event: InstanceEvent;
}
interface Kept extends Happening {
  told: ConnectivityEvent | undefined;
}

/** Hears of each happening and its position, at once and in order. */
export interface Follower {
  came(happening: Happening, position: number): void;
}

/**
 * The last connectivity events of one manager, for all of its readers together: a ring that each of them looks into. A position is how many events there
 * have been before it.
 */
export class ConnectivityHistory {
  readonly #capacity: number;
  readonly #ring: Kept[] = [];
  readonly #followers = new Set<Follower>();
  readonly #tokens = new ResumeTokens();
  #end = 0;

  constructor({ events, retained }: { readonly events: EventBus; readonly retained: number }) {
    this.#capacity = retained;
    events.onAny(({ name, event }) => {
      const word = WORDS.get(name);
      if (word !== undefined) this.#append({ word, event: event as InstanceEvent, told: undefined });
    });
  }

  /** The position after the last event. */
  get end(): number {
    return this.#end;
  }

  #append(kept: Kept): void {
    const position = this.#end;
    this.#ring[position % this.#capacity] = kept;
    this.#end += 1;
    for (const follower of this.#followers) follower.came(kept, position);
  }

  follow(follower: Follower): Disposable {
    this.#followers.add(follower);
    return { [Symbol.dispose]: () => void this.#followers.delete(follower) };
  }

  /** What happened at a position, or undefined: it is kept no more, or has yet to come. */
  at(position: number): Happening | undefined {
    return this.#keptAt(position);
  }

  #keptAt(position: number): Kept | undefined {
    return position < this.#end && position >= this.#end - this.#capacity ? this.#ring[position % this.#capacity] : undefined;
  }

  /** The event at a position that is kept, as readers get it: one object for all of them, made for the first. */
  eventAt(position: number): ConnectivityEvent | undefined {
    const kept = this.#keptAt(position);
    if (kept === undefined) return undefined;
    kept.told ??= connectivityEvent(kept, this.#tokens.seal(position + 1));
    return kept.told;
  }

  /** For a reader that has seen, or does not want, everything before a position. */
  tokenAt(position: number): string {
    return this.#tokens.seal(position);
  }

  /** @throws {BifrostError} `RESUME_TOKEN_EXPIRED` — what comes after it is kept no more, or it is another manager's */
  positionOf(token: string): number {
    const position = this.#tokens.open(token);
    if (position !== undefined && position <= this.#end && position >= this.#end - this.#capacity) return position;
    throw new BifrostError({
      code: 'RESUME_TOKEN_EXPIRED',
      message: 'What came after this token is not kept any more: read the status anew, and open the stream without a token.',
      issues: [{ path: 'resumeToken', message: 'is too old, or of another manager' }],
    });
  }
}

function connectivityEvent({ word, event }: Happening, resumeToken: string): ConnectivityEvent {
  const details = {
    state: event.state,
    previous_state: event.previousState,
    sidecar_id: event.sidecarId,
    book_deployment_id: event.bookDeploymentId,
    pod_name: event.podName,
    ...(event.cause === undefined ? {} : { cause: event.cause }),
    ...(event.ipAddress === undefined ? {} : { ip_address: event.ipAddress }),
  };
  // Frozen: every reader gets this very object.
  return Object.freeze({
    tailnetName: event.tailnetName,
    eventType: word,
    timestamp: new Date(event.atMs),
    details: Object.freeze(details),
    resumeToken,
  });
}
