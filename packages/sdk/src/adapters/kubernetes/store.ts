import { isDeepStrictEqual } from 'node:util';
import { BifrostError } from '@bifrost/types/core';
import type { Stored } from '../../domain/model.ts';
import { FIELD_MANAGER } from '../../domain/names.ts';
import type { CallOptions, Collection, Store, StoreHint } from '../../ports/store.ts';
import type { Answer, ApiRequest } from './answers.ts';
import { type ApiList, type ApiObject, CONTENT } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { type ApiProblem, clusterError, isAbsent } from './errors.ts';
import { readHints } from './hints.ts';
import { ListWatch } from './list-watch.ts';
import {
  API_ROOT,
  type CustomResource,
  FINALIZER,
  GROUP,
  isGuarded,
  type ResourceCodec,
  resourceVersionOf,
  SIDECARS,
  statusOf,
  storedOf,
  TAILNETS,
  VERSION,
  versionOf,
} from './store-codec.ts';

/** Options of {@link kubernetesStore}. */
export interface KubernetesStoreOptions {
  readonly connection: KubernetesConnection;
}

/**
 * The Store port on custom resources: `Tailnet` (cluster-scoped, by name) and `SidecarAttachment` (in the book's namespace). Needs
 * `examples/deploy/crds.yaml` and the rights of `examples/deploy/rbac.yaml`. State is the status subresource; a write is a JSON Patch that
 * names the resourceVersion and what changes, so labels, annotations, finalizers and fields of others stay. The finalizer
 * `network.bifrost.dev/cleanup` holds a deleted object until `finalize`; an object that kubectl made gets it before its first state is written:
 * write a state before anything is made outside. What is stored and cannot be read as its schema says is read member by member, so that one
 * such object hinders no other and can be ended.
 *
 * @throws {BifrostError} beside the port's codes `CLUSTER_REJECTED` with `issues` — the schema refuses the value.
 * @example
 * await using store = kubernetesStore({ connection: kubernetes() });
 * const tailnets = await store.tailnets.list({ signal: AbortSignal.timeout(10_000) });
 */
export function kubernetesStore({ connection }: KubernetesStoreOptions): Store {
  const tailnets = new ResourceCollection(connection, TAILNETS);
  const sidecars = new ResourceCollection(connection, SIDECARS);
  const use = connection.retain();
  return {
    kind: 'kubernetes',
    tailnets,
    sidecars,
    async [Symbol.asyncDispose]() {
      await Promise.all([tailnets[Symbol.asyncDispose](), sidecars[Symbol.asyncDispose]()]);
      await use[Symbol.asyncDispose]();
    },
  };
}

/** Strict: a member that the installed definitions do not know would be dropped without a word, and with it what it means. */
const WRITE = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' } as const;

/** Member by member: what does not change stays whoever's it is, and members that this version does not know stay at all. */
function changesOf(before: object, after: object): object[] {
  const [old, wanted] = [new Map<string, unknown>(Object.entries(before)), new Map<string, unknown>(Object.entries(after))];
  return [...new Set([...old.keys(), ...wanted.keys()])].sort().flatMap((name) => {
    const to = wanted.get(name);
    if (isDeepStrictEqual(old.get(name), to)) return [];
    return [to === undefined ? { op: 'remove', path: `/spec/${name}` } : { op: 'add', path: `/spec/${name}`, value: to }];
  });
}

interface PatchStep {
  readonly step: 'replace' | 'state' | 'guard' | 'finalize';
  readonly operations: readonly object[];
  readonly subresource?: string;
  readonly signal: AbortSignal;
}

class ResourceCollection<Spec extends object, State extends object> implements Collection<Spec, State>, AsyncDisposable {
  readonly #connection: KubernetesConnection;
  readonly #codec: ResourceCodec<Spec, State>;
  readonly #watch: ListWatch<ApiObject, StoreHint>;

  constructor(connection: KubernetesConnection, codec: ResourceCodec<Spec, State>) {
    this.#connection = connection;
    this.#codec = codec;
    const { plural } = codec;
    const operations = { list: `${plural}.list`, watch: `${plural}.watch` } as const;
    const project = (object: ApiObject): StoreHint => ({ key: codec.keyOf(object), version: versionOf(object) });
    this.#watch = new ListWatch({ connection, operations, kind: codec.kind, path: `${API_ROOT}/${plural}`, metadataOnly: true, project });
  }

