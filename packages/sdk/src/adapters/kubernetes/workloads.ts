import { BifrostError, type WorkloadReference } from '@bifrost/types/core';
import { BoundedMap } from '../../domain/bounded-map.ts';
import { carriesAnother } from '../../domain/carries.ts';
import { FIELD_MANAGER, LABELS } from '../../domain/names.ts';
import type { SidecarFragment } from '../../domain/pod-shape.ts';
import type { Workload, WorkloadChange, WorkloadHint, Workloads } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { admitPod } from './admission.ts';
import type { Answer } from './answers.ts';
import { type ApiObject, CONTENT } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { type ApiProblem, clusterError, conflictsIn, isAbsent, isFailedTest, ownedByOther } from './errors.ts';
import { readNamespace } from './namespaces.ts';
import type { KubernetesOperation } from './operations.ts';
import { appliedBody, identityBody } from './workload-apply.ts';
import { holdersOf, ownWriteIn } from './workload-fields.ts';
import { type FoundObject, WorkloadFinder, type WorkloadObject, workloadPath } from './workload-find.ts';
import { type PatchSubject, planPrepend, planRemoval, planTidy } from './workload-patch.ts';
import { areOurs, placesOf } from './workload-places.ts';
import { toWorkload } from './workload-read.ts';
import { WorkloadWatch } from './workload-watch.ts';

type AttachOptions = CallOptions & { readonly dryRun?: boolean; readonly repair?: boolean };

/** How often a workload is looked at again within one call, when its status has changed meanwhile. */
const MOST_LOOKS = 5;

interface PatchRequest {
  readonly operation: KubernetesOperation;
  readonly workload: WorkloadReference;
  readonly body: unknown;
  readonly contentType: string;
  /** Take fields from whoever holds them. */
  readonly force?: boolean;
}

/** Workloads of all kinds. Reads are direct: an answer is never older than the call. */
export class KubernetesWorkloads implements Workloads, AsyncDisposable {
  readonly #connection: KubernetesConnection;
  readonly #finder: WorkloadFinder;
  readonly #watch: WorkloadWatch;
  /** When we last wrote each: the server forgets it with the last field of ours that somebody takes out. */
  readonly #written = new BoundedMap<string, string>(10_000);

  constructor(connection: KubernetesConnection) {
    this.#connection = connection;
    this.#finder = new WorkloadFinder(connection, (namespace, options) => this.#customerOf(namespace, options));
    this.#watch = new WorkloadWatch(connection);
  }

  async find(bookDeploymentId: string, options: CallOptions & { readonly customerId?: string }): Promise<Workload> {
    const found = await this.#finder.find(bookDeploymentId, options);
    const customerId = found.isOwn ? options.customerId : await this.#customerOf(found.object.metadata.namespace ?? '', options);
    return this.#shown(found, customerId);
  }

  async get(workload: WorkloadReference, options: CallOptions): Promise<Workload | undefined> {
    options.signal.throwIfAborted();
    const [object, namespace] = await Promise.all([this.#current(workload, options), this.#namespace(workload.namespace, options)]);
    if (object === undefined) return undefined;
    // One of the two answers is older than the other. Taken for a namespace that is nobody's, it would end the sidecar's enrolment.
    if (namespace === undefined)
      throw new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: `${subjectOf(workload)} is there and its namespace is not found; read again` });
    return this.#shown({ kind: workload.kind, object }, customerIn(namespace));
  }

  async attach(change: WorkloadChange, options: AttachOptions): Promise<Workload> {
    options.signal.throwIfAborted();
    const { workload, form } = change;
    const [object, customerId] = await Promise.all([
      form === 'apply' ? this.#apply(change, options) : this.#prepend(change, options),
      this.#customerOf(workload.namespace, options),
    ]);
    if (options.dryRun !== true) this.#written.set(object.metadata.uid, ownWriteIn(object.metadata.managedFields ?? []));
    return this.#shown({ kind: workload.kind, object }, customerId);
  }

