import {
  ACCESS_POLICIES,
  ATTACH_MODES,
  CAUSES,
  formatCidr,
  NETWORK_MODE_WISHES,
  parseCidr,
  SIDECAR_STATUSES,
  TAILNET_STATUSES,
  TENANCIES,
  WORKLOAD_KINDS,
} from '@bifrost/types/core';
import { z } from 'zod';
import { ATTACH_ORIGINS, ROLLOUT_RULES } from '../../domain/model.ts';
import { fragmentSchema } from './store-schema-fragment.ts';
import { filledInByUs, fixed, millisecondsSince1970, positive, text, validations, within } from './store-schema-parts.ts';

/**
 * What is stored in custom resources, in the words of `domain/model.ts`. The custom resource definitions are made of these (`npm run generate`), so
 * what stands here in `describe` is what `kubectl explain` says. Form alone is checked here: it must let in whatever was stored once. What the words
 * mean is checked by the manager, as for a call, and told as the condition `Accepted`.
 */

const LABEL_VALUE = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const OBJECT_NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;

const range = text(64)
  .overwrite((written) => {
    const cidr = parseCidr(written);
    return cidr ? formatCidr(cidr) : written; // as calls have it, so that equal configurations compare equal
  })
  .meta(validations({ rule: 'isCIDR(self)', message: 'must be an address range such as 10.1.0.0/16 or fd00:1::/64' }));

const networkConfiguration = z
  .object({
    allowedNetworks: z.array(range).max(1000).readonly().describe("Address ranges (CIDR) behind the customer's routers that books may reach."),
    blockedNetworks: z
      .array(range)
      .max(1000)
      .default([])
      .readonly()
      .describe('Address ranges (CIDR) that books may never reach; wins over allowedNetworks.'),
    accessPolicy: z
      .enum(ACCESS_POLICIES)
      .default('restrictive')
      .describe('How far a book may go through the tunnel; its way inside the cluster and to the Internet stays as it is.'),
    enableLogging: z.boolean().default(false).describe('Whether flow logs are wanted.'),
  })
  .readonly();

const sidecarConfiguration = z
  .object({
    hostname: text(63).min(1).describe("Name of the book's devices in the tailnet: one DNS label."),
    advertiseRoutes: z.array(range).max(1000).readonly().describe('Address ranges (CIDR) that the sidecar offers to the tailnet.'),
    acceptRoutes: z.boolean().describe("Whether it uses the routes that the customer's routers offer."),
    enableSsh: z.boolean().describe('Whether Tailscale SSH is on.'),
    networkMode: z.enum(NETWORK_MODE_WISHES).exactOptional().describe('Which form of sidecar was asked for; left out: auto.'),
  })
  .readonly();

const upgradeWish = z
  .object({
    upgradeId: text(63).min(1).describe('Another id is another upgrade.'),
    requestedAtMs: millisecondsSince1970.describe('When it was asked for, in milliseconds since 1970.'),
    networkHash: text(128).describe('Hash of the configuration that it is for.'),
    waveSize: positive.describe('How many sidecars are on trial at once.'),
    trialMs: positive.describe(
      'How long all pods of one sidecar may take to connect, in milliseconds; then it is rolled back and the upgrade halts.',
    ),
  })
  .readonly()
  .describe('An upgrade of all sidecars of this tailnet, in waves. Asked for by a call; the manager writes it.');

/** What was stored before the rule was made can still be changed elsewhere: `abandon` above all. */
const OWN_CREDENTIAL = [
  "self.tenancy != 'organization' || !has(self.credentialSecretName)",
  "has(self.tailnetId) && self.credentialSecretName == 'bifrost-tailnet-' + self.tailnetId",
  "self.credentialSecretName == oldSelf.?credentialSecretName.orValue('')",
].join(' || ');

