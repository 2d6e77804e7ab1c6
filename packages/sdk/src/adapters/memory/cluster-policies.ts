import { BifrostError } from '@bifrost/types/core';
import { LABELS, MANAGED_BY } from '../../domain/names.ts';
import type { NetworkPolicyShape } from '../../domain/network-policy-shape.ts';
import { type NetworkPolicyManifest, shapeOf } from '../../domain/policy/network-policies.ts';
import type { NetworkPolicies, NetworkPolicyReference, OwnNetworkPolicy } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { ClusterState } from './cluster-state.ts';
import type { Faults } from './faults.ts';

/** The NetworkPolicies of a memory cluster, ours and others'. Nothing enforces them. */
export class MemoryNetworkPolicies implements NetworkPolicies {
  readonly #state: ClusterState;
  readonly #faults: Faults;
  /** By namespace and name. */
  readonly #policies = new Map<string, OwnNetworkPolicy>();

  constructor(state: ClusterState, faults: Faults) {
    this.#state = state;
    this.#faults = faults;
  }

  async list({ of, ...options }: Parameters<NetworkPolicies['list']>[0]): Promise<readonly OwnNetworkPolicy[]> {
    this.#faults.enter(options);
    const isAsked = ({ namespace, labels }: OwnNetworkPolicy): boolean =>
      of === undefined || (namespace === of.namespace && labels[LABELS.sidecarId] === of.sidecarId);
    return structuredClone([...this.#policies.values()].filter((policy) => isOurs(policy) && isAsked(policy)));
  }

  async put(manifest: NetworkPolicyManifest, options: CallOptions): Promise<void> {
    this.#faults.enter(options);
    const { namespace, name, labels } = manifest.metadata;
    this.#state.namespace(namespace);
    const present = this.#policies.get(keyOf(manifest.metadata));
    if (present !== undefined && !isOurs(present))
      throw new BifrostError({
        code: 'FIELD_CONFLICT',
        message: `NetworkPolicy ${namespace}/${name} is there and is not ours; remove or rename it`,
        details: { namespace, name },
        issues: [{ path: `metadata.labels.${LABELS.managedBy}`, message: `must be ${MANAGED_BY}` }],
      });
    this.#keep({ ...shapeOf(manifest), namespace, labels: { ...present?.labels, ...labels } });
  }

  async remove(policy: NetworkPolicyReference, options: CallOptions): Promise<void> {
    this.#faults.enter(options);
    const found = this.#policies.get(keyOf(policy));
    if (found !== undefined && isOurs(found)) this.#policies.delete(keyOf(policy));
  }

  /** All of a namespace. */
  in(namespace: string): readonly NetworkPolicyShape[] {
    const found = [...this.#policies.values()].filter((policy) => policy.namespace === namespace);
    return structuredClone(found.map(({ namespace: _namespace, labels: _labels, ...shape }) => shape));
  }

  /** In the place of all that are not ours. */
  replaceForeign(namespace: string, policies: readonly NetworkPolicyShape[]): void {
    for (const policy of [...this.#policies.values()]) if (policy.namespace === namespace && !isOurs(policy)) this.#policies.delete(keyOf(policy));
    for (const shape of policies) this.#keep({ ...shape, namespace, labels: {} });
  }

  /** Somebody else's hand on one that is there; undefined deletes it. */
  change(policy: NetworkPolicyReference, shape: NetworkPolicyShape | undefined): void {
    const found = this.#policies.get(keyOf(policy));
    if (shape === undefined) this.#policies.delete(keyOf(policy));
    else if (found !== undefined) this.#keep({ ...shape, name: found.name, namespace: found.namespace, labels: found.labels });
  }

  #keep(policy: OwnNetworkPolicy): void {
    this.#policies.set(keyOf(policy), structuredClone(policy));
  }
}

const keyOf = ({ namespace, name }: NetworkPolicyReference): string => `${namespace}/${name}`;
const isOurs = ({ labels }: OwnNetworkPolicy): boolean => labels[LABELS.managedBy] === MANAGED_BY;
