import type { MonitorConnectivityInput } from '@bifrost/types';
import { CONNECTIVITY_WORDS, type ConnectivityEvent, type ConnectivityHeartbeat, type InstanceEvent } from '@bifrost/types/core';
import { ConnectivityHistory } from '../../src/manager/connectivity-history.ts';
import { EventBus } from '../../src/manager/event-bus.ts';
import { monitorConnectivity } from '../../src/manager/monitor.ts';
import { ManualClock } from '../../src/testing/manual-clock.ts';

export type Item = ConnectivityEvent | ConnectivityHeartbeat;
export type Word = keyof typeof CONNECTIVITY_WORDS;
export const WORDS = Object.keys(CONNECTIVITY_WORDS) as readonly Word[];

/** A history and its readers, without a manager. Each event is told from the others by its pod's name, which counts. */
export class Monitored {
  readonly clock = new ManualClock();
  readonly events = new EventBus(() => {});
  readonly history: ConnectivityHistory;
  #count = 0;

  constructor(retained = 10_000) {
    this.history = new ConnectivityHistory({ events: this.events, retained });
  }

  /** Makes an event about a customer's one sidecar. */
  happen(customer = 'acme', word: Word = 'instance:connected'): void {
    const event: InstanceEvent = {
      tailnetName: customer,
      customerId: customer,
      sidecarId: `sidecar-${customer}`,
      bookDeploymentId: 'book',
      podName: String(this.#count),
      podUid: 'uid',
      state: 'connected',
      previousState: 'attaching',
      atMs: this.clock.nowMs(),
    };
    this.#count += 1;
    this.events.emit(word, event);
  }

  open(input: MonitorConnectivityInput = {}, signal = new AbortController().signal): AsyncIterator<Item> {
    return monitorConnectivity(this, input, { signal })[Symbol.asyncIterator]();
  }
}

/** The number of an event, or `-` for a heartbeat. */
export const told = (item: Item): string => ('heartbeat' in item ? '-' : (item.details['pod_name'] ?? ''));

export async function next(iterator: AsyncIterator<Item>): Promise<Item> {
  const { value, done } = await iterator.next();
  if (done) throw new RangeError('the stream has ended');
  return value;
}

/** So many of them, as {@link told}. */
export async function take(iterator: AsyncIterator<Item>, count: number): Promise<readonly string[]> {
  const taken: string[] = [];
  while (taken.length < count) taken.push(told(await next(iterator)));
  return taken;
}
