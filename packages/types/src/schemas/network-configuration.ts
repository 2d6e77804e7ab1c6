import { z } from 'zod';
import { ACCESS_POLICIES, type NetworkConfiguration } from '../core/network.ts';
import { type Input, REQUEST_LIMITS, requestedCidr } from './fields.ts';

const networks = z.array(requestedCidr).max(REQUEST_LIMITS.maxNetworks);

/** A customer's network intent. Unset: nothing blocked, `restrictive`, no logging. */
export const networkConfigurationSchema = z
  .strictObject({
    allowedNetworks: networks.readonly(),
    blockedNetworks: networks.default([]).readonly(),
    accessPolicy: z.enum(ACCESS_POLICIES).default('restrictive'),
    enableLogging: z.boolean().default(false),
  })
  .readonly() satisfies z.ZodType<NetworkConfiguration>;

/** A network intent as a caller writes it: what has a default may be left out. */
export type NetworkConfigurationInput = Input<typeof networkConfigurationSchema>;