  #shown(found: FoundObject, customerId: string | undefined): Workload {
    return toWorkload(found, { customerId, writtenAt: this.#written.get(found.object.metadata.uid) ?? '' });
  }

  /**
   * By JSON Patch in either form: an apply that no longer speaks of an item would leave in it what others have changed there, e.g. a container of ours with
   * nothing but their image. What an apply holds besides its items (the name of a container that it gave a variable) is let go after that.
   */
  async detach({ workload, fragment }: WorkloadChange, options: CallOptions): Promise<void> {
    options.signal.throwIfAborted();
    const subject = `detach from ${subjectOf(workload)}`;
    let object = await this.#current(workload, options);
    if (object === undefined || carriesAnother(object.spec.template, fragment)) return;
    const body = planRemoval(patchSubject(object), fragment);
    if (body.length > 0) {
      const answer = await this.#patch({ operation: 'workloads.detach', workload, body, contentType: CONTENT.jsonPatch }, options);
      if (!answer.ok && isAbsent(answer.problem)) return;
      if (!answer.ok) throw patchError(answer.problem, subject);
      object = answer.body;
    }
    if (holdersOf(object.metadata.managedFields ?? []).ours.length === 0) return;
    const release = { operation: 'workloads.detach', workload, body: identityBody(workload), contentType: CONTENT.apply } as const;
    const answer = await this.#patch(release, options);
    if (!answer.ok && (await this.#current(workload, options)) !== undefined) throw clusterError(answer.problem, subject);
  }

  async admit(workload: Workload, fragment: SidecarFragment, options: CallOptions): Promise<void> {
    await admitPod(this.#connection, { workload, fragment }, options);
  }

  async customerOf(namespace: string, options: CallOptions): Promise<string | undefined> {
    options.signal.throwIfAborted();
    return this.#customerOf(namespace, options);
  }

  watch(options: CallOptions): AsyncIterable<WorkloadHint> {
    return this.#watch.hints(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }

  /** Server-side apply of our fields and no others; what we applied before and leave out now goes. What the other form put in gives way to a patch. */
  async #apply(change: WorkloadChange, options: AttachOptions): Promise<WorkloadObject> {
    const { workload } = change;
    const answer = options.repair === true ? await this.#restore(change, options) : await this.#applyOnce(change, options);
    if (answer.ok) return answer.body;
    const conflicts = conflictsIn(answer.problem);
    if (conflicts.length > 0 && conflicts.every(({ manager }) => manager === FIELD_MANAGER)) return this.#prepend(change, options);
    throw await this.#attachError(answer.problem, workload, options);
  }

  async #applyOnce({ workload, fragment }: WorkloadChange, options: AttachOptions): Promise<Answer<WorkloadObject>> {
    if (fragment.containers === undefined)
      return this.#applied({ workload, body: appliedBody(workload, { fragment, template: undefined }) }, options);
    // Variables go into containers that the book still has: those are looked for first.
    const { spec } = await this.#existing(workload, options);
    return this.#applied({ workload, body: appliedBody(workload, { fragment, template: spec.template }) }, options);
  }

  #applied({ workload, ...rest }: Pick<PatchRequest, 'workload' | 'body' | 'force'>, options: AttachOptions): Promise<Answer<WorkloadObject>> {
    return this.#patch({ operation: 'workloads.attach', workload, contentType: CONTENT.apply, ...rest }, options);
  }

  /**
   * What others changed or added inside items of ours is taken back, and nothing else that they hold: by force only where every conflict lies in an item
   * of ours, and only while the workload is the one that was looked at. Status writes of a rollout end that as well: then it is looked at again.
   */
  async #restore(change: WorkloadChange, options: AttachOptions): Promise<Answer<WorkloadObject>> {
    for (let look = 1; ; look += 1) {
      const answer = await this.#restoreOnce(change, await this.#existing(change.workload, options), options);
      const isRaceLost = !answer.ok && answer.problem.status === 409 && conflictsIn(answer.problem).length === 0;
      if (!isRaceLost || look === MOST_LOOKS) return answer;
    }
  }

  async #restoreOnce(change: WorkloadChange, object: WorkloadObject, options: AttachOptions): Promise<Answer<WorkloadObject>> {
    const { workload, fragment } = change;
    const { metadata, spec } = object;
    const added = options.dryRun === true ? [] : planTidy(patchSubject(object), fragment);
    if (added.length > 0) {
      const answer = await this.#patch({ operation: 'workloads.attach', workload, body: added, contentType: CONTENT.jsonPatch }, options);
      if (!answer.ok) throw isAbsent(answer.problem) ? notFound(workload) : patchError(answer.problem, `attach to ${subjectOf(workload)}`);
      return this.#restoreOnce(change, answer.body, options); // with nothing left to take out
    }
    const body = appliedBody(workload, { fragment, template: spec.template, version: metadata.resourceVersion });
    const answer = await this.#applied({ workload, body }, options);
    if (answer.ok) return answer;
    const paths = conflictsIn(answer.problem).map(({ path }) => path);
    const places = placesOf(spec.template, fragment);
    return areOurs(paths, holdersOf(metadata.managedFields ?? []), { places, fragment })
      ? this.#applied({ workload, body, force: true }, options)
      : answer;
  }

