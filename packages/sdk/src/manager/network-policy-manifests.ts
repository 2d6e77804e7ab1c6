import type { NetworkConfiguration, NetworkMode } from '@bifrost/types/core';
import type { ClusterRanges } from '../domain/model.ts';
import { type NetworkPolicyEndpoint, type NetworkPolicyManifest, networkPoliciesOf } from '../domain/policy/network-policies.ts';
import {
  controlEndpoints,
  DNS_SERVICE,
  dnsEndpoints,
  RELAYS_OUTSIDE,
  serviceOfUrl,
  urlEndpoints,
} from '../domain/policy/network-policy-endpoints.ts';
import { withheldNetworks } from '../domain/policy/withheld-networks.ts';
import type { Call, Context } from './context.ts';

/** The book that NetworkPolicies are for, as far as they differ by it. */
export interface PolicySubject {
  readonly sidecarId: string;
  readonly namespace: string;
  readonly networkMode: NetworkMode;
  readonly config: NetworkConfiguration;
}

/** What Kubernetes is told of a book, by what is known of the cluster now. @throws {BifrostError} `CLUSTER_UNAVAILABLE`, `CLUSTER_DENIED` */
export async function manifestsFor(
  context: Context,
  { config, networkMode, ...subject }: PolicySubject,
  { ranges, ...call }: Call & { readonly ranges: ClusterRanges },
): Promise<readonly NetworkPolicyManifest[]> {
  const { networkPolicyEndpoints: given, loginServer } = context.settings;
  return networkPoliciesOf({
    ...subject,
    ranges,
    dns: given.dns ?? dnsEndpoints(await context.cluster.topology.service(DNS_SERVICE, call)),
    ingest: given.ingest ?? (await ingestOf(context, call)),
    control: given.control ?? controlEndpoints(loginServer),
    relays: given.relays ?? RELAYS_OUTSIDE,
    withheld: withheldNetworks(config, networkMode),
  });
}

async function ingestOf({ settings, cluster }: Context, call: Call): Promise<readonly NetworkPolicyEndpoint[]> {
  const { url } = settings.ingest;
  const name = serviceOfUrl(url);
  return urlEndpoints(url, name && (await cluster.topology.service(name, call)));
}
