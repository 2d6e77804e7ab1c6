import { BifrostError } from '@bifrost/types/core';
import { segment } from './answers.ts';
import { type ApiObject, METADATA_ONLY, type OwnerReference } from './api-types.ts';
import { BoundedMap } from './bounded-map.ts';
import { type KubernetesConnection, untilAborted } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';

/** `settled: false`: the API server could not be asked now; ask again later. */
export interface OwnerAnswer {
  readonly uid: string | undefined;
  readonly settled: boolean;
}

export const controllerOf = (references: readonly OwnerReference[] | undefined): OwnerReference | undefined =>
  references?.find(({ controller }) => controller === true);

/** Pod -> ReplicaSet -> Deployment, by uid. A ReplicaSet's owner never changes, so each is asked for once. */
export class OwnerWalk implements AsyncDisposable {
  readonly #connection: KubernetesConnection;
  readonly #known: BoundedMap<string, { readonly uid: string | undefined }>;
  readonly #asking = new Map<string, Promise<OwnerAnswer>>();
  readonly #stop = new AbortController();

  constructor(connection: KubernetesConnection, capacity = 20_000) {
    this.#connection = connection;
    this.#known = new BoundedMap(capacity);
  }

  /** The workload behind a pod's controller. Rejects only with `signal.reason`. */
  async workloadUid(namespace: string, owner: OwnerReference | undefined, signal: AbortSignal): Promise<OwnerAnswer> {
    if (owner?.kind !== 'ReplicaSet') return { uid: owner?.uid, settled: true };
    const known = this.#known.get(owner.uid);
    if (known !== undefined) return { uid: known.uid, settled: true };
    let asking = this.#asking.get(owner.uid);
    if (asking === undefined) {
      // Asked for all who wait, so no single caller's signal may end it.
      asking = this.#ask(namespace, owner).finally(() => this.#asking.delete(owner.uid));
      this.#asking.set(owner.uid, asking);
    }
    return untilAborted(asking, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#asking.values());
  }

  async #ask(namespace: string, replicaSet: OwnerReference): Promise<OwnerAnswer> {
    const path = `/apis/apps/v1/namespaces/${segment(namespace)}/replicasets/${segment(replicaSet.name)}`;
    try {
      const answer = await this.#connection.send<ApiObject>({
        operation: 'replicasets.get',
        method: 'GET',
        path,
        accept: METADATA_ONLY.object,
        signal: this.#stop.signal,
      });
      if (!answer.ok && !isAbsent(answer.problem)) throw clusterError(answer.problem, 'read a ReplicaSet');
      const metadata = answer.ok ? answer.body.metadata : undefined;
      // Gone, or a successor of its name: whose it was can no longer be told. Without an owner it is the workload itself.
      const uid = metadata?.uid === replicaSet.uid ? (controllerOf(metadata.ownerReferences)?.uid ?? replicaSet.uid) : undefined;
      this.#known.set(replicaSet.uid, { uid });
      return { uid, settled: true };
    } catch (error) {
      const code = BifrostError.is(error) ? error.code : 'CLUSTER_UNAVAILABLE';
      this.#connection.logger.log('warn', 'the owner of a ReplicaSet cannot be read', { namespace, code });
      return { uid: undefined, settled: false };
    }
  }
}