export const tailnetSpecSchema = z
  .object({
    tailnetId: filledInByUs(text(63).min(1)).meta(fixed('tailnetId')).describe("Left out by people; the object's uid is taken then."),
    customerId: within(LABEL_VALUE, 63)
      .meta(fixed('customerId'))
      .describe('The tenant: the value of the label bifrost.dev/customer-id of its namespaces.'),
    config: networkConfiguration.describe("The customer's network intent."),
    tags: z.array(within(LABEL_VALUE, 63)).max(32).default([]).readonly().describe('Words of your own, for finding it again.'),
    tenancy: z
      .enum(TENANCIES)
      .default('customer-owned')
      .meta(fixed('tenancy'))
      .describe(
        "Who owns the tailnet at the control plane: the customer, or our organization (then it is created). In a manifest this default holds, whatever the manager's option says for calls.",
      ),
    credentialSecretName: filledInByUs(within(OBJECT_NAME, 253)).describe(
      "Secret in the manager's namespace with client_id and client_secret of the customer's OAuth client. Left out: bifrost-customer-CUSTOMERID, where the id allows. Not for tenancy organization.",
    ),
    paused: z.boolean().exactOptional().describe('True: nothing is changed outside for this tailnet and its sidecars.'),
    abandon: z
      .boolean()
      .exactOptional()
      .describe(
        'The way out when credentials are dead: true and deleted, what the control plane does not let us take away is left there and the object goes.',
      ),
    rollout: z
      .enum(ROLLOUT_RULES)
      .exactOptional()
      .describe(
        'What becomes of sidecars whose pods must restart for a changed config: ask (the default) waits for a call, always begins an upgrade.',
      ),
    upgrade: upgradeWish.exactOptional(),
  })
  .readonly()
  .meta(
    validations(
      { rule: 'has(self.tailnetId) == has(oldSelf.tailnetId)', message: 'tailnetId cannot be added or removed later' },
      {
        rule: OWN_CREDENTIAL,
        optionalOldSelf: true,
        message: 'a tailnet in our organization gets its own credential: leave credentialSecretName out',
        fieldPath: '.credentialSecretName',
      },
    ),
  )
  .describe('What is wanted: written by people, GitOps, or calls.');

const reasonShape = {
  code: text(128).describe('An error code; docs/runbooks has a page for each.'),
  message: text().describe('A sentence that says what to do.'),
  path: text().exactOptional().describe('The field at fault.'),
};
const reason = z.object(reasonShape).readonly().describe('Why it is not as it was wanted.');

const condition = z
  .object({
    type: text(316).min(1).describe('Accepted, Ready, or another matter of this kind.'),
    status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
    reason: within(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/, 1024).describe('One word; an error code where something is wrong.'),
    message: text(32_768).describe('A sentence for people.'),
    observedGeneration: z.int().nonnegative().describe('The metadata.generation that it speaks of.'),
    lastTransitionTime: text(64).meta({ format: 'date-time' }).describe('Since when the status holds.'),
  })
  .readonly();
const conditions = z
  .array(condition)
  .readonly()
  .exactOptional()
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
  .describe('How matters stand, one entry for each type.');

const upgradeState = z
  .object({
    upgradeId: text(63).describe('Of spec.upgrade.'),
    total: z.int().nonnegative().describe('Sidecars that it concerns.'),
    done: z.int().nonnegative().describe('Those that have proved themselves.'),
    finished: z.boolean().exactOptional().describe('True once nothing is left to do.'),
    haltedBy: z
      .object({ ...reasonShape, sidecarId: text(63).describe('The sidecar that was rolled back.') })
      .readonly()
      .exactOptional()
      .describe('Set when a sidecar was rolled back: the rest stays as it is.'),
  })
  .readonly()
  .describe('How far spec.upgrade has come.');

