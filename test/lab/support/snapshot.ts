import { createHash } from 'node:crypto';
import { ControlClient, ORGANIZATION } from './control.ts';
import type { Kubernetes, KubernetesObject } from './kubernetes.ts';

interface SecretObject extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
}

const hash = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
const nameOf = ({ kind, metadata }: KubernetesObject): string => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;

/** What tells one version of an object from another, and not what its controllers write in between. */
const essence = (object: KubernetesObject): unknown => {
  const { uid, generation, labels, annotations, finalizers, deletionTimestamp } = object.metadata as Record<string, unknown>;
  const { 'deployment.kubernetes.io/revision': _, ...notes } = (annotations ?? {}) as Record<string, string>;
  return { uid, generation, labels, notes, finalizers, deletionTimestamp, spec: object['spec'] };
};

/**
 * All that Bifrost could have written, as it stands now: Secrets, its own objects, workloads, tailnets of the organization, and keys, devices and
 * policy of each of these tailnets. Two snapshots are equal when nothing was written between them.
 */
export async function snapshot(kubernetes: Kubernetes, controls: readonly ControlClient[] = []): Promise<Readonly<Record<string, unknown>>> {
  await using organization = new ControlClient(ORGANIZATION);
  const ours = 'network.bifrost.dev/v1alpha1';
  const [secrets, tailnets, sidecars, deployments, sets, made, inside] = await Promise.all([
    kubernetes.list<SecretObject>('v1', 'Secret'),
    kubernetes.list(ours, 'Tailnet'),
    kubernetes.list(ours, 'SidecarAttachment'),
    kubernetes.list('apps/v1', 'Deployment'),
    kubernetes.list('apps/v1', 'StatefulSet'),
    organization.tailnets(),
    Promise.all(controls.map(contentOf)),
  ]);
  // Items of a list do not say their kind.
  const all = Object.entries({ Tailnet: tailnets, SidecarAttachment: sidecars, Deployment: deployments, StatefulSet: sets });
  const objects = all.flatMap(([kind, items]) => items.map((object) => [nameOf({ ...object, kind }), essence(object)] as const));
  return {
    secrets: Object.fromEntries(secrets.map((secret) => [nameOf({ ...secret, kind: 'Secret' }), [secret.metadata.labels, hash(secret.data ?? {})]])),
    objects: Object.fromEntries(objects),
    tailnets: made.map(({ id, displayName }) => [id, displayName]),
    inside,
  };
}

async function contentOf(control: ControlClient): Promise<unknown> {
  const [keys, devices, policy] = await Promise.all([control.keys(), control.devices(), control.policy()]);
  return {
    keys: keys.map(({ id, description }) => [id, description]),
    devices: devices.map(({ nodeId, hostname, tags, enabledRoutes, machineKey, nodeKey }) => ({
      nodeId,
      hostname,
      tags,
      enabledRoutes,
      machineKey,
      nodeKey,
    })),
    policy: policy.text,
  };
}
