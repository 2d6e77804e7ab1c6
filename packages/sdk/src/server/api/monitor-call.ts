import type { MonitorConnectivityInput } from '@bifrost/types';
import { BifrostError, type ConnectivityEventType, type ConnectivityHeartbeat, type ConnectivityEvent as Event } from '@bifrost/types/core';
import type { ConnectivityEvent } from '@bifrost/types/proto';
import { isVisible } from '../../manager/scope.ts';
import { callerOf } from '../auth/principal.ts';
import type { Permitted } from './api-call.ts';
import type { ApiParts } from './network-api.ts';
import { text } from './request.ts';
import { wrong } from './rest-error.ts';

const MAX_HEARTBEAT_SECONDS = 300;

/** Whose events: those that the caller may see, and among them those that it asks for. Undefined: everybody's. */
function customersAsked({ request, options }: Permitted): readonly string[] | undefined {
  const visible = options.scope?.visible ?? '*';
  const customerId = text(request, 'customerId');
  if (customerId === '') return visible === '*' ? undefined : [...visible];
  return isVisible(customerId, options.scope) ? [customerId] : [];
}

/** Everything that can be refused is, before the first event. */
export async function openStream(parts: ApiParts, permitted: Permitted, lastEventId: string | undefined): Promise<AsyncIterable<ConnectivityEvent>> {
  const { manager, streams, readiness } = parts;
  const { request, options, principal } = permitted;
  const [tailnetName, sidecarId] = [text(request, 'tailnetName'), text(request, 'sidecarId')];
  if (tailnetName !== '') await manager.getTailnet(tailnetName, options);
  if (sidecarId !== '') await manager.getSidecar(sidecarId, options);
  const heartbeatSeconds = (request['heartbeatSeconds'] as number | undefined) ?? 0;
  if (heartbeatSeconds > MAX_HEARTBEAT_SECONDS) throw wrong('heartbeatSeconds', `must be at most ${MAX_HEARTBEAT_SECONDS}`);
  const eventTypes = (request['eventTypes'] ?? []) as readonly ConnectivityEventType[];
  const customerIds = customersAsked(permitted);
  const resumeToken = text(request, 'resumeToken') || lastEventId || '';
  if (!readiness.isServing) throw draining(resumeToken);
  const asked: MonitorConnectivityInput = {
    ...(tailnetName === '' ? {} : { tailnetName }),
    ...(sidecarId === '' ? {} : { sidecarId }),
    ...(customerIds === undefined ? {} : { customerIds }),
    ...(eventTypes.length === 0 ? {} : { eventTypes }),
    ...(resumeToken === '' ? {} : { resumeToken }),
  };
  const signal = AbortSignal.any([options.signal, readiness.draining]);
  const monitored: Monitored =
    heartbeatSeconds === 0
      ? manager.monitorConnectivity({ ...asked, signal })
      : manager.monitorConnectivity({ ...asked, signal, heartbeatMs: heartbeatSeconds * 1000 });
  signal.throwIfAborted();
  const place = streams.enter(callerOf(principal));
  // Also when nobody ever reads: the caller may leave before its answer begins.
  options.signal.addEventListener('abort', () => place[Symbol.dispose](), { once: true });
  return messages(parts, { monitored, place, resumeToken });
}

type Monitored = AsyncIterable<Event | ConnectivityHeartbeat>;

async function* messages(
  { events, readiness }: ApiParts,
  { monitored, place, resumeToken }: { readonly monitored: Monitored; readonly place: Disposable; readonly resumeToken: string },
): AsyncGenerator<ConnectivityEvent, void, void> {
  let last = resumeToken;
  try {
    for await (const item of monitored) {
      last = item.resumeToken ?? last;
      yield events.of(item);
    }
  } catch (error) {
    throw readiness.isServing ? error : draining(last);
  } finally {
    place[Symbol.dispose]();
  }
}

/** @param resumeToken the last that the reader has, if any */
const draining = (resumeToken: string): BifrostError =>
  new BifrostError({
    code: 'SERVICE_DRAINING',
    message: 'The service is being stopped: open the stream again, with the last token, and another will answer.',
    ...(resumeToken === '' ? {} : { details: { resumeToken } }),
  });
