import { describe, expect, it } from 'vitest';
import { kubernetes, kubernetesCluster } from '../src/kubernetes.ts';
import type { Cluster } from '../src/ports/cluster.ts';
import { type FakeServer, json, list, startFakeServer } from './kubernetes-fake-server.ts';

const call = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) });

async function bench(run: (server: FakeServer, cluster: Cluster) => Promise<void>): Promise<void> {
  await using server = await startFakeServer();
  await using cluster = kubernetesCluster({ connection: kubernetes({ kubeconfig: server.kubeconfig() }) });
  await run(server, cluster);
}

/** Lists what lies in each collection; a namespace is the customer's whose name it bears, and `nobodys` is nobody's. */
function serveBooks(server: FakeServer, books: Readonly<Record<string, readonly string[]>>): void {
  server.otherwise((received, response) => {
    const [, namespace] = /^\/api\/v1\/namespaces\/([^/?]+)/.exec(received.path) ?? [];
    const labels = namespace === 'nobodys' ? {} : { 'bifrost.dev/customer-id': namespace };
    const items = (books[received.path.split('/').at(-1) ?? ''] ?? []).map((home) => ({
      metadata: { name: 'b', namespace: home, uid: `u-${home}`, resourceVersion: '1' },
      spec: { template: { spec: { containers: [] } } },
    }));
    const answer =
      namespace === undefined
        ? list(items, '1')
        : json({ kind: 'PartialObjectMetadata', metadata: { name: namespace, uid: 'n', resourceVersion: '1', labels } });
    return answer(received, response);
  });
}

describe('find', () => {
  it.each([
    ['jobs', 'Job'],
    ['cronjobs', 'CronJob'],
  ])('a book in %s is WORKLOAD_UNSUPPORTED', (plural, kind) =>
    bench(async (server, cluster) => {
      serveBooks(server, { [plural]: ['nobodys', 'acme-corp'] });
      const refused = async (customerId?: string): Promise<unknown> => {
        const options = { ...call(), ...(customerId === undefined ? {} : { customerId }) };
        const error: unknown = await cluster.workloads.find('book', options).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: 'WORKLOAD_UNSUPPORTED', issues: [{ path: 'bookDeploymentId' }] });
        return (error as { readonly details: unknown }).details;
      };
      expect(await refused()).toEqual({ kind });
      expect(await refused('other-corp')).toEqual({ kind });
      expect(await refused('acme-corp')).toEqual({ kind, customerId: 'acme-corp' });
    }),
  );

  it('a book of the customer’s own in cronjobs comes before a Deployment and a Job of others’', () =>
    bench(async (server, cluster) => {
      serveBooks(server, { deployments: ['other-corp'], jobs: ['other-corp'], cronjobs: ['acme-corp'] });
      await expect(cluster.workloads.find('book', { ...call(), customerId: 'acme-corp' })).rejects.toMatchObject({
        code: 'WORKLOAD_UNSUPPORTED',
        details: { kind: 'CronJob', customerId: 'acme-corp' },
      });
      for (const customerId of ['other-corp', 'third-corp'])
        expect(await cluster.workloads.find('book', { ...call(), customerId })).toMatchObject({ customerId: 'other-corp' });
    }));
});