  async get(key: string, { signal }: CallOptions): Promise<Stored<Spec, State> | undefined> {
    signal.throwIfAborted();
    const object = await this.#read(key, signal);
    return object && storedOf(this.#codec, object);
  }

  async list({ signal }: CallOptions): Promise<readonly Stored<Spec, State>[]> {
    signal.throwIfAborted();
    const { kind, plural } = this.#codec;
    const found: Stored<Spec, State>[] = [];
    let next: string | undefined;
    do {
      const query = { limit: 500, continue: next };
      const answer = await this.#send<ApiList<CustomResource>>({
        operation: `${plural}.list`,
        kind: `${kind}List`,
        method: 'GET',
        path: `${API_ROOT}/${plural}`,
        query,
        signal,
      });
      if (!answer.ok) throw storeError(answer.problem, `list ${plural}`);
      found.push(...(answer.body.items ?? []).map((object) => storedOf(this.#codec, object)));
      next = answer.body.metadata.continue || undefined;
    } while (next !== undefined);
    return found.sort((left, right) => (left.key < right.key ? -1 : Number(left.key > right.key)));
  }

  async create(key: string, { spec, state }: { readonly spec: Spec; readonly state: State }, { signal }: CallOptions): Promise<Stored<Spec, State>> {
    signal.throwIfAborted();
    const place = this.#codec.place(key);
    if (place === undefined)
      throw new BifrostError({ code: 'INVALID_ARGUMENT', message: `${this.#codec.kind} cannot have this name; use DNS labels` });
    const metadata = { ...place.metadata, finalizers: [FINALIZER] };
    const body = { apiVersion: `${GROUP}/${VERSION}`, kind: this.#codec.kind, metadata, spec };
    const answer = await this.#send<CustomResource>({
      operation: `${this.#codec.plural}.create`,
      kind: this.#codec.kind,
      method: 'POST',
      path: place.collection,
      query: WRITE,
      body,
      signal,
    });
    if (!answer.ok) throw storeError(answer.problem, `create ${this.#subject(key)}`);
    const created = storedOf(this.#codec, answer.body);
    // The server keeps no status on create. The state of a new object is what an absent status reads as, so mostly that is all.
    return isDeepStrictEqual(created.state, state) ? created : this.replaceState(created, state, { signal });
  }

  async replaceSpec(current: Stored<Spec, State>, spec: Spec, { signal }: CallOptions): Promise<Stored<Spec, State>> {
    signal.throwIfAborted();
    const object = await this.#patch(current, { step: 'replace', operations: changesOf(current.spec, spec), signal });
    return storedOf(this.#codec, object);
  }

  async replaceState(current: Stored<Spec, State>, state: State, { signal }: CallOptions): Promise<Stored<Spec, State>> {
    signal.throwIfAborted();
    const guarded = isGuarded(current.version) ? current : await this.#guard(current, signal);
    const operations = [{ op: 'add', path: '/status', value: statusOf(state, current.generation) }];
    return storedOf(this.#codec, await this.#patch(guarded, { step: 'state', operations, subresource: '/status', signal }));
  }

  async remove(key: string, { current, signal }: CallOptions & { readonly current?: Pick<Stored<Spec, State>, 'version'> }): Promise<void> {
    signal.throwIfAborted();
    const place = this.#codec.place(key);
    if (place === undefined) return;
    const precondition = current && { body: { preconditions: { resourceVersion: resourceVersionOf(current.version) } } };
    const answer = await this.#send({
      operation: `${this.#codec.plural}.remove`,
      kind: this.#codec.kind,
      method: 'DELETE',
      path: place.path,
      ...precondition,
      signal,
    });
    if (!answer.ok && !isAbsent(answer.problem)) throw storeError(answer.problem, `remove ${this.#subject(key)}`);
  }

  async finalize(current: Stored<Spec, State>, { signal }: CallOptions): Promise<void> {
    signal.throwIfAborted();
    const object = await this.#read(current.key, signal);
    if (object === undefined) return;
    const { resourceVersion, deletionTimestamp, finalizers = [] } = object.metadata;
    if (deletionTimestamp === undefined || resourceVersion !== resourceVersionOf(current.version)) throw conflict(this.#subject(current.key));
    const index = finalizers.indexOf(FINALIZER);
    if (index < 0) return; // ours is done; another controller's keeps the object
    const path = `/metadata/finalizers/${index}`;
    const operations = [
      { op: 'test', path, value: FINALIZER },
      { op: 'remove', path },
    ];
    try {
      await this.#patch(current, { step: 'finalize', operations, signal });
    } catch (error) {
      if (!BifrostError.is(error) || error.code !== 'STORE_NOT_FOUND') throw error;
    }
  }

  async *watch({ signal }: CallOptions): AsyncGenerator<StoreHint, void, void> {
    const subscribe = (push: (key: string, version: string | undefined) => void): Disposable =>
      this.#watch.subscribe(({ kind, item }) => push(item.key, kind === 'gone' ? undefined : item.version));
    for await (const [key, version] of readHints(subscribe, { signal, closed: this.#watch.closed })) yield { key, version };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }

  async #read(key: string, signal: AbortSignal): Promise<CustomResource | undefined> {
    const place = this.#codec.place(key);
    if (place === undefined) return undefined;
    const answer = await this.#send<CustomResource>({
      operation: `${this.#codec.plural}.get`,
      kind: this.#codec.kind,
      method: 'GET',
      path: place.path,
      signal,
    });
    if (answer.ok) return answer.body;
    if (isAbsent(answer.problem)) return undefined;
    throw storeError(answer.problem, `read ${this.#subject(key)}`);
  }

  /** The finalizer comes before the first state, so that an object that we say anything about cannot vanish under what is then made for it. */
  async #guard(current: Stored<Spec, State>, signal: AbortSignal): Promise<Stored<Spec, State>> {
    const object = await this.#read(current.key, signal);
    if (object === undefined) throw gone(this.#subject(current.key));
    if (object.metadata.resourceVersion !== resourceVersionOf(current.version)) throw conflict(this.#subject(current.key));
    const value = [...(object.metadata.finalizers ?? []), FINALIZER];
    const operations = [{ op: 'add', path: '/metadata/finalizers', value }];
    return storedOf(this.#codec, await this.#patch(current, { step: 'guard', operations, signal }));
  }

  /** Compare-and-swap: to set an old resourceVersion is a conflict, also to set it on a successor of the same name. */
  async #patch(current: Stored<Spec, State>, { step, operations, subresource = '', signal }: PatchStep): Promise<CustomResource> {
    const place = this.#codec.place(current.key);
    if (place === undefined) throw new BifrostError({ code: 'STORE_NOT_FOUND', message: `${this.#codec.kind} cannot have this name` });
    const answer = await this.#send<CustomResource>({
      operation: `${this.#codec.plural}.${step}`,
      kind: this.#codec.kind,
      method: 'PATCH',
      path: place.path + subresource,
      query: WRITE,
      body: [{ op: 'replace', path: '/metadata/resourceVersion', value: resourceVersionOf(current.version) }, ...operations],
      contentType: CONTENT.jsonPatch,
      signal,
    });
    if (!answer.ok) throw storeError(answer.problem, `write ${this.#subject(current.key)}`);
    return answer.body;
  }

  async #send<T>(request: ApiRequest): Promise<Answer<T>> {
    try {
      return await this.#connection.send<T>(request);
    } catch (error) {
      if (!BifrostError.is(error) || error.code !== 'CLUSTER_UNAVAILABLE') throw error;
      throw new BifrostError({
        code: 'STORE_UNAVAILABLE',
        message: 'the API server that holds our state does not answer; try again later',
        cause: error,
      });
    }
  }

  #subject(key: string): string {
    return `${this.#codec.kind} ${key}`;
  }
}

const conflict = (subject: string): BifrostError =>
  new BifrostError({ code: 'STORE_CONFLICT', message: `${subject} changed meanwhile, or is not being deleted; read it again` });

const gone = (subject: string): BifrostError => new BifrostError({ code: 'STORE_NOT_FOUND', message: `${subject}: it, or its namespace, is gone` });

function storeError(problem: ApiProblem, subject: string): BifrostError {
  if (problem.reason === 'AlreadyExists') return new BifrostError({ code: 'STORE_EXISTS', message: `${subject}: there is one of this name` });
  if (isAbsent(problem)) return gone(subject);
  if (problem.status === 409) return conflict(subject);
  const cause = clusterError(problem, subject);
  // 404: the kind is unknown. 400, and for a patch this cause: a member of it is.
  const outdated = problem.status === 404 || problem.status === 400 || problem.causes.some(({ field }) => field === 'patch');
  if (cause.code === 'CLUSTER_REJECTED' && !outdated) return cause;
  const advice = outdated
    ? 'the API server does not know this kind as this version writes it; apply examples/deploy/crds.yaml of this version'
    : 'the API server does not let us; see the cause';
  const init = { code: 'STORE_UNAVAILABLE', message: `${subject}: ${advice}`, cause } as const;
  return new BifrostError(problem.retryAfterMs === undefined ? init : { ...init, retryAfterMs: problem.retryAfterMs });
}
