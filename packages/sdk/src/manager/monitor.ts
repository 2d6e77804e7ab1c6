import { type MonitorConnectivityInput, monitorConnectivityRequestSchema, parseOrThrow } from '@bifrost/types';
import type { ConnectivityEvent, ConnectivityHeartbeat, MonitorConnectivityRequest } from '@bifrost/types/core';
import type { Happening } from './connectivity-history.ts';
import { ConnectivityReader } from './connectivity-reader.ts';
import type { Call, Context } from './context.ts';
import { Heartbeat } from './heartbeat.ts';

type Monitored = ConnectivityEvent | ConnectivityHeartbeat;

/** @see NetworkManager.monitorConnectivity */
export function monitorConnectivity(
  context: Pick<Context, 'history' | 'clock'>,
  input: MonitorConnectivityInput,
  { signal }: Call,
): AsyncIterable<Monitored> {
  const request: MonitorConnectivityRequest = parseOrThrow(monitorConnectivityRequestSchema, input, 'INVALID_ARGUMENT');
  const { resumeToken, heartbeatMs } = request;
  // Now, and not at the first `next`: who opens a stream and then reads the status must not miss what lies between.
  const position = resumeToken === undefined ? context.history.end : context.history.positionOf(resumeToken);
  return read(context, { position, passes: filterOf(request), heartbeatMs, signal });
}

function filterOf({ tailnetName, customerIds, sidecarId, eventTypes }: MonitorConnectivityRequest): (happening: Happening) => boolean {
  const customers = customerIds === undefined ? undefined : new Set(customerIds);
  return ({ word, event }) =>
    (tailnetName === undefined || event.tailnetName === tailnetName) &&
    (customers === undefined || customers.has(event.customerId)) &&
    (sidecarId === undefined || event.sidecarId === sidecarId) &&
    (eventTypes === undefined || eventTypes.includes(word));
}

interface Reading extends Call {
  readonly position: number;
  readonly passes: (happening: Happening) => boolean;
  readonly heartbeatMs: number | undefined;
}

async function* read(
  { history, clock }: Pick<Context, 'history' | 'clock'>,
  { position, passes, heartbeatMs, signal }: Reading,
): AsyncGenerator<Monitored, never, void> {
  signal.throwIfAborted();
  using reader = new ConnectivityReader(history, { position, passes });
  const wake = (): void => reader.wake();
  using heartbeat = heartbeatMs === undefined ? undefined : new Heartbeat({ clock, everyMs: heartbeatMs, onDue: wake });
  signal.addEventListener('abort', wake);
  try {
    for (;;) {
      signal.throwIfAborted();
      const event = reader.take();
      if (event !== undefined || heartbeat?.isDue) {
        heartbeat?.told();
        yield event ?? { heartbeat: true, timestamp: new Date(clock.nowMs()), resumeToken: reader.resumeToken };
      } else await reader.woken();
    }
  } finally {
    signal.removeEventListener('abort', wake);
  }
}
