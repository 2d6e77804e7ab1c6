import { BifrostError, type WorkloadReference } from '@bifrost/types/core';
import { FIELD_MANAGER, LABELS } from '../../domain/names.ts';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import type { SidecarFragment } from '../../domain/pod-shape.ts';
import type { Workload, WorkloadChange, WorkloadHint, Workloads } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { admitPod } from './admission.ts';
import { type Answer, segment } from './answers.ts';
import { type ApiObject, CONTENT, type ManagedFields, METADATA_ONLY } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { type ApiProblem, clusterError, isAbsent, isFailedTest, isInsideOurs, ownedByOther } from './errors.ts';
import type { KubernetesOperation } from './operations.ts';
import { type FoundObject, WorkloadFinder, type WorkloadObject, workloadPath } from './workload-find.ts';
import { type PatchSubject, planPrepend, planRemoval } from './workload-patch.ts';
import { WorkloadWatch } from './workload-watch.ts';

type AttachOptions = CallOptions & { readonly dryRun?: boolean; readonly repair?: boolean };

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

  constructor(connection: KubernetesConnection) {
    this.#connection = connection;
    this.#finder = new WorkloadFinder(connection);
    this.#watch = new WorkloadWatch(connection);
  }

  async find(bookDeploymentId: string, options: CallOptions): Promise<Workload> {
    const found = await this.#finder.find(bookDeploymentId, options);
    return toWorkload(found, await this.#customerOf(found.object.metadata.namespace ?? '', options));
  }

  async get(workload: WorkloadReference, options: CallOptions): Promise<Workload | undefined> {
    options.signal.throwIfAborted();
    const [object, customerId] = await Promise.all([this.#current(workload, options), this.#customerOf(workload.namespace, options)]);
    return object === undefined ? undefined : toWorkload({ kind: workload.kind, object }, customerId);
  }

  async attach(change: WorkloadChange, options: AttachOptions): Promise<Workload> {
    options.signal.throwIfAborted();
    const { workload, form } = change;
    const [object, customerId] = await Promise.all([
      form === 'apply' ? this.#apply(change, options) : this.#prepend(change, options),
      this.#customerOf(workload.namespace, options),
    ]);
    return toWorkload({ kind: workload.kind, object }, customerId);
  }

  async detach({ workload, form, fragment }: WorkloadChange, options: CallOptions): Promise<void> {
    options.signal.throwIfAborted();
    if (form === 'apply') {
      const answer = await this.#patch({ operation: 'workloads.detach', workload, body: applied(workload), contentType: CONTENT.apply }, options);
      if (!answer.ok && (await this.#current(workload, options)) !== undefined)
        throw clusterError(answer.problem, `detach from ${subjectOf(workload)}`);
      return;
    }
    const object = await this.#current(workload, options);
    if (object === undefined) return;
    const body = planRemoval(patchSubject(object), fragment);
    if (body.length === 0) return;
    const answer = await this.#patch({ operation: 'workloads.detach', workload, body, contentType: CONTENT.jsonPatch }, options);
    if (!answer.ok && !isAbsent(answer.problem)) throw patchError(answer.problem, `detach from ${subjectOf(workload)}`);
  }

  async admit(workload: Workload, fragment: SidecarFragment, options: CallOptions): Promise<void> {
    await admitPod(this.#connection, { workload, fragment }, options);
  }

  /** Server-side apply of our fields and no others; what we applied before and leave out now goes. */
  async #apply({ workload, fragment }: WorkloadChange, options: AttachOptions): Promise<WorkloadObject> {
    const patch: PatchRequest = { operation: 'workloads.attach', workload, body: applied(workload, fragment), contentType: CONTENT.apply };
    let answer = await this.#patch(patch, options);
    if (!answer.ok && options.repair === true && isInsideOurs(answer.problem, fragment))
      answer = await this.#patch({ ...patch, force: true }, options);
    if (answer.ok) return answer.body;
    const error = clusterError(answer.problem, `attach to ${subjectOf(workload)}`);
    if (error.code !== 'FIELD_CONFLICT' && (await this.#current(workload, options)) === undefined) throw notFound(workload);
    throw error;
  }

  async #prepend({ workload, fragment }: WorkloadChange, options: AttachOptions): Promise<WorkloadObject> {
    const object = await this.#current(workload, options);
    if (object === undefined) throw notFound(workload);
    const plan = planPrepend(patchSubject(object), fragment);
    if (plan.kind === 'present') return object;
    if (plan.kind === 'conflict') throw ownedByOther(`attach to ${subjectOf(workload)}`, plan.manager, plan.paths);
    const answer = await this.#patch({ operation: 'workloads.attach', workload, body: plan.operations, contentType: CONTENT.jsonPatch }, options);
    if (answer.ok) return answer.body;
    throw isAbsent(answer.problem) ? notFound(workload) : patchError(answer.problem, `attach to ${subjectOf(workload)}`);
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

  #patch({ operation, workload, body, contentType, force }: PatchRequest, { signal, dryRun }: AttachOptions): Promise<Answer<WorkloadObject>> {
    return this.#connection.send<WorkloadObject>({
      operation: dryRun === true ? 'workloads.try' : operation,
      method: 'PATCH',
      path: workloadPath(workload.kind, workload.namespace, workload.name),
      query: { fieldManager: FIELD_MANAGER, dryRun: dryRun === true ? 'All' : undefined, force },
      body,
      contentType,
      signal,
    });
  }

  async #current(workload: WorkloadReference, options: CallOptions): Promise<WorkloadObject | undefined> {
    const object = await this.#finder.read(workload, options);
    return workload.uid === '' || object?.metadata.uid === workload.uid ? object : undefined;
  }

  /** Read each time: whose namespace it is decides who may reach what, so it is never remembered. */
  async #customerOf(namespace: string, { signal }: CallOptions): Promise<string | undefined> {
    const path = `/api/v1/namespaces/${segment(namespace)}`;
    const answer = await this.#connection.send<ApiObject>({ operation: 'namespaces.get', method: 'GET', path, accept: METADATA_ONLY.object, signal });
    if (answer.ok) return answer.body.metadata.labels?.[LABELS.customerId] || undefined;
    if (isAbsent(answer.problem)) return undefined;
    throw clusterError(answer.problem, `read namespace ${namespace}`);
  }
}

/** The uid makes the server refuse to create what is gone, and to touch a successor of the same name. */
function applied({ kind, namespace, name, uid }: WorkloadReference, fragment?: SidecarFragment): unknown {
  const identity = { apiVersion: 'apps/v1', kind, metadata: { name, namespace, uid } };
  if (fragment === undefined) return identity;
  const { labels, annotations, initContainers, volumes, containers = [] } = fragment;
  return { ...identity, spec: { template: { metadata: filled({ labels, annotations }), spec: filled({ initContainers, containers, volumes }) } } };
}

/** Without empty lists and maps: applying those would own them. */
function filled(members: Readonly<Record<string, object>>): Record<string, object> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => Object.keys(value).length > 0));
}

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

