import { z } from 'zod';
import { CONNECTIVITY_EVENT_TYPES, type MonitorConnectivityRequest } from '../core/messages.ts';
import { boundedId, dnsLabel, type Input, labelValue } from './fields.ts';

/** 16 bytes as base64url: the last character stands for two bits. */
const RESUME_TOKEN = /^[A-Za-z0-9_-]{21}[AQgw]$/;

/** Which connectivity events a reader wants. Unknown keys are refused: a misspelt filter must not let everything through. */
export const monitorConnectivityRequestSchema = z
  .strictObject({
    tailnetName: dnsLabel.exactOptional(),
    customerIds: z.array(labelValue).readonly().exactOptional(),
    sidecarId: boundedId(64).exactOptional(),
    eventTypes: z
      .array(z.enum(CONNECTIVITY_EVENT_TYPES))
      .min(1, { error: 'names no event: leave it out for all of them' })
      .max(16)
      .readonly()
      .exactOptional(),
    resumeToken: z.string().regex(RESUME_TOKEN, { error: 'is no token of a stream: give one as it was told, or none' }).exactOptional(),
    heartbeatMs: z.int().min(100).max(3_600_000).exactOptional(),
  })
  .readonly() satisfies z.ZodType<MonitorConnectivityRequest>;

/** What `monitorConnectivity` takes. */
export type MonitorConnectivityInput = Input<typeof monitorConnectivityRequestSchema>;
