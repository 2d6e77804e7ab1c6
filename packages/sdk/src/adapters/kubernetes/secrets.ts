import { BifrostError, Secret } from '@bifrost/types/core';
import { FIELD_MANAGER, LABELS, MANAGED_BY } from '../../domain/names.ts';
import type { SecretReference, Secrets } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { segment } from './answers.ts';
import { type ApiList, type ApiObject, METADATA_ONLY, type ObjectMeta } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';

interface SecretObject extends ApiObject {
  readonly data?: Readonly<Record<string, string>> | null;
}
const QUERY = { fieldManager: FIELD_MANAGER };
type SecretContent = Parameters<Secrets['put']>[0];

/**
 * Secrets. A name that is taken by a Secret without our label is never taken over: `put` answers `FIELD_CONFLICT`. Values are put as one
 * document (POST, or PUT of the version that was seen), not applied: so what is left out is gone, whoever wrote it.
 */
export class KubernetesSecrets implements Secrets {
  readonly #connection: KubernetesConnection;
  /** Which version each answer was. */
  readonly #seen = new WeakMap<ReadonlyMap<string, Secret>, ObjectMeta>();

  constructor(connection: KubernetesConnection) {
    this.#connection = connection;
  }

  async get(secret: SecretReference, { signal }: CallOptions): Promise<ReadonlyMap<string, Secret> | undefined> {
    signal.throwIfAborted();
    const answer = await this.#connection.send<SecretObject>({
      operation: 'secrets.get',
      kind: 'Secret',
      method: 'GET',
      path: pathOf(secret),
      signal,
    });
    if (!answer.ok && isAbsent(answer.problem)) return undefined;
    if (!answer.ok) throw clusterError(answer.problem, `read ${subjectOf(secret)}`);
    const data = decoded(answer.body.data ?? {});
    this.#seen.set(data, answer.body.metadata);
    return data;
  }

  async put(secret: SecretContent, { seen, signal }: Parameters<Secrets['put']>[1]): Promise<void> {
    signal.throwIfAborted();
    const present = (seen && this.#seen.get(seen)) ?? (await this.#created(secret, { signal }));
    if (present === undefined) return;
    if (!isOurs(present)) throw foreign(secret);
    const replaced = await this.#connection.send({
      operation: 'secrets.replace',
      kind: 'Secret',
      method: 'PUT',
      path: pathOf(secret),
      query: QUERY,
      body: document(secret, present),
      signal,
    });
    if (replaced.ok) return;
    if (isAbsent(replaced.problem)) throw gone(secret);
    throw clusterError(replaced.problem, `replace ${subjectOf(secret)}`);
  }

  /** Makes it where there is none; else what there is. */
  async #created(secret: SecretContent, { signal }: CallOptions): Promise<ObjectMeta | undefined> {
    const created = await this.#connection.send({
      operation: 'secrets.create',
      kind: 'Secret',
      method: 'POST',
      path: collectionOf(secret),
      query: QUERY,
      body: document(secret),
      signal,
    });
    if (created.ok) return undefined;
    if (created.problem.reason !== 'AlreadyExists') throw clusterError(created.problem, `create ${subjectOf(secret)}`);
    const present = await this.#metadata(secret, { signal });
    if (present === undefined) throw gone(secret);
    return present;
  }

  async remove(secret: SecretReference, { signal }: CallOptions): Promise<void> {
    signal.throwIfAborted();
    const present = await this.#metadata(secret, { signal });
    if (present === undefined || !isOurs(present)) return;
    const { uid, resourceVersion } = present;
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } };
    const answer = await this.#connection.send({ operation: 'secrets.delete', kind: 'Secret', method: 'DELETE', path: pathOf(secret), body, signal });
    if (!answer.ok && !isAbsent(answer.problem)) throw clusterError(answer.problem, `delete ${subjectOf(secret)}`);
  }

  async list({ signal }: CallOptions): ReturnType<Secrets['list']> {
    signal.throwIfAborted();
    const found: (SecretReference & { readonly labels: Readonly<Record<string, string>> })[] = [];
    let next: string | undefined;
    do {
      const query = { labelSelector: `${LABELS.managedBy}=${MANAGED_BY}`, limit: 500, continue: next };
      const path = '/api/v1/secrets';
      const answer = await this.#connection.send<ApiList<ApiObject>>({
        operation: 'secrets.list',
        kind: 'SecretList',
        method: 'GET',
        path,
        query,
        accept: METADATA_ONLY.list,
        signal,
      });
      if (!answer.ok) throw clusterError(answer.problem, 'list secrets');
      for (const { metadata } of answer.body.items ?? []) {
        found.push({ namespace: metadata.namespace ?? '', name: metadata.name, labels: metadata.labels ?? {} });
      }
      next = answer.body.metadata.continue || undefined;
    } while (next !== undefined);
    return found;
  }

  async #metadata(secret: SecretReference, { signal }: CallOptions): Promise<ObjectMeta | undefined> {
    const answer = await this.#connection.send<ApiObject>({
      operation: 'secrets.metadata',
      kind: 'Secret',
      method: 'GET',
      path: pathOf(secret),
      accept: METADATA_ONLY.object,
      signal,
    });
    if (answer.ok) return answer.body.metadata;
    if (isAbsent(answer.problem)) return undefined;
    throw clusterError(answer.problem, `read ${subjectOf(secret)}`);
  }
}

const collectionOf = ({ namespace }: SecretReference): string => `/api/v1/namespaces/${segment(namespace)}/secrets`;
const pathOf = (secret: SecretReference): string => `${collectionOf(secret)}/${segment(secret.name)}`;
const subjectOf = ({ namespace, name }: SecretReference): string => `Secret ${namespace}/${name}`;
const isOurs = ({ labels }: ObjectMeta): boolean => labels?.[LABELS.managedBy] === MANAGED_BY;

function document({ namespace, name, labels, data }: SecretContent, present?: ObjectMeta): unknown {
  const encoded = [...data].map(([key, value]) => [key, Buffer.from(value.reveal(), 'utf8').toString('base64')]);
  const identity = present === undefined ? {} : { uid: present.uid, resourceVersion: present.resourceVersion };
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name, labels: { ...labels, [LABELS.managedBy]: MANAGED_BY }, ...identity },
    type: 'Opaque',
    data: Object.fromEntries(encoded),
  };
}

function decoded(data: Readonly<Record<string, string>>): ReadonlyMap<string, Secret> {
  return new Map(Object.entries(data).map(([key, value]) => [key, new Secret(Buffer.from(value, 'base64').toString('utf8'))]));
}

const gone = (secret: SecretReference): BifrostError =>
  new BifrostError({ code: 'CLUSTER_CONFLICT', message: `${subjectOf(secret)} came and went; repeat` });

function foreign(secret: SecretReference): BifrostError {
  return new BifrostError({
    code: 'FIELD_CONFLICT',
    message: `${subjectOf(secret)} is there and is not ours; remove or rename it`,
    details: { namespace: secret.namespace, name: secret.name },
    issues: [{ path: `metadata.labels.${LABELS.managedBy}`, message: `must be ${MANAGED_BY}` }],
  });
}
