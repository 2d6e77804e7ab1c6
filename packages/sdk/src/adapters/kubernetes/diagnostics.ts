import { LABELS } from '../../domain/names.ts';
import type { CallOptions } from '../../ports/store.ts';
import { type ApiRequest, segment } from './answers.ts';
import { type ApiList, type ApiObject, METADATA_ONLY } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';
import { resourceDefinitions } from './store-definitions.ts';

type Json = Readonly<Record<string, unknown>>;

/** The API server's version. @throws {BifrostError} `CLUSTER_DENIED`, `CLUSTER_UNAVAILABLE` */
export async function serverVersion(
  connection: KubernetesConnection,
  { signal }: CallOptions,
): Promise<{ readonly major: number; readonly minor: number; readonly text: string }> {
  const answer = await connection.send<{ readonly major?: string; readonly minor?: string; readonly gitVersion?: string }>({
    ...{ operation: 'doctor.version', kind: '', isStored: false, method: 'GET', path: '/version' },
    signal,
  });
  if (!answer.ok) throw clusterError(answer.problem, 'read the version');
  const { major = '', minor = '', gitVersion = '' } = answer.body;
  return { major: Number.parseInt(major, 10), minor: Number.parseInt(minor, 10), text: gitVersion }; // some clusters write "31+"
}

/** A custom resource of ours as the cluster has it. */
export interface DefinitionStand {
  readonly name: string;
  readonly stand: 'current' | 'absent' | 'not established' | 'another';
  /** Where it is another: the first member that differs. */
  readonly differs?: string;
}

interface Definition extends ApiObject {
  readonly spec?: Json;
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] | null };
}

/** How the cluster's custom resources stand to those of this SDK. @throws {BifrostError} `CLUSTER_DENIED`, `CLUSTER_UNAVAILABLE` */
export async function definitionStands(connection: KubernetesConnection, { signal }: CallOptions): Promise<readonly DefinitionStand[]> {
  const stands = resourceDefinitions().map(async (wanted): Promise<DefinitionStand> => {
    const name = String((wanted['metadata'] as Json)['name']);
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${segment(name)}`;
    const answer = await connection.send<Definition>({
      operation: 'doctor.definitions',
      kind: 'CustomResourceDefinition',
      method: 'GET',
      path,
      signal,
    });
    if (!answer.ok && isAbsent(answer.problem)) return { name, stand: 'absent' };
    if (!answer.ok) throw clusterError(answer.problem, `read ${name}`);
    const { spec, status } = answer.body;
    if (status?.conditions?.some(({ type, status: value }) => type === 'Established' && value === 'True') !== true)
      return { name, stand: 'not established' };
    const differs = firstDifference(wanted['spec'], spec, 'spec');
    return differs === undefined ? { name, stand: 'current' } : { name, stand: 'another', differs };
  });
  return Promise.all(stands);
}

/** What the API server fills in by itself is no difference; an empty member is none. */
function firstDifference(wanted: unknown, found: unknown, path: string): string | undefined {
  if (typeof wanted !== 'object' || wanted === null) return wanted === found || wanted === '' || wanted === false ? undefined : path;
  if (Object.keys(wanted).length === 0) return undefined;
  if (typeof found !== 'object' || found === null) return path;
  if (Array.isArray(wanted) && (!Array.isArray(found) || found.length !== wanted.length)) return path;
  for (const [name, value] of Object.entries(wanted)) {
    const difference = firstDifference(value, (found as Json)[name], `${path}.${name}`);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

/** A namespace that belongs to a customer. */
export interface CustomerNamespace {
  readonly name: string;
  readonly customerId: string;
  /** The pod security level that is enforced there; undefined: what the cluster's own configuration says. */
  readonly enforce: string | undefined;
}

/** Namespaces that say whose they are. @throws {BifrostError} `CLUSTER_DENIED`, `CLUSTER_UNAVAILABLE` */
export async function customerNamespaces(connection: KubernetesConnection, options: CallOptions): Promise<readonly CustomerNamespace[]> {
  const request = {
    operation: 'doctor.namespaces',
    kind: 'NamespaceList',
    path: '/api/v1/namespaces',
    accept: METADATA_ONLY.list,
    query: { labelSelector: LABELS.customerId },
  } as const;
  const found = await listAll<ApiObject>(connection, request, options);
  return found.map(({ metadata: { name, labels = {} } }) => ({
    name,
    customerId: labels[LABELS.customerId] ?? '',
    enforce: labels['pod-security.kubernetes.io/enforce'],
  }));
}

interface ContainerStatus {
  readonly name: string;
  readonly image?: string;
  readonly state?: { readonly waiting?: { readonly reason?: string } };
}

interface PodObject extends ApiObject {
  readonly status?: {
    readonly initContainerStatuses?: readonly ContainerStatus[] | null;
    readonly containerStatuses?: readonly ContainerStatus[] | null;
  };
}

/** A container that does not come up. */
export interface WaitingContainer {
  readonly pod: string;
  readonly container: string;
  readonly image: string;
  readonly reason: string;
}

/** Not yet, as in any pod that starts. */
const STARTING: ReadonlySet<string> = new Set(['ContainerCreating', 'PodInitializing']);

/** Containers of pods with a sidecar that wait for something that may not come: an image, a Secret, an end of their crashes. */
export async function waitingContainers(
  connection: KubernetesConnection,
  options: CallOptions,
): Promise<{ readonly pods: number; readonly waiting: readonly WaitingContainer[] }> {
  const request = { operation: 'doctor.pods', kind: 'PodList', path: '/api/v1/pods', query: { labelSelector: LABELS.sidecarId } } as const;
  const pods = await listAll<PodObject>(connection, request, options);
  const waiting = pods.flatMap(({ metadata, status }) =>
    [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])].flatMap(
      ({ name, image = '', state }): readonly WaitingContainer[] => {
        const reason = state?.waiting?.reason;
        return reason === undefined || STARTING.has(reason)
          ? []
          : [{ pod: `${metadata.namespace}/${metadata.name}`, container: name, image, reason }];
      },
    ),
  );
  return { pods: pods.length, waiting };
}

interface EndpointSlice extends ApiObject {
  readonly endpoints?: readonly { readonly conditions?: { readonly ready?: boolean } }[] | null;
}

/** Ready addresses behind a Service; undefined when nothing says that there is such a Service. */
export async function readyEndpoints(
  connection: KubernetesConnection,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  options: CallOptions,
): Promise<number | undefined> {
  const slices = await listAll<EndpointSlice>(
    connection,
    {
      ...{ operation: 'doctor.endpoints', kind: 'EndpointSliceList' },
      path: `/apis/discovery.k8s.io/v1/namespaces/${segment(namespace)}/endpointslices`,
      query: { labelSelector: `kubernetes.io/service-name=${segment(name)}` },
    },
    options,
  );
  if (slices.length === 0) return undefined;
  return slices.flatMap(({ endpoints }) => endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false).length;
}

async function listAll<T extends ApiObject>(
  connection: KubernetesConnection,
  request: Pick<ApiRequest, 'operation' | 'kind' | 'path' | 'query' | 'accept'>,
  { signal }: CallOptions,
): Promise<readonly T[]> {
  const items: T[] = [];
  let next: string | undefined;
  do {
    const query = { ...request.query, limit: 500, continue: next };
    const answer = await connection.send<ApiList<T>>({ ...request, method: 'GET', query, signal });
    if (!answer.ok) throw clusterError(answer.problem, `list ${request.path}`);
    items.push(...(answer.body.items ?? []));
    next = answer.body.metadata.continue || undefined;
  } while (next !== undefined);
  return items;
}