function toWorkload({ kind, object }: FoundObject, customerId: string | undefined): Workload {
  const { metadata, spec, status } = object;
  const ended = ['Complete', 'Failed'];
  return {
    reference: { kind, namespace: metadata.namespace ?? '', name: metadata.name, uid: metadata.uid },
    customerId,
    labels: metadata.labels ?? {},
    annotations: ownAnnotations(metadata.annotations),
    template: spec.jobTemplate?.spec.template ?? spec.template,
    replicas: kind === 'DaemonSet' ? (status?.desiredNumberScheduled ?? 0) : (spec.replicas ?? spec.parallelism ?? 1),
    finished: kind === 'Job' && (status?.conditions ?? []).some((condition) => ended.includes(condition.type) && condition.status === 'True'),
    lastWriter: lastWriterOf(metadata.managedFields ?? []),
    version: metadata.resourceVersion,
  };
}

/** By the API server's own record; a clock of whole seconds, so of two in one second the later entry counts. */
function lastWriterOf(managedFields: readonly ManagedFields[]): string | undefined {
  const others = managedFields.filter(({ manager, subresource }) => manager !== FIELD_MANAGER && !subresource);
  const newest = others.reduce<ManagedFields | undefined>((best, entry) => ((entry.time ?? '') >= (best?.time ?? '') ? entry : best), undefined);
  return newest && (newest.manager || 'unknown');
}
