import { z } from 'zod';
import { type ExplainRequest, PACKET_PROTOCOLS } from '../core/policy.ts';
import { boundedId, type Input, ipAddress } from './fields.ts';

/** Which packet is asked about. Unknown keys are refused: a misspelt port must not become another. */
export const explainRequestSchema = z
  .strictObject({
    sidecarId: boundedId(64),
    to: ipAddress,
    port: z.int().min(0).max(65_535).default(443),
    protocol: z.enum(PACKET_PROTOCOLS).default('tcp'),
  })
  .readonly() satisfies z.ZodType<ExplainRequest>;

/** What `explain` takes. */
export type ExplainInput = Input<typeof explainRequestSchema>;
