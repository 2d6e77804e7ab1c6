import { randomBytes } from 'node:crypto';
import type { Cluster, Pod } from '@bifrost/sdk';
import { type KubernetesConnection, kubernetesCluster } from '@bifrost/sdk/kubernetes';

/** A pod of the book, and the token that its agent shows. */
export interface Reporter {
  readonly token: string;
  readonly podUid: string;
}

/** An API server that answers TokenReviews and nothing else: the tokens are those that it issued. */
class TokenServer implements KubernetesConnection {
  readonly logger = { log: () => {} };
  readonly #holders = new Map<string, Pod>();

  issue(pod: Pod): Reporter {
    // Header, claims and signature of a projected token are about 1 KB.
    const token = [40, 560, 256].map((bytes) => randomBytes(bytes).toString('base64url')).join('.');
    this.#holders.set(token, pod);
    return { token, podUid: pod.uid };
  }

  async send<T>({ path, body }: Parameters<KubernetesConnection['send']>[0]) {
    if (!path.endsWith('/tokenreviews')) throw new RangeError(`not served: ${path}`);
    const { spec } = body as { spec: { token: string; audiences: readonly string[] } };
    const pod = this.#holders.get(spec.token);
    const status = pod === undefined ? { authenticated: false } : { authenticated: true, audiences: spec.audiences, user: userOf(pod) };
    return { ok: true as const, body: { status } as T };
  }

  // biome-ignore lint/correctness/useYield: nothing is watched
  async *stream(): AsyncGenerator<unknown, void, void> {
    throw new RangeError('nothing is watched');
  }

  retain(): AsyncDisposable {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

const userOf = ({ namespace, name, uid }: Pod) => ({
  username: `system:serviceaccount:${namespace}:default`,
  extra: { 'authentication.kubernetes.io/pod-name': [name], 'authentication.kubernetes.io/pod-uid': [uid] },
});

/** A cluster that checks tokens as the Kubernetes adapter does, its memory of answers included; all else is the given cluster's. */
export function withTokenReviews(cluster: Cluster): { readonly cluster: Cluster; readonly issue: (pod: Pod) => Reporter } {
  const server = new TokenServer();
  const { kind, workloads, secrets, pods, topology, networkPolicies } = cluster;
  const { identities } = kubernetesCluster({ connection: server });
  return {
    issue: (pod) => server.issue(pod),
    cluster: {
      ...{ kind, workloads, secrets, pods, identities, topology, networkPolicies },
      start: (options) => cluster.start(options),
      [Symbol.asyncDispose]: async () => cluster[Symbol.asyncDispose](),
    },
  };
}
