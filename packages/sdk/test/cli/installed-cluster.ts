import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resourceDefinitions } from '../../src/adapters/kubernetes/store-definitions.ts';
import { SimulatedControl } from '../../src/testing/simulated-control.ts';
import { TailscaleApiSimulator } from '../../src/testing/tailscale-api-simulator.ts';
import { type FakeServer, json, list, type Received, startFakeServer, status } from '../kubernetes-fake-server.ts';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const HOST = 'bifrost.bifrost.svc.cluster.local';
const meta = (name: string, namespace?: string, more: object = {}) => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: '5',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00Z',
  ...(namespace && { namespace }),
  ...more,
});

/** What lies in the cluster, for a test to change before it looks. */
export interface Inside {
  version: { major: string; minor: string; gitVersion: string };
  definitions: Record<string, unknown>[];
  /** Says of a right whether it is granted. */
  allowed: (right: { readonly group: string; readonly resource: string; readonly verb: string }) => boolean;
  /** Whether the user of the kubeconfig may ask about others. */
  mayAskAboutOthers: boolean;
  namespaces: { name: string; labels: Record<string, string> }[];
  pods: unknown[];
  deployment: Record<string, unknown> | undefined;
  settings: Record<string, string>;
  secrets: Record<string, Record<string, string>>;
  endpoints: unknown[];
  tailnets: unknown[];
}

export interface InstalledCluster extends AsyncDisposable {
  readonly server: FakeServer;
  readonly control: SimulatedControl;
  readonly api: TailscaleApiSimulator;
  readonly inside: Inside;
  readonly kubeconfig: string;
}

const established = (definition: Record<string, unknown>): Record<string, unknown> => {
  const { metadata, ...rest } = structuredClone(definition) as { metadata: { name: string } };
  return { ...rest, metadata: meta(metadata.name), status: { conditions: [{ type: 'Established', status: 'True' }] } };
};

/** A certificate for the Service that signs itself. */
export function certificateFor(host: string, days: number): { readonly cert: string; readonly key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-certificate-'));
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  const names = ['-subj', '/CN=bifrost', '-addext', `subjectAltName=DNS:${host}`];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', String(days), ...names, '-keyout', key, '-out', cert],
    { stdio: 'ignore' },
  );
  const made = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  rmSync(folder, { recursive: true, force: true });
  return made;
}

export const deployment = ({ image = `manager@${digest('3')}`, replicas = 1, ready = 1 } = {}) => ({
  kind: 'Deployment',
  metadata: meta('network-manager', 'bifrost'),
  spec: {
    replicas,
    template: {
      spec: {
        serviceAccountName: 'bifrost',
        containers: [
          { name: 'envoy', image: `envoy@${digest('4')}` },
          {
            name: 'network-manager',
            image,
            envFrom: [{ configMapRef: { name: 'bifrost-settings' } }],
            env: [{ name: 'BIFROST_TLS_DIR', value: '/etc/bifrost/tls' }, { name: 'BIFROST_NAMESPACE' }],
            volumeMounts: [{ name: 'tls', mountPath: '/etc/bifrost/tls' }],
          },
        ],
        volumes: [{ name: 'tls', secret: { secretName: 'bifrost-tls' } }],
      },
    },
  },
  status: { readyReplicas: ready },
});

