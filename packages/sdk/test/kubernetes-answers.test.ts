import { Secret } from '@bifrost/types/core';
import { describe, expect, it, vi } from 'vitest';
import { OwnerWalk } from '../src/adapters/kubernetes/owners.ts';
import { kubernetes, kubernetesCluster, kubernetesStore } from '../src/kubernetes.ts';
import type { Cluster } from '../src/ports/cluster.ts';
import type { Store } from '../src/ports/store.ts';
import { exampleManifest } from '../src/testing/conformance/cluster-policies.ts';
import { exampleFragment } from '../src/testing/conformance/store-examples.ts';
import { events, type FakeServer, type Handler, json, list, startFakeServer, status } from './kubernetes-fake-server.ts';

const call = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) });

interface Bench {
  readonly server: FakeServer;
  readonly cluster: Cluster;
  readonly store: Store;
}
async function bench(run: (bench: Bench) => Promise<void>): Promise<void> {
  await using server = await startFakeServer();
  const connection = kubernetes({ kubeconfig: server.kubeconfig() });
  await using cluster = kubernetesCluster({ connection });
  await using store = kubernetesStore({ connection });
  await run({ server, cluster, store });
}

const labels = { 'app.kubernetes.io/managed-by': 'bifrost', 'bifrost.dev/customer-id': 'acme' };
const finalizers = ['network.bifrost.dev/cleanup'];
const metadata = { name: 'a', namespace: 'shop', uid: 'u', resourceVersion: '5', labels, finalizers };
const tailnet = { apiVersion: 'network.bifrost.dev/v1alpha1', kind: 'Tailnet', metadata };
const template = { spec: { containers: [{ name: 'book' }] } };
const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { template } };
const workload = { kind: 'Deployment', namespace: 'shop', name: 'a', uid: 'u' } as const;
/** What a server says that was asked for something else. */
const another = json({ kind: 'ConfigMap', apiVersion: 'v1', metadata: {} });
const fails = (attempt: Promise<unknown>, code: string): Promise<void> => expect(attempt).rejects.toMatchObject({ code, retry: 'backoff' });

describe('a list of stored objects', () => {
  const said = (changes: object): Handler =>
    json({ kind: 'TailnetList', apiVersion: 'v1', metadata: { resourceVersion: '9' }, items: [tailnet], ...changes });

  it.each([
    ['an object of another kind', another],
    ['an object of its kind', json(tailnet)],
    ['a list of another kind', said({ kind: 'NodeList' })],
    ['no kind', said({ kind: undefined })],
    ['no items', said({ items: undefined })],
    ['a text for items', said({ items: 'x' })],
    ['an object for items', said({ items: {} })],
    ['an item that is null', said({ items: [tailnet, null] })],
    ['an item without metadata', said({ items: [{ spec: {} }] })],
    ['an item without name', said({ items: [{ metadata: { ...metadata, name: undefined } }] })],
    ['an item without uid', said({ items: [{ metadata: { ...metadata, uid: '' } }] })],
    ['an item whose version is a number', said({ items: [{ metadata: { ...metadata, resourceVersion: 5 } }] })],
    ['no metadata', said({ metadata: undefined })],
    ['no version', said({ metadata: {} })],
    ['a next page that is a number', said({ metadata: { resourceVersion: '9', continue: 7 } })],
  ])('bug: with %s is STORE_UNAVAILABLE, not empty', (_, handler) =>
    bench(async ({ server, store }) => {
      server.next(handler, said({}));
      await fails(store.tailnets.list(call()), 'STORE_UNAVAILABLE');
      expect((await store.tailnets.list(call())).map(({ key }) => key)).toEqual(['a']);
    }),
  );

  it('with null for items, as Go writes none, is empty', () =>
    bench(async ({ server, store }) => {
      server.next(said({ items: null }), said({ items: [] }));
      expect(await store.tailnets.list(call())).toEqual([]);
      expect(await store.tailnets.list(call())).toEqual([]);
    }));
});

