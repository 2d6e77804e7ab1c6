import { BifrostError, type NetworkConfiguration, type NetworkMode } from '@bifrost/types/core';
import type { ClusterRanges } from '../domain/model.ts';
import { type NetworkPolicyEndpoint, type NetworkPolicyManifest, networkPoliciesOf } from '../domain/policy/network-policies.ts';
import {
  controlEndpoints,
  DNS_SERVICE,
  dnsEndpoints,
  relayEndpoints,
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

type Known = Call & {
  readonly ranges: ClusterRanges;
  /** Of calls: that the relays cannot be told now hinders nobody, they are then taken to be anywhere outside. Default: it does. */
  readonly isPlan?: boolean;
};

/**
 * What Kubernetes is told of a book, by what is known now.
 *
 * @throws {BifrostError} `CLUSTER_UNAVAILABLE`, `CLUSTER_DENIED`; `CLUSTER_RANGES_UNKNOWN` — none of pods is told; `CONTROL_UNAVAILABLE`, `CONTROL_RATE_LIMITED` — the relays are not known
 */
export async function manifestsFor(
  context: Context,
  { config, networkMode, ...subject }: PolicySubject,
  { ranges, isPlan = false, ...call }: Known,
): Promise<readonly NetworkPolicyManifest[]> {
  const { networkPolicyEndpoints: given, loginServer } = context.settings;
  // They would open nothing outside, and the sidecar would never join.
  if (ranges.pods.length === 0)
    throw new BifrostError({
      code: 'CLUSTER_RANGES_UNKNOWN',
      message: 'Tell the manager the ranges that pods have addresses of (option clusterRanges): a NetworkPolicy can keep nobody apart without them.',
      issues: [{ path: 'clusterRanges.pods', message: 'is needed for NetworkPolicies' }],
    });
  return networkPoliciesOf({
    ...subject,
    ranges,
    dns: given.dns ?? dnsEndpoints(await context.cluster.topology.service(DNS_SERVICE, call)),
    ingest: given.ingest ?? (await ingestOf(context, call)),
    control: given.control ?? controlEndpoints(loginServer),
    relays: given.relays ?? (await relaysOf(context, { isPlan, ...call })),
    withheld: withheldNetworks(config, networkMode),
  });
}

async function relaysOf({ relays }: Context, { isPlan, ...call }: Call & { readonly isPlan: boolean }): Promise<readonly NetworkPolicyEndpoint[]> {
  try {
    return relayEndpoints(await relays.read(call));
  } catch (error) {
    if (!isPlan || !BifrostError.is(error)) throw error;
    return relayEndpoints([]);
  }
}

async function ingestOf({ settings, cluster }: Context, call: Call): Promise<readonly NetworkPolicyEndpoint[]> {
  const { url } = settings.ingest;
  const name = serviceOfUrl(url);
  return urlEndpoints(url, name && (await cluster.topology.service(name, call)));
}
