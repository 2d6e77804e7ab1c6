import { z } from 'zod';
import { CONNECTIVITY_EVENT_TYPES, type ConnectivityEvent } from '../core/messages.ts';
import { boundedId, dnsLabel, time } from './fields.ts';

/** One change of a connection, in the specification's words. Unknown keys are ignored. */
export const connectivityEventSchema = z
  .object({
    tailnetName: dnsLabel,
    eventType: z.enum(CONNECTIVITY_EVENT_TYPES),
    timestamp: time,
    details: z.record(z.string(), z.string()).readonly(),
    resumeToken: boundedId(64).exactOptional(),
  })
  .readonly() satisfies z.ZodType<ConnectivityEvent>;
