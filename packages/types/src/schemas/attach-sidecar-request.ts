import { z } from 'zod';
import type { AttachSidecarRequest, AttachSidecarResponse, InjectSidecarRequest } from '../core/messages.ts';
import { SIDECAR_STATUSES } from '../core/network.ts';
import { bookDeploymentId, boundedId, dnsLabel, type Input, time } from './fields.ts';
import { sidecarConfigurationSchema } from './sidecar-configuration.ts';

/** A sidecar that is wanted. Unknown keys are refused: a misspelt option must not vanish. */
export const attachSidecarRequestSchema = z
  .strictObject({ bookDeploymentId, tailnetName: dnsLabel, config: sidecarConfigurationSchema })
  .readonly() satisfies z.ZodType<AttachSidecarRequest>;

/** What `attachSidecar` and `planAttach` take. */
export type AttachSidecarInput = Input<typeof attachSidecarRequestSchema>;

/** A sidecar for a workload that is yet to be created. Unknown keys are refused. */
export const injectSidecarRequestSchema = z
  .strictObject({ tailnetName: dnsLabel, config: sidecarConfigurationSchema, bookDeploymentId: bookDeploymentId.exactOptional() })
  .readonly() satisfies z.ZodType<InjectSidecarRequest>;

/** What `injectSidecar` takes beside the manifest. */
export type InjectSidecarInput = Input<typeof injectSidecarRequestSchema>;

/** The answer to it. Unknown keys are ignored: it may come from a newer manager. */
export const attachSidecarResponseSchema = z
  .object({ sidecarId: boundedId(64), status: z.enum(SIDECAR_STATUSES), tailnetName: dnsLabel, createdAt: time })
  .readonly() satisfies z.ZodType<AttachSidecarResponse>;
