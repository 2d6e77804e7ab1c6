import type { z } from 'zod';
import type { SidecarSpec, SidecarState, Stored, TailnetSpec, TailnetState } from '../../domain/model.ts';
import { customerSecretName, tailnetSecretName } from '../../domain/names.ts';
import { segment } from './answers.ts';
import type { ApiObject } from './api-types.ts';
import { sidecarSpecSchema, sidecarStateSchema } from './store-schema-sidecar.ts';
import { tailnetSpecSchema, tailnetStateSchema } from './store-schema-tailnet.ts';

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
    const given = read(tailnetSpecSchema, withRanges(spec), NO_TAILNET);
    const tailnetId = given.tailnetId || metadata.uid; // `kubectl apply` need not invent an id
    const named = given.credentialSecretName || (customerSecretName(given.customerId) ?? '');
    return { ...given, tailnetId, credentialSecretName: given.tenancy === 'customer-owned' ? named : tailnetSecretName(tailnetId) };
  },
  stateOf: ({ status }) => read(tailnetStateSchema, status ?? {}, { phase: 'creating' }),
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
  specOf: ({ metadata, spec }) => read(sidecarSpecSchema, spec, noSidecar(metadata)),
  stateOf: ({ status }) => read(sidecarStateSchema, status ?? {}, { phase: 'attaching', instances: [], keys: [], deviceIds: [] }),
};

/** The status as we keep it: our state, and the generation of the spec that it speaks of. */
export function statusOf(state: object, observedGeneration: number): unknown {
  return { ...state, observedGeneration };
}

/** What a Tailnet is without a member that can be read: nothing that the check of a call would accept. */
const NO_TAILNET: TailnetSpec = {
  tailnetId: '',
  customerId: '',
  config: { allowedNetworks: [''], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false },
  tags: [''],
  tenancy: 'customer-owned',
  credentialSecretName: '',
};

/** Older definitions let people leave the ranges out. */
function withRanges(spec: unknown): unknown {
  if (!isRecord(spec)) return spec;
  const { config = {} } = spec;
  return isRecord(config) ? { ...spec, config: { allowedNetworks: [], ...config } } : spec;
}

/** The same of a SidecarAttachment: no workload has this name, so it counts as deleted, and what was made outside is found by the ledger. */
const noSidecar = ({ uid, namespace = '' }: ApiObject['metadata']): SidecarSpec => ({
  sidecarId: uid,
  tailnetName: '',
  customerId: '',
  bookDeploymentId: uid,
  workload: { kind: 'Deployment', namespace, name: '', uid: '' },
  config: { hostname: '', advertiseRoutes: [], acceptRoutes: false, enableSsh: false },
  form: 'apply',
  fragment: { labels: {}, annotations: {}, initContainers: [], volumes: [] },
});

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value);

interface ObjectSchema<T> extends z.ZodType<T> {
  readonly shape: Readonly<Record<string, z.ZodType>>;
}

/**
 * Reads what is stored, whatever it is: one object that cannot be read must hinder neither the list of all others nor its own end. A member that is
 * not as it should be is as in `without`, or left out.
 */
function read<T extends object>(schema: z.ZodReadonly<ObjectSchema<T>>, value: unknown, without: T): T {
  const whole = schema.safeParse(value);
  if (whole.success) return whole.data as T;
  const given = isRecord(value) ? value : {};
  const members = Object.entries(schema.def.innerType.shape).flatMap(([name, member]) => {
    const parsed = member.safeParse(given[name]);
    return parsed.success && parsed.data !== undefined ? [[name, parsed.data] as const] : [];
  });
  return { ...without, ...Object.fromEntries(members) };
}

/** Marks the version of an object that lacks our finalizer: it must get it before anything is made for it. Callers see a version as one word. */
const UNGUARDED = ' unguarded';
export const resourceVersionOf = (version: string): string => version.replace(UNGUARDED, '');
export const isGuarded = (version: string): boolean => !version.endsWith(UNGUARDED);

export function versionOf({ metadata }: ApiObject): string {
  const deleting = metadata.deletionTimestamp !== undefined; // too late for a finalizer
  const guarded = deleting || metadata.finalizers?.includes(FINALIZER) === true;
  return guarded ? metadata.resourceVersion : metadata.resourceVersion + UNGUARDED;
}

export function storedOf<Spec, State>(codec: ResourceCodec<Spec, State>, object: CustomResource): Stored<Spec, State> {
  const { metadata } = object;
  return {
    key: codec.keyOf(object),
    version: versionOf(object),
    generation: metadata.generation ?? 1,
    createdAtMs: Date.parse(metadata.creationTimestamp ?? ''),
    deleting: metadata.deletionTimestamp !== undefined,
    spec: codec.specOf(object),
    state: codec.stateOf(object),
  };
}
