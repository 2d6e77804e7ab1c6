import { ATTACH_MODES, CAUSES, NETWORK_MODE_WISHES, SIDECAR_STATUSES, WORKLOAD_KINDS } from '@bifrost/types/core';
import { z } from 'zod';
import { ATTACH_ORIGINS } from '../../domain/model.ts';
import { fragmentSchema } from './store-schema-fragment.ts';
import { conditions, fixed, millisecondsSince1970, range, reason, text } from './store-schema-parts.ts';

const sidecarConfiguration = z
  .object({
    hostname: text(63).min(1).describe("Name of the book's devices in the tailnet: one DNS label."),
    advertiseRoutes: z.array(range).max(1000).readonly().describe('Address ranges (CIDR) that the sidecar offers to the tailnet.'),
    acceptRoutes: z.boolean().describe("Whether it uses the routes that the customer's routers offer."),
    enableSsh: z.boolean().describe('Whether Tailscale SSH is on.'),
    networkMode: z.enum(NETWORK_MODE_WISHES).exactOptional().describe('Which form of sidecar was asked for; left out: auto.'),
  })
  .readonly();

const networkMode = z.enum(['kernel', 'userspace']);

const workload = z
  .object({
    kind: z.enum(WORKLOAD_KINDS).describe('Kind of the workload.'),
    namespace: text(63).describe('Its namespace.'),
    name: text(253).describe('Its name.'),
    uid: text(64).describe('Its uid; empty while an injected workload has not been created yet.'),
  })
  .readonly();

export const sidecarSpecSchema = z
  .object({
    sidecarId: text(63).min(1).meta(fixed('sidecarId')).describe('The id that calls, events and labels carry.'),
    tailnetName: text(253).min(1).meta(fixed('tailnetName')).describe('The Tailnet that the book is attached to.'),
    customerId: text(63).min(1).meta(fixed('customerId')).describe('The tenant that tailnet and namespace belong to.'),
    bookDeploymentId: text(512).min(1).describe('How the caller named the workload.'),
    workload: workload.describe('The workload that has the sidecar.'),
    config: sidecarConfiguration.describe('What was asked for.'),
    mode: z
      .enum(ATTACH_MODES)
      .exactOptional()
      .describe('Who owns the fields in the workload: Bifrost (apply, the default), or whoever created it with the sidecar in it (inject).'),
    form: z
      .enum(['apply', 'prepend'])
      .describe('How the fragment is put in: server-side apply, or before the init containers that the pod has of its own.'),
    networkMode: networkMode.exactOptional().describe('Which form of sidecar was rendered; left out: kernel.'),
    fragment: fragmentSchema.describe('What is in the pod template, exactly as rendered once: parts of a pod template in the words of Kubernetes.'),
    previous: z
      .object({
        config: sidecarConfiguration.describe('The config then.'),
        fragment: fragmentSchema.describe('The fragment then.'),
        networkMode: networkMode.exactOptional().describe('The networkMode then.'),
        renderedFor: text(128).exactOptional().describe('The renderedFor then.'),
      })
      .readonly()
      .exactOptional()
      .describe('What came before: where a roll-back leads.'),
    renderedFor: text(128).exactOptional().describe("Hash of the tailnet's configuration that the fragment was rendered for."),
    trial: z
      .object({
        sinceMs: millisecondsSince1970.describe('When it began, in milliseconds since 1970.'),
        deadlineMs: millisecondsSince1970.describe('When the predecessor comes back unless all pods have connected, in milliseconds since 1970.'),
        wasHealthy: z.boolean().describe("Whether it worked before the change: only then is a failure the change's fault."),
      })
      .readonly()
      .exactOptional()
      .describe('Set while fragment has to prove itself.'),
    reverted: reason.exactOptional().describe('Why the last changed fragment was taken back; gone with the next that proves itself.'),
    revertedFor: text(128).exactOptional().describe('SHA-256 of the configuration that was taken back.'),
    upgradeId: text(63).exactOptional().describe('The last upgrade that reached it, whatever came of it.'),
    origin: z
      .enum(ATTACH_ORIGINS)
      .exactOptional()
      .describe('What asked for it: a call (the default), or the annotation bifrost.dev/tailnet on the workload.'),
    registeredAtMs: millisecondsSince1970.exactOptional().describe('When an injected one was last registered, in milliseconds since 1970.'),
    abandon: z
      .boolean()
      .exactOptional()
      .describe(
        'The way out when it does not go: true and deleted, what the control plane, the cluster or pods that do not end hold back is left, and the object goes.',
      ),
    quarantine: z
      .object({
        sinceMs: millisecondsSince1970.describe('Since when, in milliseconds since 1970.'),
        reason: text(256).exactOptional().describe('Why, in the words of whoever asked for it.'),
      })
      .readonly()
      .exactOptional()
      .describe('Set, it is kept out of its tailnet: no key, no device; its pods stay as they are.'),
  })
  .readonly()
  .describe('What is wanted: written by the manager only, but for abandon.');

