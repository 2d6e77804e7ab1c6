// What a manager would have read back of a whole installation, made of the worlds' customers: each has a tailnet of its own, or all have one.
import type { NetworkConfiguration, ProofInput } from '@bifrost/types/core';
import { compilePolicy } from '../../src/domain/policy/compile-policy.ts';
import { mergePolicy } from '../../src/domain/policy/policy-document.ts';
import { controlKeyOf, type EvidenceKind, type EvidenceKinds, proofInput } from '../../src/domain/policy/proof-evidence.ts';
import { guardReader } from '../../src/domain/policy/read-guard.ts';
import { renderSidecar } from '../../src/domain/render-sidecar.ts';
import { renderInput } from '../support/render-input.ts';
import { type Customer, digest, isOurs } from './worlds.ts';

/** Beside the small networks of the worlds, and inside of them: as where a customer routes all of 10.0.0.0/8. */
export const CLUSTER = { pods: ['10.0.0.12/30', '10.244.0.0/16'], services: ['10.96.0.0/12', 'fd00::c/126'], nodes: ['192.168.65.1/32'] };

/** What was read, by name, so that tests can change one thing of it. */
export type Read = { readonly [Kind in EvidenceKind]?: Readonly<Record<string, EvidenceKinds[Kind]>> };

export const inputsOf = (read: Read): readonly ProofInput[] =>
  (Object.entries(read) as unknown as readonly (readonly [EvidenceKind, Readonly<Record<string, never>>])[]).flatMap(([kind, byKey]) =>
    Object.entries(byKey).map(([key, evidence]) => proofInput(kind, key, evidence)),
  );

const hashOf = ({ allowedNetworks, blockedNetworks, accessPolicy }: NetworkConfiguration): string =>
  digest(JSON.stringify([allowedNetworks, blockedNetworks, accessPolicy])).slice(0, 16);

export const keyOf = (customer: Pick<Customer, 'id'>): string => `${customer.id}/deployment-shop`;

/** Everything of one customer. */
function readOf({ id, member, book, router }: Customer, tenancy: string): Read {
  const { config } = member;
  const sidecarId = `sidecar-${id}`;
  const fragment = renderSidecar({ ...renderInput, sidecarId, tailnetName: id, network: config, networkHash: hashOf(config), ranges: CLUSTER });
  const guard = guardReader(digest)(fragment);
  if (guard === undefined) throw new Error('no guard');
  const { allowedNetworks, blockedNetworks, accessPolicy } = config;
  const named = { sidecarId, tailnetName: id, customerId: id, bookDeploymentId: 'shop', namespace: id };
  return {
    tailnet: {
      [id]: {
        ...{ tailnetId: `tailnet-${id}`, customerId: id, tenancy, controlId: `control-${id}`, credentialSecretName: `secret-${id}` },
        ...{ allowedNetworks, blockedNetworks, accessPolicy, networkHash: hashOf(config), managed: true },
      },
    },
    sidecar: { [keyOf({ id })]: { ...named, userspace: false, guards: [guard] } },
    workload: {
      [keyOf({ id })]: {
        ...{ carries: true, customerId: id, sidecarId, hostNetwork: false, labels: { app: 'shop' }, guard, guardAt: 0 },
        containers: [{ name: 'shop', privileged: false, add: [], drop: ['ALL'] }],
      },
    },
    agents: { [keyOf({ id })]: [{ podName: 'shop-1', heard: true, holds: hashOf(config), deviceId: `book-${id}` }] },
    devices: {
      [controlKeyOf(id, { tenancy })]: [
        { deviceId: `book-${id}`, name: `shop-${id}`, tags: book.tags, addresses: book.addresses, routes: book.routes },
        { deviceId: `router-${id}`, name: `router-${id}`, tags: router.tags, addresses: router.addresses, routes: router.routes },
      ],
    },
  };
}

/** Customers each in a tailnet of its own, or, in tenancy `shared`, all in one. */
export function readBack(customers: readonly Customer[], tenancy: 'organization' | 'shared' = 'organization'): Read {
  const parts = customers.map((customer) => readOf(customer, tenancy));
  const merged = <Kind extends EvidenceKind>(kind: Kind) => Object.assign({}, ...parts.map((part) => part[kind])) as NonNullable<Read[Kind]>;
  const compiled = (members: readonly Customer[], shared: boolean): string =>
    mergePolicy('{}', compilePolicy({ members: members.map(({ member }) => member), shared, ownerTags: shared ? ['tag:bifrost-book'] : [] }), isOurs);
  const isShared = tenancy === 'shared';
  const settings = { deviceTags: ['tag:bifrost-book'], routerTag: 'tag:bifrost-router', clusterRanges: CLUSTER };
  return {
    settings: { manager: { installation: 'test', ...settings, directAddresses: [], networkPolicyEnforced: false, networkPoliciesKept: false } },
    ...{ tailnet: merged('tailnet'), sidecar: merged('sidecar'), workload: merged('workload'), agents: merged('agents') },
    devices: isShared ? { '(shared)': parts.flatMap(({ devices }) => devices?.['(shared)'] ?? []) } : merged('devices'),
    policy: isShared
      ? { '(shared)': compiled(customers, true) }
      : Object.fromEntries(customers.map((customer) => [customer.id, compiled([customer], false)])),
  };
}

/** The same with one thing changed: what `change` makes of the evidence of that kind and key. */
export function changed<Kind extends EvidenceKind>(
  read: Read,
  [kind, key]: readonly [Kind, string],
  change: (evidence: EvidenceKinds[Kind]) => EvidenceKinds[Kind],
): Read {
  const byKey = read[kind] as Readonly<Record<string, EvidenceKinds[Kind]>> | undefined;
  const evidence = byKey?.[key];
  if (evidence === undefined) throw new Error(`nothing was read as ${kind} ${key}`);
  return { ...read, [kind]: { ...byKey, [key]: change(evidence) } };
}
