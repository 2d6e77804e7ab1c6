import { z } from 'zod';
import type { NetworkStatus } from '../core/messages.ts';
import { SIDECAR_STATUSES, TAILNET_STATUSES } from '../core/network.ts';
import { boundedId, boundedText, count, dnsLabel, time } from './fields.ts';

const connectedSidecar = z
  .object({ sidecarId: boundedId(64), bookDeployment: boundedId(320), status: z.enum(SIDECAR_STATUSES), ipAddress: boundedText(45) })
  .readonly();

/** The specification's status answer. Unknown keys are ignored. */
export const networkStatusSchema = z
  .object({
    tailnetName: dnsLabel,
    status: z.enum(TAILNET_STATUSES),
    connectedDevices: count,
    lastActivity: time.exactOptional(),
    metrics: z.object({ bytesSent: count, bytesReceived: count, averageLatencyMs: z.number().nonnegative() }).readonly(),
    connectedSidecars: z.array(connectedSidecar).readonly(),
  })
  .readonly() satisfies z.ZodType<NetworkStatus>;
