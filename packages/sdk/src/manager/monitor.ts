import { CONNECTIVITY_WORDS, type ConnectivityEvent, type InstanceEvent } from '@bifrost/types/core';
import { boundedStream } from './bounded-stream.ts';
import type { Call, Context } from './context.ts';

const CAPACITY = 1024;

function connectivityEvent(name: keyof typeof CONNECTIVITY_WORDS, event: InstanceEvent): ConnectivityEvent {
  return {
    tailnetName: event.tailnetName,
    eventType: CONNECTIVITY_WORDS[name],
    timestamp: new Date(event.atMs),
    details: {
      state: event.state,
      previous_state: event.previousState,
      sidecar_id: event.sidecarId,
      book_deployment_id: event.bookDeploymentId,
      pod_name: event.podName,
      ...(event.cause === undefined ? {} : { cause: event.cause }),
      ...(event.ipAddress === undefined ? {} : { ip_address: event.ipAddress }),
    },
  };
}

/** @see NetworkManager.monitorConnectivity */
export function monitorConnectivity(
  context: Context,
  { tailnetName, signal }: { readonly tailnetName?: string | undefined } & Call,
): AsyncIterable<ConnectivityEvent> {
  return boundedStream<ConnectivityEvent>({
    signal,
    capacity: CAPACITY,
    subscribe: (push) =>
      context.events.onAny(({ name, event }) => {
        if (!(name in CONNECTIVITY_WORDS)) return;
        const instanceEvent = event as InstanceEvent;
        if (tailnetName === undefined || instanceEvent.tailnetName === tailnetName)
          push(connectivityEvent(name as keyof typeof CONNECTIVITY_WORDS, instanceEvent));
      }),
  });
}
