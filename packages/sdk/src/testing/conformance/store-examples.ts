import type { WorkloadReference } from '@bifrost/types/core';
import type { SidecarSpec, SidecarState, TailnetSpec, TailnetState } from '../../domain/model.ts';
import { LABELS } from '../../domain/names.ts';
import type { SidecarFragment } from '../../domain/pod-shape.ts';

const IMAGE = `registry.example/suite@sha256:${'0'.repeat(64)}`;

/** A complete and valid spec of a tailnet, new ids at each call: what a store with a schema accepts. */
export function exampleTailnetSpec(): TailnetSpec {
  const tailnetId = crypto.randomUUID();
  return {
    tailnetId,
    customerId: 'acme-corp',
    config: { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: ['10.99.0.0/16'], accessPolicy: 'restrictive', enableLogging: true },
    tags: ['production'],
    tenancy: 'customer-owned',
    credentialSecretName: 'acme-corp-oauth',
  };
}

/** The state that a new tailnet has. */
export function exampleTailnetState(): TailnetState {
  return { phase: 'creating' };
}

/** A complete and valid spec of a sidecar for `workload`, new ids at each call. */
export function exampleSidecarSpec(workload: WorkloadReference): SidecarSpec {
  const sidecarId = crypto.randomUUID();
  return {
    sidecarId,
    tailnetName: 'acme-corp-production',
    customerId: 'acme-corp',
    bookDeploymentId: 'customer-support-book',
    workload,
    config: { hostname: 'customer-support-book', advertiseRoutes: ['10.1.0.0/24'], acceptRoutes: true, enableSsh: false },
    form: 'apply',
    fragment: exampleFragment(sidecarId),
  };
}

/** The state that a new sidecar has. */
export function exampleSidecarState(): SidecarState {
  return { phase: 'attaching', instances: [], keys: [], deviceIds: [] };
}

/**
 * A small fragment in the form that Bifrost renders: init containers, volumes, labels, annotations, nothing that pod security minds.
 * `netAdmin`: its tailscale container asks for NET_ADMIN, which the `baseline` level forbids. `image`: the tailscale container's.
 */
export function exampleFragment(sidecarId: string, options: { readonly netAdmin?: boolean; readonly image?: string } = {}): SidecarFragment {
  const capabilities = options.netAdmin === true ? { drop: ['ALL'], add: ['NET_ADMIN'] } : { drop: ['ALL'] };
  const mounts = [{ name: 'bifrost-tailscale-state', mountPath: '/var/lib/tailscale' }];
  return {
    labels: { [LABELS.sidecarId]: sidecarId },
    annotations: { 'bifrost.dev/tailnet': 'acme-corp-production' },
    initContainers: [
      {
        name: 'bifrost-agent',
        image: IMAGE,
        restartPolicy: 'Always',
        env: [{ name: 'BIFROST_SIDECAR_ID', value: sidecarId }],
        ports: [{ name: 'bifrost-agent', containerPort: 9003, protocol: 'TCP' }],
      },
      {
        name: 'tailscale',
        image: options.image ?? IMAGE,
        restartPolicy: 'Always',
        env: [{ name: 'TS_STATE_DIR', value: '/var/lib/tailscale' }],
        securityContext: { capabilities },
        volumeMounts: mounts,
      },
    ],
    volumes: [{ name: 'bifrost-tailscale-state', emptyDir: { medium: 'Memory' } }],
  };
}
