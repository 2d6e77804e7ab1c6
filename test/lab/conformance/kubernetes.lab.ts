import { type KubernetesConnection, kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { describeCluster, describeStore } from '@bifrost/sdk/testing/conformance';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type AdminCall, adminOf, apiServerIsBuilt, applyManifest, kubeconfigOf, startApiServer } from '../../support/api-server.ts';
import { KubernetesAdmin } from './kubernetes-admin.ts';
import { describeAttachmentPolicy } from './kubernetes-attachment-policy.ts';
import { describeStoredObjects, type RealServer } from './kubernetes-stored-objects.ts';

/**
 * Both Kubernetes adapters under their ports' suites, on a real API server, as the ServiceAccount of examples/deploy/rbac.yaml with its rights and
 * no others: etcd and kube-apiserver of the lab's cache, without controllers. Where they run, `cluster.test.ts` has the Cluster suite again.
 */
const stack = new AsyncDisposableStack();
let call: AdminCall;
/** Of a person who may do everything in the cluster by RBAC, but is none of its masters. */
let editor: AdminCall;
let kubeconfig: string;

async function tokenOf(namespace: string, account: string): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
  const { body } = await call('POST', path, { spec: { expirationSeconds: 3_600 } });
  return (body as { status: { token: string } }).status.token;
}
const manifest = (name: string): URL => new URL(`../../../examples/deploy/${name}`, import.meta.url);
const connect = (): KubernetesConnection => kubernetes({ kubeconfig });
const server = (): RealServer => ({ call, connect, manifest });

describe.skipIf(!apiServerIsBuilt())('Kubernetes adapters on a real API server', () => {
  beforeAll(async () => {
    const { url, certificateAuthority, ...started } = stack.use(await startApiServer());
    call = started.call;
    await call('POST', '/api/v1/namespaces', { metadata: { name: 'bifrost' } });
    for (const name of ['crds.yaml', 'rbac.yaml', 'admission.yaml']) await applyManifest(call, manifest(name));
    kubeconfig = kubeconfigOf({ url, certificateAuthority, token: await tokenOf('bifrost', 'bifrost') });
    await call('POST', '/api/v1/namespaces/bifrost/serviceaccounts', { metadata: { name: 'suite-editor' } });
    await call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'suite-editor' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'bifrost', name: 'suite-editor' }],
    });
    editor = stack.use(adminOf({ url, token: await tokenOf('bifrost', 'suite-editor') })).call;
    await vi.waitFor(async () => {
      await using store = kubernetesStore({ connection: connect() });
      await store.sidecars.list({ signal: AbortSignal.timeout(5_000) });
      await store.tailnets.list({ signal: AbortSignal.timeout(5_000) });
    }, 30_000);
  }, 90_000);
  afterAll(() => stack.disposeAsync());

  describeStore('kubernetes', async () => kubernetesStore({ connection: connect() }));
  describeStoredObjects(server);
  describeAttachmentPolicy(server, [
    { who: 'an administrator', call: () => call },
    { who: 'who may do everything by RBAC', call: () => editor },
  ]);
  describeCluster('kubernetes', async () => ({
    cluster: kubernetesCluster({ connection: connect() }),
    admin: new KubernetesAdmin({ call, controllers: false, image: 'docker.io/lab/pause:1' }),
  }));

  it('the shipped policy lets the manager create pods in a dry run only', async () => {
    const connection = connect();
    await using _closed = connection;
    const create = (query: Record<string, string>) =>
      connection.send({
        operation: 'pods.admit',
        kind: 'Pod',
        isStored: false,
        method: 'POST',
        path: '/api/v1/namespaces/bifrost/pods',
        query,
        body: { metadata: { generateName: 'suite-' }, spec: { containers: [{ name: 'book', image: 'x' }] } },
        signal: AbortSignal.timeout(10_000),
      });
    expect(await create({ dryRun: 'All' })).toMatchObject({ ok: true });
    // A new policy takes some seconds to be enforced.
    await vi.waitFor(async () => expect(await create({})).toMatchObject({ ok: false, problem: { status: 422 } }), { timeout: 30_000, interval: 250 });
  });
});
