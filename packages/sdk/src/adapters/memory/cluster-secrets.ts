import { BifrostError, type Secret } from '@bifrost/types/core';
import { LABELS, MANAGED_BY } from '../../domain/names.ts';
import type { SecretReference, Secrets } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { type ClusterState, type SecretRecord, secretKey } from './cluster-state.ts';
import type { Faults } from './faults.ts';

/** The Secrets of a memory cluster. */
export class MemorySecrets implements Secrets {
  readonly #state: ClusterState;
  readonly #faults: Faults;
  /** What each answer was made of. */
  readonly #seen = new WeakMap<ReadonlyMap<string, Secret>, SecretRecord>();

  constructor(state: ClusterState, faults: Faults) {
    this.#state = state;
    this.#faults = faults;
  }

  async get(secret: SecretReference, options: CallOptions): Promise<ReadonlyMap<string, Secret> | undefined> {
    this.#faults.enter(options);
    const found = this.#state.secrets.get(secretKey(secret));
    if (found === undefined) return undefined;
    const data = new Map(found.data);
    this.#seen.set(data, found);
    return data;
  }

  async put({ namespace, name, labels, data }: SecretRecord, { seen, ...options }: Parameters<Secrets['put']>[1]): Promise<void> {
    this.#faults.enter(options);
    this.#state.namespace(namespace);
    if (seen !== undefined && this.#seen.get(seen) !== this.#state.secrets.get(secretKey({ namespace, name })))
      throw new BifrostError({ code: 'CLUSTER_CONFLICT', message: `Secret ${namespace}/${name} has changed since it was read: read it again` });
    const record = { namespace, name, labels: { ...labels, [LABELS.managedBy]: MANAGED_BY }, data: new Map(data) };
    this.#state.secrets.set(secretKey(record), record);
    this.#state.onSecret(record);
  }

  async remove(secret: SecretReference, options: CallOptions): Promise<void> {
    this.#faults.enter(options);
    const found = this.#state.secrets.get(secretKey(secret));
    if (found === undefined || !isOurs(found)) return;
    this.#state.secrets.delete(secretKey(secret));
    this.#state.onSecret(found);
  }

  async list(options: CallOptions): Promise<readonly (SecretReference & { readonly labels: Readonly<Record<string, string>> })[]> {
    this.#faults.enter(options);
    return [...this.#state.secrets.values()].filter(isOurs).map(({ namespace, name, labels }) => ({ namespace, name, labels: { ...labels } }));
  }
}

const isOurs = ({ labels }: SecretRecord): boolean => labels[LABELS.managedBy] === MANAGED_BY;
