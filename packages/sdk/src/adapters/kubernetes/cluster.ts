import type { Cluster } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { KubernetesConnection } from './connection.ts';
import { KubernetesIdentities } from './identities.ts';
import { KubernetesNetworkPolicies } from './network-policies.ts';
import { KubernetesPods } from './pods.ts';
import { KubernetesSecrets } from './secrets.ts';
import { KubernetesTopology } from './topology.ts';
import { KubernetesWorkloads } from './workloads.ts';

/** Options of {@link kubernetesCluster}. */
export interface KubernetesClusterOptions {
  readonly connection: KubernetesConnection;
  /** Milliseconds of any clock that does not run backwards; what is remembered for a time is measured by it. */
  readonly nowMs?: () => number;
}

/**
 * The Cluster port on a real Kubernetes API server. Needs the rights of `examples/deploy/rbac.yaml`. `start` opens the watch of pods and
 * resolves when it is in sync; disposing closes it, and the connection when no other adapter uses it.
 *
 * @throws {BifrostError} `CLUSTER_DENIED`, `CLUSTER_UNAVAILABLE` — from `start`: the first attempt failed. Call it again, or dispose.
 * @example
 * await using cluster = kubernetesCluster({ connection: kubernetes() });
 * await cluster.start({ signal: AbortSignal.timeout(30_000) });
 */
export function kubernetesCluster({ connection, nowMs = () => performance.now() }: KubernetesClusterOptions): Cluster {
  const pods = new KubernetesPods(connection, nowMs);
  const workloads = new KubernetesWorkloads(connection);
  const use = connection.retain();
  return {
    kind: 'kubernetes',
    workloads,
    secrets: new KubernetesSecrets(connection),
    pods,
    identities: new KubernetesIdentities(connection, nowMs),
    topology: new KubernetesTopology(connection, nowMs),
    networkPolicies: new KubernetesNetworkPolicies(connection),
    start: (options: CallOptions) => pods.synced(options),
    async [Symbol.asyncDispose]() {
      await Promise.all([pods[Symbol.asyncDispose](), workloads[Symbol.asyncDispose]()]);
      await use[Symbol.asyncDispose]();
    },
  };
}
