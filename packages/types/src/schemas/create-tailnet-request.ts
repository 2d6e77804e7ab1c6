import { z } from 'zod';
import type { CreateTailnetRequest, CreateTailnetResponse } from '../core/messages.ts';
import { TAILNET_STATUSES, TENANCIES } from '../core/network.ts';
import { boundedId, dnsLabel, type Input, labelValue, objectName, REQUEST_LIMITS, time } from './fields.ts';
import { networkConfigurationSchema } from './network-configuration.ts';

/** A tailnet that is wanted. Unknown keys are refused: a misspelt option must not vanish. */
export const createTailnetRequestSchema = z
  .strictObject({
    customerId: labelValue,
    tailnetName: dnsLabel,
    config: networkConfigurationSchema,
    tags: z.array(labelValue).max(REQUEST_LIMITS.maxTags).default([]).readonly(),
    tenancy: z.enum(TENANCIES).exactOptional(),
    credential: z.strictObject({ secretName: objectName }).readonly().exactOptional(),
    managePolicy: z.boolean().exactOptional(),
  })
  .readonly() satisfies z.ZodType<CreateTailnetRequest>;

/** What `createTailnet` takes. */
export type CreateTailnetInput = Input<typeof createTailnetRequestSchema>;

/** The answer to it. Unknown keys are ignored: it may come from a newer manager. */
export const createTailnetResponseSchema = z
  .object({ tailnetId: boundedId(64), tailnetName: dnsLabel, status: z.enum(TAILNET_STATUSES), createdAt: time })
  .readonly() satisfies z.ZodType<CreateTailnetResponse>;