describe('a stored object', () => {
  it.each([
    ['of another kind', another],
    ['of another kind that is whole', json({ ...tailnet, kind: 'ConfigMap' })],
    ['without kind', json({ ...tailnet, kind: undefined })],
    ['that is a list', json({ ...tailnet, kind: 'TailnetList', items: [] })],
    ['that is only metadata, unasked', json({ ...tailnet, kind: 'PartialObjectMetadata' })],
    ['without metadata', json({ ...tailnet, metadata: undefined })],
    ['without version', json({ ...tailnet, metadata: { ...metadata, resourceVersion: undefined } })],
    ['without uid', json({ ...tailnet, metadata: { ...metadata, uid: undefined } })],
  ])('bug: %s is STORE_UNAVAILABLE, read and written', (_, handler) =>
    bench(async ({ server, store }) => {
      server.next(handler, json(tailnet), handler);
      await fails(store.tailnets.get('a', call()), 'STORE_UNAVAILABLE');
      const found = await store.tailnets.get('a', call());
      expect(found?.version).toBe('5');
      if (found === undefined) return;
      await fails(store.tailnets.replaceState(found, { phase: 'active' }, call()), 'STORE_UNAVAILABLE');
      server.next(json({ ...tailnet, metadata: { ...metadata, resourceVersion: '6' } }));
      expect((await store.tailnets.replaceState(found, { phase: 'active' }, call())).version).toBe('6');
    }),
  );

  it('bug: is removed when a Status or the object itself says so, and by nothing else', () =>
    bench(async ({ server, store }) => {
      server.next(another, json({ kind: 'Status', apiVersion: 'v1', status: 'Success' }), json(tailnet));
      await fails(store.tailnets.remove('a', call()), 'STORE_UNAVAILABLE');
      await store.tailnets.remove('a', call());
      await store.tailnets.remove('a', call());
    }));
});

describe('a refusal', () => {
  it.each([
    ['is no Status', { kind: 'ConfigMap', apiVersion: 'v1', metadata: {}, reason: 'NotFound' }],
    ['has a message that is a number', { kind: 'Status', status: 'Failure', reason: 'NotFound', message: 5 }],
    ['has causes that are none', { kind: 'Status', status: 'Failure', reason: 'NotFound', details: { causes: [null] } }],
  ])('bug: that %s says of nothing that it is gone', (_, body) =>
    bench(async ({ server, store }) => {
      server.next(json(body, 404), status(404, 'NotFound', { causes: [{ reason: 'x' }] }));
      await fails(store.tailnets.get('a', call()), 'STORE_UNAVAILABLE');
      expect(await store.tailnets.get('a', call())).toBeUndefined();
    }),
  );
});

/** Answers everything as a real server does. */
const right: Handler = (received, response) => {
  const { method, path, query, headers } = received;
  const isMetadataOnly = headers.accept?.includes('as=PartialObjectMetadata;') === true;
  const answer = (): Handler => {
    if (query.get('watch') === 'true') return events([]);
    if (path.endsWith('/tokenreviews')) return json({ kind: 'TokenReview', metadata: {}, status: { authenticated: false } });
    // A dry run makes a pod that has no version.
    if (method === 'POST' && path.endsWith('/pods')) return json({ kind: 'PartialObjectMetadata', metadata: { name: 'p', uid: 'p' } }, 201);
    if (method === 'DELETE') return json({ kind: 'Status', apiVersion: 'v1', status: 'Success' });
    if (isMetadataOnly) return json({ kind: 'PartialObjectMetadata', metadata });
    if (path.includes('/services/')) return json({ kind: 'Service', metadata });
    if (path.endsWith('/networkpolicies/bifrost-f00d-egress')) return json({ kind: 'NetworkPolicy', metadata });
    if (path.endsWith('/a') || method === 'POST') return json(path.includes('/secrets') ? { kind: 'Secret', metadata, data: null } : deployment);
    return list(path.endsWith('/deployments') ? [{ metadata, spec: { template } }] : [], '1');
  };
  answer()(received, response);
};

