import { ATTACHABLE_KINDS, type AttachableKind, BifrostError, type WorkloadKind } from '@bifrost/types/core';
import { BoundedMap } from '../../domain/bounded-map.ts';
import { LABELS } from '../../domain/names.ts';
import type { PodTemplateShape } from '../../domain/pod-shape.ts';
import type { Workloads } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { segment } from './answers.ts';
import { type ApiList, type ApiObject, METADATA_ONLY } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';

export interface WorkloadObject extends ApiObject {
  readonly spec: {
    readonly replicas?: number;
    readonly parallelism?: number;
    readonly suspend?: boolean;
    /** Of a CronJob it lies one level deeper: see `templateOf`. */
    readonly template: PodTemplateShape;
    readonly jobTemplate?: { readonly spec: { readonly template: PodTemplateShape } };
  };
  readonly status?: {
    readonly desiredNumberScheduled?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[] | null;
  };
}

export interface FoundObject {
  readonly kind: WorkloadKind;
  readonly object: WorkloadObject;
}

interface Collection {
  readonly kind: string;
  readonly group: string;
  readonly plural: string;
}

export const COLLECTIONS = {
  Deployment: { kind: 'Deployment', group: '/apis/apps/v1', plural: 'deployments' },
  StatefulSet: { kind: 'StatefulSet', group: '/apis/apps/v1', plural: 'statefulsets' },
  DaemonSet: { kind: 'DaemonSet', group: '/apis/apps/v1', plural: 'daemonsets' },
  Job: { kind: 'Job', group: '/apis/batch/v1', plural: 'jobs' },
  CronJob: { kind: 'CronJob', group: '/apis/batch/v1', plural: 'cronjobs' },
} as const satisfies Record<WorkloadKind, Collection>;

/** Looked at only when nothing else counts, to say WORKLOAD_UNSUPPORTED instead of WORKLOAD_NOT_FOUND. */
const UNSUPPORTED: readonly Collection[] = [COLLECTIONS.Job, COLLECTIONS.CronJob];
const KINDS: readonly AttachableKind[] = ATTACHABLE_KINDS;

const LABEL_VALUE = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const UID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NAMESPACED_NAME = /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)$/;

const objectPath = ({ group, plural }: Collection, namespace: string, name: string): string =>
  `${group}/namespaces/${segment(namespace)}/${plural}/${segment(name)}`;
export const workloadPath = (kind: WorkloadKind, namespace: string, name: string): string => objectPath(COLLECTIONS[kind], namespace, name);

interface PageRequest {
  readonly collection: Collection;
  readonly query: Readonly<Record<string, string | number | undefined>>;
  readonly accept?: string;
}

interface Place {
  readonly kind: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
}

type FindOptions = Parameters<Workloads['find']>[1];
type CustomerOf = (namespace: string, options: CallOptions) => Promise<string | undefined>;

/** Finds workloads by what callers know them by. Keeps nothing but where a uid was seen, and checks that at each use. */
export class WorkloadFinder {
  readonly #connection: KubernetesConnection;
  readonly #customerOf: CustomerOf;
  readonly #places = new BoundedMap<string, Place>(10_000);

  constructor(connection: KubernetesConnection, customerOf: CustomerOf) {
    this.#connection = connection;
    this.#customerOf = customerOf;
  }

