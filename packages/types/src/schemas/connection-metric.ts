import { z } from 'zod';
import type { ConnectionMetric } from '../core/messages.ts';
import { dnsLabel, int64Count, time } from './fields.ts';

/** One tailnet's metrics. Unknown keys are ignored. */
export const connectionMetricSchema = z
  .object({
    tailnetName: dnsLabel,
    bytesSent: int64Count,
    bytesReceived: int64Count,
    latencyMs: z.number().nonnegative(),
    isConnected: z.boolean(),
    lastActivity: time.exactOptional(),
  })
  .readonly() satisfies z.ZodType<ConnectionMetric>;
