import { WORKLOAD_KINDS, type WorkloadKind } from '@bifrost/types/core';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import type { WorkloadHint } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { KubernetesConnection } from './connection.ts';
import { readHints } from './hints.ts';
import { ListWatch } from './list-watch.ts';
import { COLLECTIONS, type WorkloadObject } from './workload-find.ts';
import { isFinished } from './workload-read.ts';

type Seen = Omit<WorkloadHint, 'gone'>;

type Watched = Pick<WorkloadObject, 'metadata'> & Partial<WorkloadObject>;

/** Workloads of all kinds in all namespaces, by their metadata alone; only of Jobs more is read, to see their end. Opens nothing before the first reader. */
export class WorkloadWatch implements AsyncDisposable {
  readonly #watches: readonly ListWatch<Watched, Seen>[];
  readonly #closed = new AbortController();

  constructor(connection: KubernetesConnection) {
    this.#watches = WORKLOAD_KINDS.map((kind) => {
      const { group, plural } = COLLECTIONS[kind];
      const operations = { list: 'workloads.list', watch: 'workloads.watch' } as const;
      const path = `${group}/${plural}`;
      return new ListWatch<Watched, Seen>({ connection, operations, kind, path, metadataOnly: kind !== 'Job', project: seenAs(kind) });
    });
  }

  async *hints({ signal }: CallOptions): AsyncGenerator<WorkloadHint, void, void> {
    const subscribe = (push: (uid: string, hint: WorkloadHint) => void): Disposable => {
      const stack = new DisposableStack();
      for (const watch of this.#watches) stack.use(watch.subscribe(({ kind, uid, item }) => push(uid, { ...item, gone: kind === 'gone' })));
      return stack;
    };
    for await (const [, hint] of readHints(subscribe, { signal, closed: this.#closed.signal })) yield hint;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch[Symbol.asyncDispose]()));
    this.#closed.abort(this.#watches[0]?.closed.reason);
  }
}

const seenAs =
  (kind: WorkloadKind) =>
  ({ metadata, status }: Watched): Seen => ({
    workload: { kind, namespace: metadata.namespace ?? '', name: metadata.name, uid: metadata.uid },
    annotations: ownAnnotations(metadata.annotations),
    generation: metadata.generation ?? 0,
    version: metadata.resourceVersion,
    finished: isFinished(kind, status),
  });
