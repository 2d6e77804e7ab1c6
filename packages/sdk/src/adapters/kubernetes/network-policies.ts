import { BifrostError } from '@bifrost/types/core';
import { FIELD_MANAGER, LABELS, MANAGED_BY } from '../../domain/names.ts';
import type { EgressRuleShape, IngressRuleShape, LabelSelectorShape, NetworkPolicyShape } from '../../domain/network-policy-shape.ts';
import type { NetworkPolicyManifest } from '../../domain/policy/network-policies.ts';
import type { NetworkPolicies, NetworkPolicyReference, OwnNetworkPolicy } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { segment } from './answers.ts';
import { type ApiList, type ApiObject, CONTENT, type ObjectMeta } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';

export interface NetworkPolicyObject extends ApiObject {
  readonly spec?: {
    readonly podSelector?: LabelSelectorShape;
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly IngressRuleShape[];
    readonly egress?: readonly EgressRuleShape[];
  };
}

export const readShape = ({ metadata, spec }: NetworkPolicyObject): NetworkPolicyShape => ({
  name: metadata.name,
  podSelector: spec?.podSelector ?? {},
  policyTypes: spec?.policyTypes ?? [],
  ingress: spec?.ingress ?? [],
  egress: spec?.egress ?? [],
});

const GROUP = '/apis/networking.k8s.io/v1';
const OURS = `${LABELS.managedBy}=${MANAGED_BY}`;

/**
 * NetworkPolicies of ours, by server-side apply: by force only on one that has our label, and only on the version that was looked at. Both lists of rules
 * are applied, an empty one too, so that rules which somebody has added to the other direction go.
 */
export class KubernetesNetworkPolicies implements NetworkPolicies {
  readonly #connection: KubernetesConnection;

  constructor(connection: KubernetesConnection) {
    this.#connection = connection;
  }

  async list({ signal, of }: Parameters<NetworkPolicies['list']>[0]): Promise<readonly OwnNetworkPolicy[]> {
    signal.throwIfAborted();
    const path = of === undefined ? `${GROUP}/networkpolicies` : collectionOf(of.namespace);
    const labelSelector = of === undefined ? OURS : `${OURS},${LABELS.sidecarId}=${of.sidecarId}`;
    const found = await this.#list({ path, query: { labelSelector } }, signal);
    return found.map((object) => {
      const { namespace = '', labels = {} } = object.metadata;
      return { ...readShape(object), namespace, labels };
    });
  }

  async put({ apiVersion, kind, metadata, spec }: NetworkPolicyManifest, { signal }: CallOptions): Promise<void> {
    signal.throwIfAborted();
    const present = await this.#metadata(metadata, signal);
    if (present !== undefined && !isOurs(present)) throw foreign(metadata);
    const identity = present === undefined ? {} : { uid: present.uid, resourceVersion: present.resourceVersion };
    const answer = await this.#connection.send({
      operation: 'networkpolicies.apply',
      kind: 'NetworkPolicy',
      method: 'PATCH',
      path: pathOf(metadata),
      query: { fieldManager: FIELD_MANAGER, force: present === undefined ? undefined : true },
      body: { apiVersion, kind, metadata: { ...metadata, ...identity }, spec: { ingress: [], egress: [], ...spec } },
      contentType: CONTENT.apply,
      signal,
    });
    if (!answer.ok) throw clusterError(answer.problem, `apply ${subjectOf(metadata)}`);
  }

  async remove(policy: NetworkPolicyReference, { signal }: CallOptions): Promise<void> {
    signal.throwIfAborted();
    const present = await this.#metadata(policy, signal);
    if (present === undefined || !isOurs(present)) return;
    const { uid, resourceVersion } = present;
    const answer = await this.#connection.send({
      operation: 'networkpolicies.delete',
      kind: 'NetworkPolicy',
      method: 'DELETE',
      path: pathOf(policy),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } },
      signal,
    });
    if (!answer.ok && !isAbsent(answer.problem)) throw clusterError(answer.problem, `delete ${subjectOf(policy)}`);
  }

  /** By a list of one: it needs no right that following them does not. */
  async #metadata({ namespace, name }: NetworkPolicyReference, signal: AbortSignal): Promise<ObjectMeta | undefined> {
    const found = await this.#list({ path: collectionOf(namespace), query: { fieldSelector: `metadata.name=${segment(name)}` } }, signal);
    return found.find(({ metadata }) => metadata.name === name)?.metadata;
  }

  async #list(
    { path, query }: { readonly path: string; readonly query: Readonly<Record<string, string>> },
    signal: AbortSignal,
  ): Promise<readonly NetworkPolicyObject[]> {
    const items: NetworkPolicyObject[] = [];
    let next: string | undefined;
    do {
      const answer = await this.#connection.send<ApiList<NetworkPolicyObject>>({
        ...{ operation: 'networkpolicies.list', kind: 'NetworkPolicyList', method: 'GET', path, signal },
        query: { ...query, limit: 250, continue: next },
      });
      if (!answer.ok) throw clusterError(answer.problem, `list ${path}`);
      items.push(...(answer.body.items ?? []));
      next = answer.body.metadata.continue || undefined;
    } while (next !== undefined);
    return items;
  }
}

const collectionOf = (namespace: string): string => `${GROUP}/namespaces/${segment(namespace)}/networkpolicies`;
const pathOf = ({ namespace, name }: NetworkPolicyReference): string => `${collectionOf(namespace)}/${segment(name)}`;
const subjectOf = ({ namespace, name }: NetworkPolicyReference): string => `NetworkPolicy ${namespace}/${name}`;
const isOurs = ({ labels }: ObjectMeta): boolean => labels?.[LABELS.managedBy] === MANAGED_BY;

function foreign(policy: NetworkPolicyReference): BifrostError {
  return new BifrostError({
    code: 'FIELD_CONFLICT',
    message: `${subjectOf(policy)} is there and is not ours; remove or rename it`,
    details: { namespace: policy.namespace, name: policy.name },
    issues: [{ path: `metadata.labels.${LABELS.managedBy}`, message: `must be ${MANAGED_BY}` }],
  });
}