  /** `isOwn`: it has been looked up to be `customerId`'s. @throws {BifrostError} `WORKLOAD_NOT_FOUND`, `WORKLOAD_AMBIGUOUS`, `WORKLOAD_UNSUPPORTED` */
  async find(bookDeploymentId: string, options: FindOptions): Promise<FoundObject & { readonly isOwn: boolean }> {
    options.signal.throwIfAborted();
    let elsewhere: FoundObject | undefined;
    for (const look of [this.#labelled, this.#byUid, this.#named]) {
      const found = await look.call(this, bookDeploymentId, options);
      const counted = await this.#counted(found, options);
      const [first, second] = counted;
      if (second !== undefined) throw ambiguous(counted);
      if (first !== undefined) return { ...first, isOwn: options.customerId !== undefined };
      elsewhere ??= found[0];
    }
    const unsupported = await this.#unsupported(bookDeploymentId, options);
    if (elsewhere !== undefined && unsupported?.customerId !== options.customerId) return { ...elsewhere, isOwn: false };
    if (unsupported !== undefined) {
      const { kind } = unsupported;
      throw new BifrostError({
        code: 'WORKLOAD_UNSUPPORTED',
        message: `a ${kind} cannot be given a sidecar while it exists; create it with its sidecar (injectSidecar)`,
        issues: [{ path: 'bookDeploymentId', message: `is a ${kind}` }],
        details: unsupported,
      });
    }
    throw new BifrostError({
      code: 'WORKLOAD_NOT_FOUND',
      message: `no Deployment, StatefulSet or DaemonSet has this value of the label ${LABELS.bookDeploymentId}, this uid, or this namespace/name`,
      issues: [{ path: 'bookDeploymentId', message: 'no workload has it' }],
    });
  }

  async read({ kind, namespace, name }: Place, options: CallOptions): Promise<WorkloadObject | undefined> {
    return this.#get<WorkloadObject>(COLLECTIONS[kind], { namespace, name }, options);
  }

  /** Those in the customer's own namespaces: anybody may write another's label value or name onto a workload. */
  async #counted<Found extends { readonly object: ApiObject }>(
    found: readonly Found[],
    { customerId, signal }: FindOptions,
  ): Promise<readonly Found[]> {
    if (customerId === undefined) return found;
    const namespaces = [...new Set(found.map(({ object }) => object.metadata.namespace ?? ''))];
    const customers = await Promise.all(namespaces.map((namespace) => this.#customerOf(namespace, { signal })));
    const own = new Set(namespaces.filter((_, index) => customers[index] === customerId));
    return found.filter(({ object }) => own.has(object.metadata.namespace ?? ''));
  }

  async #named(id: string, options: CallOptions): Promise<readonly FoundObject[]> {
    const [, namespace, name] = NAMESPACED_NAME.exec(id) ?? [];
    if (namespace === undefined || name === undefined) return [];
    const read = await Promise.all(KINDS.map(async (kind) => ({ kind, object: await this.read({ kind, namespace, name }, options) })));
    return read.flatMap(({ kind, object }) => (object === undefined ? [] : [{ kind, object }]));
  }

  async #labelled(value: string, options: CallOptions): Promise<readonly FoundObject[]> {
    if (!LABEL_VALUE.test(value)) return [];
    const query = { labelSelector: `${LABELS.bookDeploymentId}=${value}` };
    const lists = await Promise.all(
      KINDS.map(async (kind) => {
        const found: FoundObject[] = [];
        for await (const object of this.#pages<WorkloadObject>({ collection: COLLECTIONS[kind], query }, options)) found.push({ kind, object });
        return found;
      }),
    );
    return lists.flat();
  }

  async #byUid(uid: string, options: CallOptions): Promise<readonly FoundObject[]> {
    if (!UID.test(uid)) return [];
    const known = this.#places.get(uid);
    const candidates = known === undefined ? await this.#placesOf(uid, options) : [known];
    for (const place of candidates) {
      const object = await this.read(place, options);
      if (object?.metadata.uid !== uid) continue;
      this.#places.set(uid, place);
      return [{ kind: place.kind, object }];
    }
    this.#places.delete(uid);
    return [];
  }

