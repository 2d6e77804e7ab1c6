import { z } from 'zod';
import { CONNECTIVITY_EVENT_TYPES, type ConnectivityEvent } from '../core/messages.ts';
import { dnsLabel, time } from './fields.ts';

/** One change of a connection, in the specification's words. Unknown keys are ignored. */
export const connectivityEventSchema = z
  .object({
    tailnetName: dnsLabel,
    eventType: z.enum(CONNECTIVITY_EVENT_TYPES),
    timestamp: time,
    details: z.record(z.string(), z.string()).readonly(),
  })
  .readonly() satisfies z.ZodType<ConnectivityEvent>;
