import { BifrostError, type Secret } from '@bifrost/types/core';
import type { ContainerShape } from '../../domain/pod-shape.ts';
import type { RuntimePod } from './pod-runtime.ts';

interface Item {
  readonly key: string;
  readonly path: string;
}
interface SecretSource {
  readonly secretName?: string;
  readonly name?: string;
  readonly items?: readonly Item[];
  readonly optional?: boolean;
}
interface ProjectedSource {
  readonly secret?: SecretSource;
  readonly serviceAccountToken?: { readonly path: string };
  readonly downwardAPI?: unknown;
}

/**
 * The files of one volume of the pod, by path inside it: a `secret` volume, or a `projected` one of Secrets and the pod's token. Empty for any
 * other kind (emptyDir, hostPath) and for a volume that is not there.
 *
 * @throws {BifrostError} `CLUSTER_REJECTED` — a Secret or key that is not optional lacks: a kubelet would wait for it
 */
export function volumeFiles(pod: RuntimePod, volumeName: string): ReadonlyMap<string, Secret> {
  const volume = pod.template.spec.volumes?.find(({ name }) => name === volumeName);
  const secret = volume?.['secret'] as SecretSource | undefined;
  if (secret !== undefined) return secretFiles(pod, secret);
  const files = new Map<string, Secret>();
  const projected = volume?.['projected'] as { readonly sources?: readonly ProjectedSource[] } | undefined;
  for (const source of projected?.sources ?? []) {
    if (source.serviceAccountToken !== undefined) files.set(source.serviceAccountToken.path, pod.serviceAccountToken);
    if (source.secret !== undefined) for (const [path, value] of secretFiles(pod, source.secret)) files.set(path, value);
  }
  return files;
}

function secretFiles(pod: RuntimePod, source: SecretSource): ReadonlyMap<string, Secret> {
  const name = source.secretName ?? source.name ?? '';
  const data = pod.readSecret(name);
  const lacks = (what: string): BifrostError =>
    new BifrostError({ code: 'CLUSTER_REJECTED', message: `pod ${pod.name} waits for ${what} of Secret ${name}`, details: { secret: name } });
  if (data === undefined && source.optional !== true) throw lacks('all');
  const items = source.items ?? [...(data?.keys() ?? [])].map((key) => ({ key, path: key }));
  const files = new Map<string, Secret>();
  for (const { key, path } of items) {
    const value = data?.get(key);
    if (value !== undefined) files.set(path, value);
    else if (source.optional !== true) throw lacks(`key ${key}`);
  }
  return files;
}

/**
 * The environment of a container as its kubelet would set it: values, `fieldRef` of name, namespace, uid, labels, annotations, pod and node
 * addresses, `secretKeyRef`, and `$(NAME)` of what comes before. What cannot be told is left out.
 */
export function containerEnvironment(
  container: ContainerShape,
  pod: RuntimePod,
  addresses: { readonly podIp: string; readonly hostIp: string },
): Readonly<Record<string, string>> {
  const environment: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    const raw = value ?? referred(valueFrom, pod, addresses);
    if (raw === undefined) continue;
    environment[name] = raw.replace(/\$\$|\$\(([^)]+)\)/g, (text, variable: string | undefined) =>
      variable === undefined ? '$' : (environment[variable] ?? text),
    );
  }
  return environment;
}

function referred(from: unknown, pod: RuntimePod, { podIp, hostIp }: { readonly podIp: string; readonly hostIp: string }): string | undefined {
  const { fieldRef, secretKeyRef } = (from ?? {}) as {
    readonly fieldRef?: { readonly fieldPath?: string };
    readonly secretKeyRef?: { readonly name?: string; readonly key?: string };
  };
  if (secretKeyRef !== undefined)
    return pod
      .readSecret(secretKeyRef.name ?? '')
      ?.get(secretKeyRef.key ?? '')
      ?.reveal();
  const path = fieldRef?.fieldPath ?? '';
  const fields: Readonly<Record<string, string | undefined>> = {
    'metadata.name': pod.name,
    'metadata.namespace': pod.namespace,
    'metadata.uid': pod.uid,
    'spec.serviceAccountName': pod.template.spec.serviceAccountName ?? 'default',
    'status.podIP': podIp,
    'status.podIPs': podIp,
    'status.hostIP': hostIp,
    'status.hostIPs': hostIp,
  };
  const [, place, key = ''] = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path) ?? [];
  return place === 'labels' || place === 'annotations' ? pod.template.metadata?.[place]?.[key] : fields[path];
}