  /** The API has no selector for uids: their metadata is paged through, once per uid. */
  async #placesOf(uid: string, options: CallOptions): Promise<readonly Place[]> {
    for (const kind of KINDS) {
      const found = await this.#scan(COLLECTIONS[kind], uid, options);
      if (found !== undefined) return [{ kind, namespace: found.metadata.namespace ?? '', name: found.metadata.name }];
    }
    return [];
  }

  async #scan(collection: Collection, uid: string, options: CallOptions): Promise<ApiObject | undefined> {
    for await (const object of this.#pages<ApiObject>({ collection, query: {}, accept: METADATA_ONLY.list }, options)) {
      if (object.metadata.uid === uid) return object;
    }
    return undefined;
  }

  /** Its kind and whose it is: the customer's own, where there is one of that id. */
  async #unsupported(id: string, options: FindOptions): Promise<{ readonly kind: string; readonly customerId?: string } | undefined> {
    const found = (await Promise.all(UNSUPPORTED.map((collection) => this.#metadataOf(collection, id, options)))).flat();
    const [own] = await this.#counted(found, options);
    const first = own ?? found[0];
    if (first === undefined) return undefined;
    const customerId = own === undefined ? undefined : options.customerId;
    const owner = customerId ?? (await this.#customerOf(first.object.metadata.namespace ?? '', options));
    return { kind: first.kind, ...(owner === undefined ? {} : { customerId: owner }) };
  }

  /** All of one kind that answer to the id, in whichever way. */
  async #metadataOf(
    collection: Collection,
    id: string,
    options: CallOptions,
  ): Promise<readonly { readonly kind: string; readonly object: ApiObject }[]> {
    const objects: (ApiObject | undefined)[] = [];
    if (LABEL_VALUE.test(id)) {
      const query = { labelSelector: `${LABELS.bookDeploymentId}=${id}` };
      for await (const object of this.#pages<ApiObject>({ collection, query, accept: METADATA_ONLY.list }, options)) objects.push(object);
    }
    if (UID.test(id)) objects.push(await this.#scan(collection, id, options));
    const [, namespace, name] = NAMESPACED_NAME.exec(id) ?? [];
    if (namespace !== undefined && name !== undefined) objects.push(await this.#get<ApiObject>(collection, { namespace, name }, options));
    return objects.flatMap((object) => (object === undefined ? [] : [{ kind: collection.kind, object }]));
  }

  async *#pages<T extends ApiObject>({ query, ...request }: PageRequest, options: CallOptions): AsyncGenerator<T, void, void> {
    let next: string | undefined;
    do {
      const page: ApiList<T> = await this.#page<T>({ ...request, query: { ...query, limit: 500, continue: next } }, options);
      yield* page.items ?? [];
      next = page.metadata.continue || undefined;
    } while (next !== undefined);
  }

  async #page<T extends ApiObject>({ collection, query, accept }: PageRequest, { signal }: CallOptions): Promise<ApiList<T>> {
    const path = `${collection.group}/${collection.plural}`;
    const answer = await this.#connection.send<ApiList<T>>({
      operation: 'workloads.list',
      kind: `${collection.kind}List`,
      method: 'GET',
      path,
      query,
      signal,
      ...(accept === undefined ? {} : { accept }),
    });
    if (!answer.ok) throw clusterError(answer.problem, `list ${collection.plural}`);
    return answer.body;
  }

  async #get<T extends ApiObject>(collection: Collection, { namespace, name }: Omit<Place, 'kind'>, { signal }: CallOptions): Promise<T | undefined> {
    const path = objectPath(collection, namespace, name);
    const answer = await this.#connection.send<T>({ operation: 'workloads.get', kind: collection.kind, method: 'GET', path, signal });
    if (answer.ok) return answer.body;
    if (isAbsent(answer.problem)) return undefined;
    throw clusterError(answer.problem, `read ${path}`);
  }
}

function ambiguous(found: readonly FoundObject[]): BifrostError {
  return new BifrostError({
    code: 'WORKLOAD_AMBIGUOUS',
    message: 'more than one workload has this id; give each its own label, or name one by its uid',
    issues: [{ path: 'bookDeploymentId', message: 'more than one workload has it' }],
    details: Object.fromEntries(found.slice(0, 5).map(({ kind, object }, index) => [`workload${index + 1}`, nameOf(kind, object)])),
  });
}

const nameOf = (kind: string, { metadata }: ApiObject): string => `${kind} ${metadata.namespace}/${metadata.name}`;
