import { parseAddress, parseCidr } from '@bifrost/types/core';
import { z } from 'zod';
import type { NetworkPolicyEndpoint } from '../domain/policy/network-policies.ts';

/** What the manager does with NetworkPolicies of its own. */
export type NetworkPolicyUse = 'off' | 'plan' | 'enforce';

/** Where things answer, in the place of what is found out. An empty list: it is let nowhere. */
export interface NetworkPolicyEndpoints {
  /** Default: what Service `kube-system/kube-dns` says; without one, pods `k8s-app=kube-dns` of that namespace. */
  readonly dns?: readonly NetworkPolicyEndpoint[];
  /** Default: the Service or address that `ingest.url` names; for any other name, its port anywhere outside of the cluster. */
  readonly ingest?: readonly NetworkPolicyEndpoint[];
  /** Default: the address that `loginServer` names; for a name, and for Tailscale's own, its port anywhere outside of the cluster. */
  readonly control?: readonly NetworkPolicyEndpoint[];
  /** Default: what the control plane's map of relays says; where it has none, TCP 443 and UDP 3478 anywhere outside of the cluster. */
  readonly relays?: readonly NetworkPolicyEndpoint[];
}

const label = z.record(z.string().max(317), z.string().max(63));
const network = z.string().refine((text) => parseCidr(text) !== undefined || parseAddress(text) !== undefined, 'must be an address or a range');
const destination = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('networks'), networks: z.array(network) }),
  z.strictObject({ kind: z.literal('pods'), namespaceLabels: label, podLabels: label }),
  z.strictObject({ kind: z.literal('outside') }),
]);
const port = z.union([z.int().min(1).max(65_535), z.string().regex(/^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/)]);
const endpoint = z.strictObject({
  at: z.array(destination),
  ports: z.array(z.strictObject({ protocol: z.enum(['tcp', 'udp']), port })),
});
const endpoints = z.array(endpoint).optional();

export const networkPolicyUseSchema = z.enum(['off', 'plan', 'enforce']).default('off');
export const networkPolicyEndpointsSchema = z.strictObject({ dns: endpoints, ingest: endpoints, control: endpoints, relays: endpoints }).default({});