export const tailnetStateSchema = z
  .object({
    phase: z.enum(TAILNET_STATUSES).default('creating').describe('Where it stands, in one word.'),
    controlId: text().exactOptional().describe("The control plane's own id of the tailnet."),
    dnsName: text().exactOptional().describe('The MagicDNS suffix of its machines.'),
    policyWritten: z.boolean().exactOptional().describe('True once the policy of a tailnet that we made is written.'),
    policyHash: text(128).exactOptional().describe("SHA-256 of the policy that we wrote last: what differs is somebody else's edit."),
    conditions,
    upgrade: upgradeState.exactOptional(),
    reason: reason.exactOptional(),
  })
  .readonly()
  .describe('What is known: written by the manager only.');

const workload = z
  .object({
    kind: z.enum(WORKLOAD_KINDS).describe('Kind of the workload.'),
    namespace: text(63).describe('Its namespace.'),
    name: text(253).describe('Its name.'),
    uid: text(64).describe('Its uid; empty while an injected workload has not been created yet.'),
  })
  .readonly();

const networkMode = z.enum(['kernel', 'userspace']).exactOptional().describe('Which form of sidecar was rendered; left out: kernel.');
const renderedFor = text(128).exactOptional().describe("Hash of the tailnet's configuration that the fragment was rendered for.");

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
    networkMode,
    fragment: fragmentSchema.describe('What is in the pod template, exactly as rendered once: parts of a pod template in the words of Kubernetes.'),
    previous: z
      .object({ config: sidecarConfiguration.describe('Its config.'), fragment: fragmentSchema.describe('Its fragment.'), networkMode, renderedFor })
      .readonly()
      .exactOptional()
      .describe('What came before config and fragment: where a roll-back leads.'),
    renderedFor,
    trial: z
      .object({
        sinceMs: millisecondsSince1970.describe('When it began, in milliseconds since 1970.'),
        deadlineMs: millisecondsSince1970.describe('When the predecessor comes back unless all pods have connected, in milliseconds since 1970.'),
        wasHealthy: z.boolean().describe('Whether it worked before: only then is a failure the fault of the change.'),
      })
      .readonly()
      .exactOptional()
      .describe('Set while fragment has to prove itself.'),
    reverted: z
      .object({
        code: text(128).describe('An error code.'),
        message: text(4096).describe('A sentence that says what to do.'),
        path: text(512).exactOptional().describe('The field at fault.'),
      })
      .readonly()
      .exactOptional()
      .describe('Why the last changed fragment was taken back; gone with the next that proves itself.'),
    upgradeId: text(63).exactOptional().describe('The last upgrade that reached it, whatever came of it.'),
    origin: z
      .enum(ATTACH_ORIGINS)
      .exactOptional()
      .describe('What asked for it: a call (the default), or the annotation bifrost.dev/tailnet on the workload.'),
    abandon: z
      .boolean()
      .exactOptional()
      .describe(
        'The way out when credentials are dead: true and deleted, what the control plane does not let us take away is left there and the object goes.',
      ),
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
          })
          .readonly(),
      )
      .default([])
      .readonly()
      .describe('Keys minted for it and not yet revoked; ids, never values.'),
    deviceIds: z.array(text()).default([]).readonly().describe('Devices that joined for it and are not yet deleted.'),
    applied: z.boolean().exactOptional().describe('True once the fragment is in the workload.'),
    appliedFragment: text(128)
      .exactOptional()
      .describe('Hash of the fragment that was put in last: another one in spec is our own change, not drift.'),
    waitingSinceMs: millisecondsSince1970
      .exactOptional()
      .describe('Since when it is in, with pods wanted and none connected ever: the attach deadline counts from there, in milliseconds since 1970.'),
    everConnected: z.boolean().exactOptional().describe('True once any pod has connected.'),
    rolledBack: z.boolean().exactOptional().describe('True when a failed attach has been taken back.'),
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
    conditions,
    reason: reason.exactOptional(),
  })
  .readonly()
  .describe('What is known, and the ledger of what was made outside: written by the manager only.');