const instance = z
  .object({
    podName: text().describe('The pod.'),
    podUid: text().describe('Its uid.'),
    status: z.enum(SIDECAR_STATUSES).describe('How its connection stands.'),
    cause: z.enum(CAUSES).exactOptional().describe('What the trouble comes from.'),
    ipAddress: text().exactOptional().describe('Its address in the tailnet.'),
    deviceId: text().exactOptional().describe("The control plane's id of the device that it joined as."),
    sinceMs: millisecondsSince1970.describe('Since when, in milliseconds since 1970.'),
  })
  .readonly();

export const sidecarStateSchema = z
  .object({
    phase: z.enum(SIDECAR_STATUSES).default('attaching').describe('Where it stands, in one word.'),
    instances: z.array(instance).default([]).readonly().describe('One per pod, kept at the rate of changes.'),
    keys: z
      .array(
        z
          .object({
            keyId: text().describe('Its id.'),
            expiresAtMs: millisecondsSince1970.describe('When it ends by itself, in milliseconds since 1970.'),
            tags: z
              .array(text(128))
              .readonly()
              .exactOptional()
              .describe('What joins with it carries beside the tags of all books, or, in a tailnet that customers share, instead of them.'),
          })
          .readonly(),
      )
      .default([])
      .readonly()
      .describe('Keys minted for it and not yet revoked; ids, never values.'),
    deviceIds: z.array(text()).default([]).readonly().describe('Devices that joined for it and are not yet deleted.'),
    applied: z.boolean().exactOptional().describe('True once the fragment is in the workload, false once it is out of it again.'),
    appliedFragment: text(128).exactOptional().describe('Hash of the fragment that was put in last.'),
    waitingSinceMs: millisecondsSince1970
      .exactOptional()
      .describe('Since when pods have been wanted and none has connected ever, in milliseconds since 1970.'),
    everConnected: z.boolean().exactOptional().describe('True once any pod has connected.'),
    rolledBack: z.boolean().exactOptional().describe('True when a failed attach has been taken back.'),
    cutForMs: millisecondsSince1970
      .exactOptional()
      .describe('Of status.revoked of the tailnet: the loss for which its devices were deleted last, in milliseconds since 1970.'),
    obeyedForMs: millisecondsSince1970
      .exactOptional()
      .describe(
        'Of status.revoked of the tailnet: the loss of networks that its guards hold, or lost their devices for, in milliseconds since 1970.',
      ),
    quarantinedSinceMs: millisecondsSince1970.exactOptional().describe('The sinceMs of the quarantine that has been carried out.'),
    repairs: z
      .array(
        z
          .object({
            manager: text().describe('The field manager that had changed what is ours.'),
            atMs: millisecondsSince1970.describe('When it was put right, in milliseconds since 1970.'),
          })
          .readonly(),
      )
      .readonly()
      .exactOptional()
      .describe('Drift that was put right, one entry per field manager.'),
    networkPolicies: z
      .object({
        hash: text(128).describe('Of what they say.'),
        written: z.boolean().describe('True once all of them are there; false: they are about to be written.'),
      })
      .readonly()
      .exactOptional()
      .describe('NetworkPolicies that were written for it.'),
    conditions,
    reason: reason.exactOptional(),
  })
  .readonly()
  .describe('What is known, and the ledger of what was made outside: written by the manager only.');
