import { ACCESS_POLICIES, TAILNET_STATUSES, TENANCIES } from '@bifrost/types/core';
import { z } from 'zod';
import { ROLLOUT_RULES } from '../../domain/model.ts';
import {
  conditions,
  filledInByUs,
  fixed,
  LABEL_VALUE,
  millisecondsSince1970,
  positive,
  range,
  reason,
  reasonShape,
  text,
  validations,
  within,
} from './store-schema-parts.ts';

const OBJECT_NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;

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
  "self.tenancy == 'customer-owned' || !has(self.credentialSecretName)",
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
        "Who owns the tailnet at the control plane: the customer, or our organization (then it is created), or the platform with many customers in one (shared). In a manifest this default holds, whatever the manager's option says for calls.",
      ),
    credentialSecretName: filledInByUs(within(OBJECT_NAME, 253)).describe(
      "Secret in the manager's namespace with client_id and client_secret of the customer's OAuth client. Left out: bifrost-customer-CUSTOMERID, where the id allows. For tenancy customer-owned only.",
    ),
    managePolicy: z
      .boolean()
      .exactOptional()
      .describe(
        "True: our entries are kept in the policy of a customer's own tailnet, whose client then needs the scope policy_file. For tenancy customer-owned only.",
      ),
    paused: z.boolean().exactOptional().describe('True: nothing is changed outside for this tailnet and its sidecars.'),
    abandon: z
      .boolean()
      .exactOptional()
      .describe(
        'The way out when it does not go: true and deleted, what cannot be taken away, of it and of its sidecars, is left, and the object goes.',
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
        message: 'only a tailnet of the customer has a credential of its own: leave credentialSecretName out',
        fieldPath: '.credentialSecretName',
      },
      {
        rule: "self.tenancy == 'customer-owned' || !has(self.managePolicy)",
        message: 'the policy of such a tailnet is kept anyway: leave managePolicy out',
        fieldPath: '.managePolicy',
      },
    ),
  )
  .describe('What is wanted: written by people, GitOps, or calls.');

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
    policyWritten: z.boolean().exactOptional().describe('True once our entries are in the policy.'),
    policyHash: text(128).exactOptional().describe('SHA-256 of our sections of the policy, as written last.'),
    policyReason: reason.exactOptional().describe("Why the policy of the customer's own tailnet is not kept, although it was asked for."),
    policyPending: text(128).exactOptional().describe('Of an earlier version; not written any more.'),
    enforced: z
      .object({
        allowedNetworks: z.array(range).max(1000).readonly().describe('As in spec.config.'),
        blockedNetworks: z.array(range).max(1000).readonly().describe('As in spec.config.'),
        accessPolicy: z.enum(ACCESS_POLICIES).describe('As in spec.config.'),
      })
      .readonly()
      .exactOptional()
      .describe('What the policy, as it was written last, is for.'),
    revoked: z
      .object({
        networksAtMs: millisecondsSince1970.exactOptional().describe('When it last granted fewer networks than before, in milliseconds since 1970.'),
        devicesAtMs: millisecondsSince1970
          .exactOptional()
          .describe("When it last ceased to grant the tailnet's own devices, in milliseconds since 1970."),
      })
      .readonly()
      .exactOptional()
      .describe('What it last took away: established connections are cut for it.'),
    conditions,
    upgrade: upgradeState.exactOptional(),
    reason: reason.exactOptional(),
  })
  .readonly()
  .describe('What is known: written by the manager only.');
