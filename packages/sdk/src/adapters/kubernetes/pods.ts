import { createHash } from 'node:crypto';
import { BoundedMap } from '../../domain/bounded-map.ts';
import { LABELS } from '../../domain/names.ts';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import { podFormOf } from '../../domain/pod-form.ts';
import type { PodForm, PodTemplateShape } from '../../domain/pod-shape.ts';
import { untilAborted } from '../../domain/until-aborted.ts';
import type { ContainerState, Pod, Pods } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { ApiObject, OwnerReference } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { readHints } from './hints.ts';
import { ListWatch } from './list-watch.ts';
import { controllerOf, type OwnerAnswer, OwnerWalk } from './owners.ts';
import { pause } from './pause.ts';

interface ContainerStatus {
  readonly name: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: { readonly running?: unknown };
}

interface PodObject extends ApiObject {
  readonly spec?: PodTemplateShape['spec'];
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[] | null;
    readonly initContainerStatuses?: readonly ContainerStatus[] | null;
    readonly containerStatuses?: readonly ContainerStatus[] | null;
  };
}

/** What is kept in memory of a pod. */
interface PodRecord {
  readonly pod: Omit<Pod, 'workloadUid'>;
  readonly owner: OwnerReference | undefined;
}

interface PodHint {
  /** Undefined: it is gone. */
  readonly record: PodRecord | undefined;
  /** Whose it is has been asked for. */
  readonly isAsked?: boolean;
}

/**
 * Pods of one template have one form between them: a guard's rules are as long as its customer's networks are many. Keeps none alive; one that was forgotten
 * is only there twice.
 */
class Forms {
  readonly #known = new BoundedMap<string, WeakRef<PodForm>>(20_000);

  of(spec: PodTemplateShape['spec'] = { containers: [] }): PodForm {
    const form = podFormOf(spec);
    const hash = createHash('sha256').update(JSON.stringify(form)).digest('base64');
    const known = this.#known.get(hash)?.deref();
    if (known !== undefined) return known;
    this.#known.set(hash, new WeakRef(form));
    return form;
  }
}

/** After this time a pod whose owner could not be told is told again. */
const ASK_AGAIN_MS = 2_000;

/** Pods with our label in all namespaces, from a cache that follows the API server. */
export class KubernetesPods implements Pods, AsyncDisposable {
  readonly #watch: ListWatch<PodObject, PodRecord>;
  readonly #owners: OwnerWalk;

  constructor(connection: KubernetesConnection, nowMs: () => number) {
    const forms = new Forms();
    this.#watch = new ListWatch({
      connection,
      operations: { list: 'pods.list', watch: 'pods.watch' },
      kind: 'Pod',
      path: '/api/v1/pods',
      labelSelector: LABELS.sidecarId,
      project: (object) => toRecord(object, forms),
    });
    this.#owners = new OwnerWalk(connection, nowMs);
  }

  /** Resolves when the cache is in sync; rejects with what hinders it. */
  async synced({ signal }: CallOptions): Promise<void> {
    signal.throwIfAborted();
    await untilAborted(this.#watch.synced(), signal);
  }

  async list({ namespace, signal }: CallOptions & { readonly namespace?: string }): Promise<readonly Pod[]> {
    await this.synced({ signal });
    const records = [...this.#watch.items.values()];
    if (namespace === undefined) return records.map((record) => this.#told(record) ?? unsettled(record));
    const wanted = records.filter(({ pod }) => pod.namespace === namespace);
    return Promise.all(wanted.map(async (record) => owned(record, await this.#ask(record, signal))));
  }

  async *watch({ signal }: CallOptions): AsyncGenerator<{ readonly uid: string; readonly pod: Pod | undefined }, void, void> {
    const done = new AbortController();
    let push: (uid: string, hint: PodHint) => void = () => undefined;
    const hints = readHints<PodHint>(
      (pushHint) => {
        push = pushHint;
        return this.#watch.subscribe(({ kind, uid, item }) => pushHint(uid, { record: kind === 'gone' ? undefined : item }));
      },
      { signal, closed: this.#watch.closed },
    );
    const tellAgain = (uid: string, isAsked: boolean): void => {
      const record = this.#watch.items.get(uid);
      if (!done.signal.aborted && record !== undefined) push(uid, { record, isAsked });
    };
    try {
      for await (const [uid, { record, isAsked = false }] of hints) {
        const pod = record && this.#told(record);
        if (record === undefined || pod !== undefined) yield { uid, pod };
        else if (isAsked) {
          yield { uid, pod: unsettled(record) };
          void pause(ASK_AGAIN_MS, done.signal).then(() => tellAgain(uid, false));
        } else
          void this.#ask(record, done.signal).then(
            () => tellAgain(uid, true),
            () => undefined,
          ); // nobody else's hints wait for it
      }
    } finally {
      done.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
    await this.#owners[Symbol.asyncDispose]();
  }

  /** The pod, if whose it is is known already. */
  #told(record: PodRecord): Pod | undefined {
    const answer = this.#owners.known(record.pod.namespace, record.owner);
    return answer && owned(record, answer);
  }

  #ask({ pod, owner }: PodRecord, signal: AbortSignal): Promise<OwnerAnswer> {
    return this.#owners.workloadUid(pod.namespace, owner, signal);
  }
}

const unsettled = (record: PodRecord): Pod => owned(record, { uid: undefined, settled: false });

const owned = ({ pod }: PodRecord, { uid, settled }: OwnerAnswer): Pod => ({ ...pod, workloadUid: uid, ...(settled ? {} : { unsettled: true }) });

function toRecord({ metadata, spec, status = {} }: PodObject, forms: Forms): PodRecord {
  const owner = controllerOf(metadata.ownerReferences);
  const ips = (status.podIPs ?? []).flatMap(({ ip }) => ip || []);
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
      ...(ips.length === 0 ? {} : { ips }),
      containers: [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].map(toContainer),
      form: forms.of(spec),
    },
  };
}

const toContainer = ({ name, ready, restartCount, state }: ContainerStatus): ContainerState => ({
  name,
  running: state?.running !== undefined,
  ready: ready === true,
  restarts: restartCount ?? 0,
});
