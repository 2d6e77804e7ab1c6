import { once } from 'node:events';
import { type ConnectivityEvent, ConnectivityEventSchema } from '@bifrost/types/proto';
import { statusJson, told } from './errors.ts';
import { wireOf } from './fields.ts';
import type { HttpResponse } from './rest-door.ts';

/** How a stream of events is written. */
export interface EventForm {
  readonly contentType: string;
  readonly event: (event: ConnectivityEvent) => string;
  /** The last thing that is said of a stream that failed. */
  readonly failure: (status: unknown) => string;
}

const jsonOf = (event: ConnectivityEvent): string => JSON.stringify(wireOf(ConnectivityEventSchema, event));

/** Server-sent events: `id` is the resume token, which browsers send back as `Last-Event-ID`. A heartbeat moves it and says nothing. */
const SERVER_SENT: EventForm = {
  contentType: 'text/event-stream',
  event: (event) => (event.eventType === '' ? `: heartbeat\nid: ${event.resumeToken}\n\n` : `id: ${event.resumeToken}\ndata: ${jsonOf(event)}\n\n`),
  failure: (status) => `event: error\ndata: ${JSON.stringify(status)}\n\n`,
};

/** One JSON document per line. */
const LINES: EventForm = {
  contentType: 'application/x-ndjson',
  event: (event) => `${jsonOf(event)}\n`,
  failure: (status) => `${JSON.stringify({ error: status })}\n`,
};

export const formFor = (accept: string | undefined): EventForm => (accept?.includes('text/event-stream') ? SERVER_SENT : LINES);

/** Writes events until the reader leaves or the stream fails; a reader that does not read is waited for, never written over. */
export async function writeEvents(
  response: HttpResponse,
  events: AsyncIterable<ConnectivityEvent>,
  { form, requestId, signal }: { readonly form: EventForm; readonly requestId: string; readonly signal: AbortSignal },
): Promise<void> {
  const write = async (text: string): Promise<void> => {
    // Both kinds of response are streams; their types do not agree on `write`.
    if (!(response as NodeJS.WritableStream).write(text)) await once(response, 'drain', { signal });
  };
  try {
    for await (const event of events) await write(form.event(event));
  } catch (error) {
    if (signal.aborted) return;
    await write(form.failure(statusJson(told(error), requestId)));
  }
  response.end();
}
