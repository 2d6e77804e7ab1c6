import type { CallOptions } from '../../ports/store.ts';
import { segment } from './answers.ts';
import type { ApiObject } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';

/** The manager's Deployment as it was applied, and how it stands. */
export interface Installation {
  /** Of all its containers. */
  readonly images: readonly string[];
  readonly serviceAccount: string;
  readonly wantedReplicas: number;
  readonly readyReplicas: number;
  /** Variables that are written there or in its ConfigMaps; what lies in Secrets is not read. */
  readonly environment: Readonly<Record<string, string>>;
  /** The Secret that is mounted at its BIFROST_TLS_DIR. */
  readonly tlsSecretName: string | undefined;
}

interface Container {
  readonly name?: string;
  readonly image?: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[] | null;
  readonly envFrom?: readonly { readonly prefix?: string; readonly configMapRef?: { readonly name?: string } }[] | null;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[] | null;
}

interface Deployment extends ApiObject {
  readonly spec?: {
    readonly replicas?: number;
    readonly template?: {
      readonly spec?: {
        readonly serviceAccountName?: string;
        readonly containers?: readonly Container[];
        readonly volumes?: readonly { readonly name: string; readonly secret?: { readonly secretName?: string } }[] | null;
      };
    };
  };
  readonly status?: { readonly readyReplicas?: number };
}

interface ConfigMap extends ApiObject {
  readonly data?: Readonly<Record<string, string>> | null;
}

interface Place {
  readonly namespace: string;
  readonly name: string;
}

/** What the manager of that Deployment was told; undefined when there is none. @throws {BifrostError} `CLUSTER_DENIED`, `CLUSTER_UNAVAILABLE` */
export async function readInstallation(connection: KubernetesConnection, place: Place, options: CallOptions): Promise<Installation | undefined> {
  const deployment = await read<Deployment>(
    connection,
    { ...place, group: '/apis/apps/v1', kind: 'Deployment', operation: 'doctor.deployment' },
    options,
  );
  if (deployment === undefined) return undefined;
  const pod = deployment.spec?.template?.spec;
  const containers = pod?.containers ?? [];
  // A proxy may stand beside it.
  const container = containers.find(({ name }) => name === place.name) ?? containers.find(({ env }) => env?.some(isOurs)) ?? containers[0] ?? {};
  const environment: Record<string, string> = {};
  for (const { prefix = '', configMapRef } of container.envFrom ?? []) {
    if (configMapRef?.name === undefined) continue;
    const map = { namespace: place.namespace, name: configMapRef.name, group: '/api/v1', kind: 'ConfigMap', operation: 'doctor.settings' } as const;
    const found = await read<ConfigMap>(connection, map, options);
    for (const [name, value] of Object.entries(found?.data ?? {})) environment[prefix + name] = value;
  }
  for (const { name, value } of container.env ?? []) if (value !== undefined) environment[name] = value;
  const mount = container.volumeMounts?.find(({ mountPath }) => mountPath === environment['BIFROST_TLS_DIR']);
  return {
    images: containers.map(({ image = '' }) => image),
    serviceAccount: pod?.serviceAccountName ?? 'default',
    wantedReplicas: deployment.spec?.replicas ?? 1,
    readyReplicas: deployment.status?.readyReplicas ?? 0,
    environment,
    tlsSecretName: pod?.volumes?.find(({ name }) => name === mount?.name)?.secret?.secretName,
  };
}

const isOurs = ({ name }: { readonly name: string }): boolean => name.startsWith('BIFROST_');

interface Wanted extends Place {
  readonly group: string;
  readonly kind: 'Deployment' | 'ConfigMap';
  readonly operation: 'doctor.deployment' | 'doctor.settings';
}

async function read<T extends ApiObject>(connection: KubernetesConnection, wanted: Wanted, { signal }: CallOptions): Promise<T | undefined> {
  const { namespace, name, group, kind, operation } = wanted;
  const path = `${group}/namespaces/${segment(namespace)}/${kind.toLowerCase()}s/${segment(name)}`;
  const answer = await connection.send<T>({ operation, kind, method: 'GET', path, signal });
  if (answer.ok) return answer.body;
  if (isAbsent(answer.problem)) return undefined;
  throw clusterError(answer.problem, `read ${kind} ${namespace}/${name}`);
}
