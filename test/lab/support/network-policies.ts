import { CLUSTER_DNS, type NetworkPolicyManifest, networkPoliciesOf } from '@bifrost/sdk';
import { kubernetes as connect, kubernetesCluster } from '@bifrost/sdk/kubernetes';
import { kubeconfigOf } from '../../support/api-server.ts';
import { lab } from './command.ts';
import type { Kubernetes, KubernetesObject } from './kubernetes.ts';

/** DNS, control server and relay. */
export const NODE = '10.244.0.1';
const node = [{ kind: 'networks' as const, networks: [NODE] }];

export const networkPolicy = (name: string, namespace: string, spec: unknown): KubernetesObject => ({
  ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name, namespace }, spec },
});

/** Those for a book of that sidecar, with ingress, made here and written by nobody. */
export async function policiesOf(
  { url, token }: Kubernetes,
  { sidecarId, namespace, customer }: { readonly sidecarId: string; readonly namespace: string; readonly customer: string },
): Promise<readonly NetworkPolicyManifest[]> {
  await using cluster = kubernetesCluster({ connection: connect({ kubeconfig: kubeconfigOf({ url, token }) }) });
  const ranges = await cluster.topology.ranges({ signal: AbortSignal.timeout(20_000) });
  if (ranges === undefined) throw new Error('the cluster does not tell its ranges');
  const { Regions } = JSON.parse(await lab(['customer', customer, '--', 'tailscale', 'debug', 'derp-map']));
  const [{ DERPPort, STUNPort }] = Regions['1'].Nodes;
  const manager = {
    namespaceLabels: { 'kubernetes.io/metadata.name': 'bifrost' },
    podLabels: { 'app.kubernetes.io/component': 'network-manager' },
  };
  return networkPoliciesOf({
    ...{ sidecarId, namespace, ranges },
    dns: [{ at: node, ports: CLUSTER_DNS.ports }],
    ingest: [{ at: [{ kind: 'pods', ...manager }], ports: [{ protocol: 'tcp', port: 8443 }] }],
    control: [{ at: node, ports: [{ protocol: 'tcp', port: 9911 }] }],
    relays: [
      { at: node, ports: [{ protocol: 'tcp', port: DERPPort }] },
      { at: node, ports: [{ protocol: 'udp', port: STUNPort }] },
    ],
    ingress: { servedPorts: [{ protocol: 'tcp', port: 8080 }] },
  });
}

/** Settings of a manager that writes them. Cluster DNS has no Service here; what is let anywhere outside, as Tailscale's own control servers are, is a way. */
export const enforcing = [
  ...['NETWORK_POLICIES=enforce', 'NETWORK_POLICY_ENFORCED=true', 'RESYNC_MS=2000'],
  `NETWORK_POLICY_ENDPOINTS=${JSON.stringify({
    dns: [{ at: node, ports: CLUSTER_DNS.ports }],
    control: [
      { at: node, ports: [{ protocol: 'tcp', port: 9911 }] },
      { at: [{ kind: 'outside' }], ports: [{ protocol: 'tcp', port: 80 }] },
    ],
  })}`,
];

/** As a cloud has it: an address of the node, and a page on it. */
export async function metadataServer(): Promise<AsyncDisposable & { readonly address: string; readonly url: string }> {
  const address = '169.254.169.254';
  const serve = `ip addr add ${address}/32 dev lo; BOOK_ADDRESSES=${address}:80 BOOK_PAGE=metadata setsid "$0" > /dev/null 2>&1 < /dev/null & echo $!`;
  const pid = (await lab(['inside', '--', 'sh', '-c', serve, '/run/bifrost-lab/cache/bin/book'])).trim();
  return {
    ...{ address, url: `http://${address}/` },
    [Symbol.asyncDispose]: async () => void (await lab(['inside', '--', 'sh', '-c', `kill ${pid}; ip addr del ${address}/32 dev lo`])),
  };
}