/** An API server that has Bifrost in it as `examples/deploy` would, with one customer, and Tailscale's API beside it. */
export async function installedCluster(): Promise<InstalledCluster> {
  const server = await startFakeServer();
  const control = new SimulatedControl();
  const api = new TailscaleApiSimulator(control);
  await api.start();
  const { credential } = control.addTailnet({ displayName: 'acme', tags: ['tag:bifrost-book'] });
  const { cert, key } = certificateFor(HOST, 90);
  const inside: Inside = {
    version: { major: '1', minor: '34+', gitVersion: 'v1.34.1' },
    definitions: resourceDefinitions().map(established),
    allowed: () => true,
    mayAskAboutOthers: true,
    namespaces: [{ name: 'acme', labels: { 'bifrost.dev/customer-id': 'acme', 'pod-security.kubernetes.io/enforce': 'privileged' } }],
    pods: [],
    deployment: deployment(),
    settings: {
      BIFROST_TAILSCALE_IMAGE: `tailscale@${digest('1')}`,
      BIFROST_AGENT_IMAGE: `bifrost-agent@${digest('2')}`,
      BIFROST_INGEST_URL: `https://${HOST}:8443/v1/reports`,
      BIFROST_CONTROL_URL: api.url,
      BIFROST_LOGIN_SERVER: 'https://login.example',
    },
    secrets: {
      'bifrost-tls': { 'tls.crt': cert, 'tls.key': key, 'ca.crt': cert },
      'bifrost-customer-acme': { client_id: credential.clientId, client_secret: credential.clientSecret.reveal() },
    },
    endpoints: [{ metadata: meta('bifrost-abc', 'bifrost'), endpoints: [{ conditions: { ready: true } }] }],
    tailnets: [
      {
        metadata: meta('acme-production', undefined, { finalizers: ['network.bifrost.dev/cleanup'] }),
        spec: { customerId: 'acme', tailnetId: 'tailnet-1', config: { allowedNetworks: ['10.0.0.0/8'] } },
        status: { phase: 'active' },
      },
    ],
  };
  server.otherwise((received, response) => answer(inside, received)(received, response));
  return {
    ...{ server, control, api, inside, kubeconfig: server.kubeconfig() },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

type Answered = ReturnType<typeof json>;

function answer(inside: Inside, { path, body }: Received): Answered {
  const last = path.split('/').at(-1) ?? '';
  const none = status(404, 'NotFound');
  if (path === '/version') return json(inside.version);
  if (path.includes('/customresourcedefinitions/')) {
    const found = inside.definitions.find(({ metadata }) => (metadata as { name: string }).name === last);
    return found === undefined ? none : json(found);
  }
  if (last.endsWith('subjectaccessreviews')) return review(inside, last, body);
  if (last === 'namespaces')
    return list(
      inside.namespaces.map(({ name, labels }) => ({ metadata: { ...meta(name), labels } })),
      '5',
    );
  if (last === 'pods') return list(inside.pods, '5');
  if (last === 'endpointslices') return json({ kind: 'EndpointSliceList', metadata: { resourceVersion: '5' }, items: inside.endpoints });
  if (path.endsWith('/deployments/network-manager')) return inside.deployment === undefined ? none : json(inside.deployment);
  if (path.endsWith('/configmaps/bifrost-settings'))
    return json({ kind: 'ConfigMap', metadata: meta('bifrost-settings', 'bifrost'), data: inside.settings });
  if (path.includes('/secrets/')) return secret(inside.secrets[last], last) ?? none;
  if (last === 'secrets' || last === 'networkpolicies') return list([], '5');
  if (last === 'tailnets') return list(inside.tailnets, '5');
  if (last === 'sidecarattachments') return list([], '5');
  return none;
}

function review(inside: Inside, path: string, body: unknown): Answered {
  const isSelf = path.startsWith('self');
  if (!isSelf && !inside.mayAskAboutOthers) return status(403, 'Forbidden');
  const { resource, subresource, ...right } = (
    body as { spec: { resourceAttributes: { group: string; resource: string; subresource?: string; verb: string } } }
  ).spec.resourceAttributes;
  const allowed = inside.allowed({ ...right, resource: subresource === undefined ? resource : `${resource}/${subresource}` });
  return json({ kind: isSelf ? 'SelfSubjectAccessReview' : 'SubjectAccessReview', status: { allowed } }, 201);
}

function secret(data: Record<string, string> | undefined, name: string): Answered | undefined {
  if (data === undefined) return undefined;
  const encoded = Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]));
  return json({ kind: 'Secret', metadata: meta(name, 'bifrost'), data: encoded });
}
