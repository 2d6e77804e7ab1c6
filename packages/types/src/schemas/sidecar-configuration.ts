import { z } from 'zod';
import { NETWORK_MODE_WISHES, type SidecarConfiguration } from '../core/network.ts';
import { dnsLabel, type Input, REQUEST_LIMITS, requestedCidr } from './fields.ts';

/** What one book's sidecar asks for. Unset: no routes either way, no SSH. */
export const sidecarConfigurationSchema = z
  .strictObject({
    hostname: dnsLabel,
    advertiseRoutes: z.array(requestedCidr).max(REQUEST_LIMITS.maxRoutes).default([]).readonly(),
    acceptRoutes: z.boolean().default(false),
    enableSsh: z.boolean().default(false),
    networkMode: z.enum(NETWORK_MODE_WISHES).exactOptional(),
  })
  .readonly() satisfies z.ZodType<SidecarConfiguration>;

/** A sidecar's wishes as a caller writes them: what has a default may be left out. */
export type SidecarConfigurationInput = Input<typeof sidecarConfigurationSchema>;
