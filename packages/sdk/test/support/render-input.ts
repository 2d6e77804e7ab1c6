import type { RenderInput } from '../../src/domain/render-sidecar.ts';

const digest = `sha256:${'0'.repeat(64)}`;

/** All that the specification's example is rendered from. */
export const renderInput: RenderInput = {
  sidecarId: '3d5cc1cd-0000-8000-8000-000000000000',
  tailnetName: 'acme-corp-production',
  network: {
    allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'],
    blockedNetworks: ['169.254.0.0/16'],
    accessPolicy: 'restrictive',
    enableLogging: true,
  },
  networkHash: '5f1d7a84db00d2fc',
  config: { hostname: 'book-customer-support', advertiseRoutes: ['10.1.0.0/24'], acceptRoutes: true, enableSsh: false },
  ranges: { pods: ['10.244.0.0/24'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] },
  servedPorts: [{ protocol: 'tcp', port: 8080 }],
  images: { tailscale: `registry.example/tailscale@${digest}`, agent: `registry.example/agent@${digest}` },
  ingestUrl: 'https://bifrost.bifrost.svc.cluster.local:8443/v1/reports',
  ingestHasOwnCa: true,
  heartbeatMs: 10_000,
  loginServer: undefined,
};
