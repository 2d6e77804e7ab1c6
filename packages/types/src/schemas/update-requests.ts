import { z } from 'zod';
import type { UpdateSidecarRequest, UpdateTailnetRequest, UpgradeSidecarsRequest } from '../core/messages.ts';
import { ACCESS_POLICIES, NETWORK_MODE_WISHES } from '../core/network.ts';
import type { QuarantineSidecarRequest } from '../core/quarantine.ts';
import { boundedId, boundedText, dnsLabel, type Input, labelValue, REQUEST_LIMITS, requestedCidr } from './fields.ts';

const networks = z.array(requestedCidr).max(REQUEST_LIMITS.maxNetworks).readonly();

/** What is to change of a tailnet. Unknown keys are refused: a misspelt option must not vanish. */
export const updateTailnetRequestSchema = z
  .strictObject({
    tailnetName: dnsLabel,
    config: z
      .strictObject({
        allowedNetworks: networks.exactOptional(),
        blockedNetworks: networks.exactOptional(),
        accessPolicy: z.enum(ACCESS_POLICIES).exactOptional(),
        enableLogging: z.boolean().exactOptional(),
      })
      .readonly()
      .exactOptional(),
    tags: z.array(labelValue).max(REQUEST_LIMITS.maxTags).readonly().exactOptional(),
    managePolicy: z.boolean().exactOptional(),
  })
  .readonly() satisfies z.ZodType<UpdateTailnetRequest>;

/** What `updateTailnet` and `planUpdateTailnet` take. */
export type UpdateTailnetInput = Input<typeof updateTailnetRequestSchema>;

/** What is to change of a sidecar. Unknown keys are refused, `hostname` among them. */
export const updateSidecarRequestSchema = z
  .strictObject({
    sidecarId: boundedId(64),
    config: z
      .strictObject({
        advertiseRoutes: z.array(requestedCidr).max(REQUEST_LIMITS.maxRoutes).readonly().exactOptional(),
        acceptRoutes: z.boolean().exactOptional(),
        enableSsh: z.boolean().exactOptional(),
        networkMode: z.enum(NETWORK_MODE_WISHES).exactOptional(),
      })
      .readonly(),
  })
  .readonly() satisfies z.ZodType<UpdateSidecarRequest>;

/** What `updateSidecar` and `planUpdateSidecar` take. */
export type UpdateSidecarInput = Input<typeof updateSidecarRequestSchema>;

/** Which sidecar is to be cut off, and why. Unknown keys are refused. */
export const quarantineSidecarRequestSchema = z
  .strictObject({ sidecarId: boundedId(64), reason: boundedText(256).exactOptional() })
  .readonly() satisfies z.ZodType<QuarantineSidecarRequest>;

/** What `quarantineSidecar` takes. */
export type QuarantineSidecarInput = Input<typeof quarantineSidecarRequestSchema>;

/** An upgrade that is wanted. Unknown keys are refused. */
export const upgradeSidecarsRequestSchema = z
  .strictObject({
    tailnetName: dnsLabel,
    waveSize: z.int().min(1).max(1000).exactOptional(),
    trialMs: z.int().min(1_000).max(86_400_000).exactOptional(),
  })
  .readonly() satisfies z.ZodType<UpgradeSidecarsRequest>;

/** What `upgradeSidecars` and `planUpgrade` take. */
export type UpgradeSidecarsInput = Input<typeof upgradeSidecarsRequestSchema>;
