import type { Caller } from './caller.ts';

/** How a call is told from others, here and in what the caller keeps. */
export interface RequestIdentity {
  /** The caller's or the door's, else ours. */
  readonly requestId: string;
  /** W3C trace context, as it came. */
  readonly traceparent?: string;
}

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
/** No version ff, no id of zeros: the standard says that these are none. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** What cannot be one is as good as none: it goes into records and headers. */
export function identityOf({ header }: Caller, newId: () => string): RequestIdentity {
  const requestId = header('x-request-id');
  const traceparent = header('traceparent');
  return {
    requestId: requestId !== undefined && REQUEST_ID.test(requestId) ? requestId : newId(),
    ...(traceparent !== undefined && TRACEPARENT.test(traceparent) ? { traceparent } : {}),
  };
}