describe('the cluster', () => {
  const { signal } = call();
  const secret = { namespace: 'shop', name: 'a' };
  const content = { ...secret, labels: {}, data: new Map([['k', new Secret('v')]]) };
  const change = { workload, form: 'apply', fragment: exampleFragment('s') } as const;

  it.each<[string, (cluster: Cluster) => Promise<unknown>, unknown]>([
    ['a workload found', async ({ workloads }) => (await workloads.find('book', { signal })).reference, workload],
    ['a workload read', async ({ workloads }) => (await workloads.get(workload, { signal }))?.reference, workload],
    ['an attach', async ({ workloads }) => (await workloads.attach(change, { signal })).version, '5'],
    ['a dry run', async ({ workloads }) => (await workloads.attach(change, { signal, dryRun: true })).version, '5'],
    ['a detach', ({ workloads }) => workloads.detach(change, { signal }), undefined],
    ['whose a namespace is', ({ workloads }) => workloads.customerOf('shop', { signal }), 'acme'],
    ['a Secret', ({ secrets }) => secrets.get(secret, { signal }), new Map()],
    ['a Secret put', ({ secrets }) => secrets.put(content, { signal }), undefined],
    ['a Secret removed', ({ secrets }) => secrets.remove(secret, { signal }), undefined],
    ['Secrets', ({ secrets }) => secrets.list({ signal }), []],
    ['ranges', ({ topology }) => topology.ranges({ signal }), undefined],
    ['NetworkPolicies', ({ topology }) => topology.networkPolicies('shop', { signal }), []],
    ['NetworkPolicies of ours', ({ networkPolicies }) => networkPolicies.list({ signal }), []],
    ['a NetworkPolicy put', ({ networkPolicies }) => networkPolicies.put(exampleManifest('shop', { sidecarId: 'f00d' }), { signal }), undefined],
    [
      'a NetworkPolicy removed',
      ({ networkPolicies }) => networkPolicies.remove({ namespace: 'shop', name: 'bifrost-f00d-egress' }, { signal }),
      undefined,
    ],
    ['a Service', ({ topology }) => topology.service({ namespace: 'shop', name: 'a' }, { signal }), { addresses: [], selector: {}, ports: [] }],
    ['whose a token is', ({ identities }) => identities.reviewPodToken(new Secret('token'), { signal }), undefined],
    ['the start', (cluster) => cluster.start({ signal }), undefined],
  ])('bug: %s is not told by an object of another kind', (_, ask, expected) =>
    bench(async ({ server, cluster }) => {
      server.otherwise(another);
      await fails(ask(cluster), 'CLUSTER_UNAVAILABLE');
      server.otherwise(right);
      await vi.waitFor(async () => expect(await ask(cluster)).toEqual(expected), { timeout: 10_000 });
    }),
  );

  it('bug: admission is not told by an object of another kind', () =>
    bench(async ({ server, cluster }) => {
      server.otherwise(right);
      const found = await cluster.workloads.find('book', { signal });
      server.next(another);
      await fails(cluster.workloads.admit(found, change.fragment, { signal }), 'CLUSTER_UNAVAILABLE');
      await cluster.workloads.admit(found, change.fragment, { signal });
    }));

  it('bug: the owner of a pod is asked for again after an object of another kind', async () => {
    await using server = await startFakeServer();
    await using connection = kubernetes({ kubeconfig: server.kubeconfig() });
    await using walk = new OwnerWalk(connection, () => 0);
    const replicaSet = { kind: 'ReplicaSet', name: 'a', uid: 'u', controller: true };
    server.next(another, right);
    expect(await walk.workloadUid('shop', replicaSet, signal)).toEqual({ uid: undefined, settled: false });
    expect(await walk.workloadUid('shop', replicaSet, signal)).toEqual({ uid: 'u', settled: true });
  });
});
