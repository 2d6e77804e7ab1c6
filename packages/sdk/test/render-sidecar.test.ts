import { describe, expect, it } from 'vitest';
import { type RenderInput, renderSidecar } from '../src/domain/render-sidecar.ts';
import { servedPorts } from '../src/domain/served-ports.ts';

const digest = `sha256:${'0'.repeat(64)}`;
const input: RenderInput = {
  sidecarId: '3d5cc1cd-0000-8000-8000-000000000000',
  tailnetName: 'acme-corp-production',
  network: {
    allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'],
    blockedNetworks: ['169.254.0.0/16'],
    accessPolicy: 'restrictive',
    enableLogging: true,
  },
  config: { hostname: 'book-customer-support', advertiseRoutes: ['10.1.0.0/24'], acceptRoutes: true, enableSsh: false },
  ranges: { pods: ['10.244.0.0/24'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] },
  servedPorts: [{ protocol: 'tcp', port: 8080 }],
  images: { tailscale: `registry.example/tailscale@${digest}`, agent: `registry.example/agent@${digest}` },
  ingestUrl: 'https://bifrost.bifrost.svc.cluster.local:8443/v1/reports',
  ingestHasOwnCa: true,
  heartbeatMs: 10_000,
  loginServer: undefined,
};
const tailscaleOf = (change: Partial<RenderInput>) => renderSidecar({ ...input, ...change }).initContainers[2];
const environmentOf = (change: Partial<RenderInput>) => Object.fromEntries((tailscaleOf(change)?.env ?? []).map(({ name, value }) => [name, value]));

describe('renderSidecar', () => {
  it('renders the specification’s sidecar as in the golden file', async () => {
    await expect(`${JSON.stringify(renderSidecar(input), null, 2)}\n`).toMatchFileSnapshot('./golden/fragment.json');
  });

  it('starts guard, then agent, then tailscale, the last two as native sidecars', () => {
    const { initContainers } = renderSidecar(input);
    expect(initContainers.map(({ name, restartPolicy }) => [name, restartPolicy])).toEqual([
      ['bifrost-guard', undefined],
      ['bifrost-agent', 'Always'],
      ['tailscale', 'Always'],
    ]);
  });

  it('never gives a key by value, and never a state Secret', () => {
    const environment = environmentOf({});
    expect(environment['TS_AUTHKEY']).toMatch(/^file:/);
    expect(environment['TS_KUBE_SECRET']).toBe('');
    expect(environment['TS_AUTH_ONCE']).toBe('true');
  });

  it('keeps shields up unless something is served, routed or ssh is on', () => {
    const shields = (change: Partial<RenderInput>): string | undefined =>
      environmentOf(change)
        ['TS_EXTRA_ARGS']?.split(' ')
        .find((word) => word.startsWith('--shields-up'));
    const quiet = { servedPorts: [], config: { ...input.config, advertiseRoutes: [] } };
    expect(shields(quiet)).toBe('--shields-up=true');
    expect(shields({ ...quiet, servedPorts: [{ protocol: 'tcp', port: 1 }] })).toBe('--shields-up=false');
    expect(shields({ ...quiet, config: { ...quiet.config, enableSsh: true } })).toBe('--shields-up=false');
  });

  it('drops every capability but NET_ADMIN, and gives the agent none', () => {
    const capabilities = renderSidecar(input).initContainers.map(
      ({ securityContext }) => (securityContext as { capabilities: unknown }).capabilities,
    );
    expect(capabilities).toEqual([{ drop: ['ALL'], add: ['NET_ADMIN'] }, { drop: ['ALL'] }, { drop: ['ALL'], add: ['NET_ADMIN'] }]);
  });
});

describe('servedPorts', () => {
  it('takes declared ports and probes, named ports from their own container, each once', () => {
    const template = {
      spec: {
        containers: [
          {
            name: 'a',
            ports: [
              { name: 'http', containerPort: 8080 },
              { containerPort: 53, protocol: 'UDP' },
            ],
            readinessProbe: { httpGet: { port: 'http' } },
          },
          { name: 'b', livenessProbe: { tcpSocket: { port: 9000 } }, startupProbe: { grpc: { port: 9001 } } },
        ],
      },
    };
    expect(servedPorts(template)).toEqual([
      { protocol: 'tcp', port: 8080 },
      { protocol: 'tcp', port: 9000 },
      { protocol: 'tcp', port: 9001 },
      { protocol: 'udp', port: 53 },
    ]);
  });
});