  async #prepend({ workload, fragment }: WorkloadChange, options: AttachOptions): Promise<WorkloadObject> {
    const object = await this.#existing(workload, options);
    const plan = planPrepend(patchSubject(object), fragment, { repair: options.repair === true });
    if (plan.kind === 'present') return object;
    if (plan.kind === 'conflict') throw ownedByOther(`attach to ${subjectOf(workload)}`, plan.manager, plan.paths);
    const answer = await this.#patch({ operation: 'workloads.attach', workload, body: plan.operations, contentType: CONTENT.jsonPatch }, options);
    if (answer.ok) return answer.body;
    throw isAbsent(answer.problem) ? notFound(workload) : patchError(answer.problem, `attach to ${subjectOf(workload)}`);
  }

  /** An apply to what is gone is refused in words about its uid. */
  async #attachError(problem: ApiProblem, workload: WorkloadReference, options: CallOptions): Promise<BifrostError> {
    const error = clusterError(problem, `attach to ${subjectOf(workload)}`);
    const isGone = error.code !== 'FIELD_CONFLICT' && (await this.#current(workload, options)) === undefined;
    return isGone ? notFound(workload) : error;
  }

  #patch({ operation, workload, body, contentType, force }: PatchRequest, { signal, dryRun }: AttachOptions): Promise<Answer<WorkloadObject>> {
    return this.#connection.send<WorkloadObject>({
      operation: dryRun === true ? 'workloads.try' : operation,
      kind: workload.kind,
      method: 'PATCH',
      path: workloadPath(workload.kind, workload.namespace, workload.name),
      query: { fieldManager: FIELD_MANAGER, dryRun: dryRun === true ? 'All' : undefined, force },
      body,
      contentType,
      signal,
    });
  }

  async #existing(workload: WorkloadReference, options: CallOptions): Promise<WorkloadObject> {
    const object = await this.#current(workload, options);
    if (object === undefined) throw notFound(workload);
    return object;
  }

  async #current(workload: WorkloadReference, options: CallOptions): Promise<WorkloadObject | undefined> {
    const object = await this.#finder.read(workload, options);
    return workload.uid === '' || object?.metadata.uid === workload.uid ? object : undefined;
  }

  async #customerOf(namespace: string, options: CallOptions): Promise<string | undefined> {
    return customerIn(await this.#namespace(namespace, options));
  }

  async #namespace(namespace: string, { signal }: CallOptions): Promise<ApiObject | undefined> {
    const answer = await readNamespace(this.#connection, namespace, signal);
    if (answer.ok) return answer.body;
    if (isAbsent(answer.problem)) return undefined;
    throw clusterError(answer.problem, `read namespace ${namespace}`);
  }
}

const customerIn = (namespace: ApiObject | undefined): string | undefined => namespace?.metadata.labels?.[LABELS.customerId] || undefined;

const patchSubject = ({ metadata, spec }: WorkloadObject): PatchSubject => ({
  uid: metadata.uid,
  generation: metadata.generation ?? 0,
  template: spec.template,
  managedFields: metadata.managedFields ?? [],
});

/** Our patch begins with tests of uid and generation, so a failed test means that somebody else changed the spec first. */
const patchError = (problem: ApiProblem, subject: string): BifrostError =>
  isFailedTest(problem) ? clusterError({ ...problem, status: 409 }, subject) : clusterError(problem, subject);

const subjectOf = ({ kind, namespace, name }: WorkloadReference): string => `${kind} ${namespace}/${name}`;

const notFound = (workload: WorkloadReference): BifrostError =>
  new BifrostError({
    code: 'WORKLOAD_NOT_FOUND',
    message: `${subjectOf(workload)} is gone, or another one of its name came`,
    issues: [{ path: 'bookDeploymentId', message: 'its workload is gone' }],
  });
