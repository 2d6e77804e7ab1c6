import type { SidecarSpec, SidecarState, Stored, TailnetSpec, TailnetState } from '../../domain/model.ts';
import { tailnetSecretName } from '../../domain/names.ts';
import { segment } from './answers.ts';
import type { ApiObject } from './api-types.ts';

/** A custom resource as it may come: written by us, by an older SDK, or by a person with kubectl. */
export interface CustomResource extends ApiObject {
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** What one kind of custom resource needs to be a collection of the Store port. */
export interface ResourceCodec<Spec, State> {
  readonly kind: string;
  readonly plural: 'tailnets' | 'sidecarattachments';
  /** The path of one object and of the collection that it is created in; undefined: no object can have this key. */
  place(
    key: string,
  ): { readonly collection: string; readonly path: string; readonly metadata: { readonly name: string; readonly namespace?: string } } | undefined;
  keyOf(object: ApiObject): string;
  specOf(object: CustomResource): Spec;
  stateOf(object: CustomResource): State;
}

export const GROUP = 'network.bifrost.dev';
export const VERSION = 'v1alpha1';
export const FINALIZER = `${GROUP}/cleanup`;
export const API_ROOT = `/apis/${GROUP}/${VERSION}`;

const NAME = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

export const TAILNETS: ResourceCodec<TailnetSpec, TailnetState> = {
  kind: 'Tailnet',
  plural: 'tailnets',
  place(key) {
    if (!NAME.test(key)) return undefined;
    const collection = `${API_ROOT}/tailnets`;
    return { collection, path: `${collection}/${segment(key)}`, metadata: { name: key } };
  },
  keyOf: ({ metadata }) => metadata.name,
  specOf({ metadata, spec }) {
    const given = (spec ?? {}) as Partial<TailnetSpec>;
    const tailnetId = given.tailnetId ?? metadata.uid; // `kubectl apply` need not invent an id
    return {
      tailnetId,
      customerId: given.customerId ?? '',
      config: { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false, ...given.config },
      tags: given.tags ?? [],
      tenancy: given.tenancy ?? 'customer-owned',
      credentialSecretName: given.credentialSecretName ?? tailnetSecretName(tailnetId),
    };
  },
  stateOf: ({ status }) => ({ phase: 'creating', ...knownState<TailnetState>(status) }),
};

export const SIDECARS: ResourceCodec<SidecarSpec, SidecarState> = {
  kind: 'SidecarAttachment',
  plural: 'sidecarattachments',
  place(key) {
    const [namespace = '', name = '', rest] = key.split('/');
    if (!NAME.test(namespace) || !NAME.test(name) || rest !== undefined) return undefined;
    const collection = `${API_ROOT}/namespaces/${segment(namespace)}/sidecarattachments`;
    return { collection, path: `${collection}/${segment(name)}`, metadata: { name, namespace } };
  },
  keyOf: ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
  specOf: ({ spec }) => spec as SidecarSpec, // made by us alone; the schema requires every member
  stateOf: ({ status }) => ({ phase: 'attaching', instances: [], keys: [], deviceIds: [], ...knownState<SidecarState>(status) }),
};

/** The status as we keep it: our state, and the generation of the spec that it speaks of. */
export function statusOf(state: object, observedGeneration: number): unknown {
  return { ...state, observedGeneration };
}

function knownState<State>(status: unknown): Partial<State> {
  const { observedGeneration: _, ...state } = (status ?? {}) as Record<string, unknown>;
  return state as Partial<State>;
}

export function storedOf<Spec, State>(codec: ResourceCodec<Spec, State>, object: CustomResource): Stored<Spec, State> {
  const { metadata } = object;
  return {
    key: codec.keyOf(object),
    version: metadata.resourceVersion,
    generation: metadata.generation ?? 1,
    createdAtMs: Date.parse(metadata.creationTimestamp ?? ''),
    deleting: metadata.deletionTimestamp !== undefined,
    spec: codec.specOf(object),
    state: codec.stateOf(object),
  };
}
