import { LABELS } from '../../domain/names.ts';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import type { ContainerState, Pod, Pods } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { ApiObject, OwnerReference } from './api-types.ts';
import { type KubernetesConnection, untilAborted } from './connection.ts';
import { readHints } from './hints.ts';
import { ListWatch } from './list-watch.ts';
import { controllerOf, OwnerWalk } from './owners.ts';
import { pause } from './pause.ts';

interface ContainerStatus {
  readonly name: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: { readonly running?: unknown };
}

interface PodObject extends ApiObject {
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly initContainerStatuses?: readonly ContainerStatus[] | null;
    readonly containerStatuses?: readonly ContainerStatus[] | null;
  };
}

/** What is kept in memory of a pod. */
interface PodRecord {
  readonly pod: Omit<Pod, 'workloadUid'>;
  readonly owner: OwnerReference | undefined;
}

/** After this time a pod whose owner could not be read is told again. */
const ASK_AGAIN_MS = 2_000;

/** Pods with our label in all namespaces, from a cache that follows the API server. */
export class KubernetesPods implements Pods, AsyncDisposable {
  readonly #watch: ListWatch<PodObject, PodRecord>;
  readonly #owners: OwnerWalk;

  constructor(connection: KubernetesConnection) {
    this.#watch = new ListWatch({
      connection,
      operations: { list: 'pods.list', watch: 'pods.watch' },
      path: '/api/v1/pods',
      labelSelector: LABELS.sidecarId,
      project: toRecord,
    });
    this.#owners = new OwnerWalk(connection);
  }

  /** Resolves when the cache is in sync; rejects with what hinders it. */
  async synced({ signal }: CallOptions): Promise<void> {
    signal.throwIfAborted();
    await untilAborted(this.#watch.synced(), signal);
  }

  async list(options: CallOptions): Promise<readonly Pod[]> {
    await this.synced(options);
    const records = [...this.#watch.items.values()];
    return Promise.all(records.map(async (record) => (await this.#owned(record, options.signal)).pod));
  }

  async *watch({ signal }: CallOptions): AsyncGenerator<{ readonly uid: string; readonly pod: Pod | undefined }, void, void> {
    const done = new AbortController();
    const tellAgain = (uid: string, push: () => void): void => {
      void pause(ASK_AGAIN_MS, done.signal).then(() => {
        if (!done.signal.aborted && this.#watch.items.has(uid)) push();
      });
    };
    let push: (uid: string, record: PodRecord | undefined) => void = () => undefined;
    const hints = readHints<PodRecord | undefined>(
      (pushHint) => {
        push = pushHint;
        return this.#watch.subscribe(({ kind, uid, item }) => pushHint(uid, kind === 'gone' ? undefined : item));
      },
      { signal, closed: this.#watch.closed },
    );
    try {
      for await (const [uid, record] of hints) {
        if (record === undefined) yield { uid, pod: undefined };
        else {
          const { pod, settled } = await this.#owned(record, signal);
          if (!settled) tellAgain(uid, () => push(uid, this.#watch.items.get(uid)));
          yield { uid, pod };
        }
      }
    } finally {
      done.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
    await this.#owners[Symbol.asyncDispose]();
  }

  async #owned({ pod, owner }: PodRecord, signal: AbortSignal): Promise<{ pod: Pod; settled: boolean }> {
    const { uid: workloadUid, settled } = await this.#owners.workloadUid(pod.namespace, owner, signal);
    return { pod: { ...pod, workloadUid, ...(settled ? {} : { unsettled: true }) }, settled };
  }
}

function toRecord({ metadata, status = {} }: PodObject): PodRecord {
  const owner = controllerOf(metadata.ownerReferences);
  return {
    owner: owner && { kind: owner.kind, name: owner.name, uid: owner.uid },
    pod: {
      namespace: metadata.namespace ?? '',
      name: metadata.name,
      uid: metadata.uid,
      labels: metadata.labels ?? {},
      annotations: ownAnnotations(metadata.annotations),
      createdAtMs: Date.parse(metadata.creationTimestamp ?? ''),
      phase: status.phase ?? 'Unknown',
      deleting: metadata.deletionTimestamp !== undefined,
      ip: status.podIP || undefined,
      containers: [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].map(toContainer),
    },
  };
}

const toContainer = ({ name, ready, restartCount, state }: ContainerStatus): ContainerState => ({
  name,
  running: state?.running !== undefined,
  ready: ready === true,
  restarts: restartCount ?? 0,
});
