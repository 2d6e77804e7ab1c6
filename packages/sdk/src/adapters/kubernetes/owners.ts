import { BifrostError } from '@bifrost/types/core';
import { BoundedMap } from '../../domain/bounded-map.ts';
import { untilAborted } from '../../domain/until-aborted.ts';
import { isName, segment } from './answers.ts';
import { type ApiObject, METADATA_ONLY, type OwnerReference } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';

/** So long an owner is missed before it counts as gone: one answer may be older than what it does not find, and what is known is kept for ever. */
const MISSED_FOR_MS = 2_000;

/** `settled: false`: the API server could not be asked now, or did not find the owner for the first time; ask again later. */
export interface OwnerAnswer {
  readonly uid: string | undefined;
  readonly settled: boolean;
}

/** What stands between a pod and the workload that it belongs to. */
const BETWEEN = {
  ReplicaSet: { operation: 'replicasets.get', group: '/apis/apps/v1', plural: 'replicasets' },
  Job: { operation: 'jobs.get', group: '/apis/batch/v1', plural: 'jobs' },
} as const;

/** Whoever makes a pod writes its references: what they name is looked for in that namespace only, and may be no name at all. */
const keyOf = (namespace: string, { uid }: OwnerReference): string => `${namespace} ${uid}`;

export const controllerOf = (references: readonly OwnerReference[] | undefined): OwnerReference | undefined =>
  references?.find(({ controller }) => controller === true);

/** Pod -> ReplicaSet -> Deployment and pod -> Job -> CronJob, by uid. The owner of what stands between never changes, so each is asked for until it has told. */
export class OwnerWalk implements AsyncDisposable {
  readonly #connection: KubernetesConnection;
  readonly #known: BoundedMap<string, { readonly uid: string | undefined }>;
  /** Since when an owner is not found. */
  readonly #missedSinceMs: BoundedMap<string, number>;
  readonly #nowMs: () => number;
  readonly #asking = new Map<string, Promise<OwnerAnswer>>();
  readonly #stop = new AbortController();

  constructor(connection: KubernetesConnection, nowMs: () => number, capacity = 20_000) {
    this.#connection = connection;
    this.#nowMs = nowMs;
    this.#known = new BoundedMap(capacity);
    this.#missedSinceMs = new BoundedMap(capacity);
  }

  /** The workload behind a pod's controller, if that is known already. */
  known(namespace: string, owner: OwnerReference | undefined): OwnerAnswer | undefined {
    if (owner === undefined || !Object.hasOwn(BETWEEN, owner.kind)) return { uid: owner?.uid, settled: true };
    const known = this.#known.get(keyOf(namespace, owner));
    return known && { uid: known.uid, settled: true };
  }

  /** The same, asked for if need be. Rejects only with `signal.reason`. */
  async workloadUid(namespace: string, owner: OwnerReference | undefined, signal: AbortSignal): Promise<OwnerAnswer> {
    const known = this.known(namespace, owner);
    if (known !== undefined || owner === undefined) return known ?? { uid: undefined, settled: true };
    const key = keyOf(namespace, owner);
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      // Asked for all who wait, so no single caller's signal may end it.
      asking = this.#ask(namespace, owner, key).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return untilAborted(asking, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#asking.values());
  }

  async #ask(namespace: string, between: OwnerReference, key: string): Promise<OwnerAnswer> {
    const { operation, group, plural } = BETWEEN[between.kind as keyof typeof BETWEEN];
    if (!isName(between.name)) return { uid: undefined, settled: true };
    const path = `${group}/namespaces/${segment(namespace)}/${plural}/${segment(between.name)}`;
    try {
      const answer = await this.#connection.send<ApiObject>({
        operation,
        kind: between.kind,
        method: 'GET',
        path,
        accept: METADATA_ONLY.object,
        signal: this.#stop.signal,
      });
      if (!answer.ok && !isAbsent(answer.problem)) throw clusterError(answer.problem, `read a ${between.kind}`);
      if (!answer.ok && !this.#isMissedForLong(key)) return { uid: undefined, settled: false };
      const metadata = answer.ok ? answer.body.metadata : undefined;
      this.#missedSinceMs.delete(key);
      // Gone, or a successor of its name: whose it was can no longer be told. Without an owner it is the workload itself.
      const uid = metadata?.uid === between.uid ? (controllerOf(metadata.ownerReferences)?.uid ?? between.uid) : undefined;
      this.#known.set(key, { uid });
      return { uid, settled: true };
    } catch (error) {
      const code = BifrostError.is(error) ? error.code : 'CLUSTER_UNAVAILABLE';
      this.#connection.logger.log('warn', 'the owner of a pod cannot be read', { namespace, kind: between.kind, code });
      return { uid: undefined, settled: false };
    }
  }

  #isMissedForLong(key: string): boolean {
    const nowMs = this.#nowMs();
    const sinceMs = this.#missedSinceMs.get(key) ?? nowMs;
    this.#missedSinceMs.set(key, sinceMs);
    return nowMs - sinceMs >= MISSED_FOR_MS;
  }
}
