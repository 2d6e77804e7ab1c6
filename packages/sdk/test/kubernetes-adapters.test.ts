import { inspect } from 'node:util';
import { Secret } from '@bifrost/types/core';
import { describe, expect, it, vi } from 'vitest';
import { OwnerWalk } from '../src/adapters/kubernetes/owners.ts';
import { kubernetes, kubernetesCluster } from '../src/kubernetes.ts';
import type { Cluster } from '../src/ports/cluster.ts';
import { events, type FakeServer, json, list, startFakeServer, status, text } from './kubernetes-fake-server.ts';

const call = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) });

interface Bench {
  readonly server: FakeServer;
  readonly cluster: Cluster;
  pass(milliseconds: number): void;
}
async function bench(run: (bench: Bench) => Promise<void>): Promise<void> {
  await using server = await startFakeServer();
  const connection = kubernetes({ kubeconfig: server.kubeconfig() });
  let nowMs = 1_000;
  await using cluster = kubernetesCluster({ connection, nowMs: () => nowMs });
  const pass = (milliseconds: number): void => {
    nowMs += milliseconds;
  };
  await run({ server, cluster, pass });
}

const review = (changes: Readonly<Record<string, unknown>> = {}, extra: Readonly<Record<string, readonly string[]>> = {}) =>
  json({
    kind: 'TokenReview',
    status: {
      authenticated: true,
      audiences: ['bifrost'],
      user: {
        username: 'system:serviceaccount:shop:default',
        extra: { 'authentication.kubernetes.io/pod-name': ['book-1'], 'authentication.kubernetes.io/pod-uid': ['u1'], ...extra },
      },
      ...changes,
    },
  });

describe('identities', () => {
  it('a good answer is remembered for a minute, a bad one for five seconds; the token is kept nowhere', () =>
    bench(async ({ server, cluster, pass }) => {
      const identity = { namespace: 'shop', serviceAccount: 'default', podName: 'book-1', podUid: 'u1' };
      const ask = (token: string) => cluster.identities.reviewPodToken(new Secret(token), call());
      server.next(review());
      expect(await ask('canary-good')).toEqual(identity);
      pass(59_000);
      expect(await ask('canary-good')).toEqual(identity);
      expect(server.received).toHaveLength(1);
      expect(server.received[0]?.body).toMatchObject({ spec: { token: 'canary-good', audiences: ['bifrost'] } });
      pass(1_001);
      server.next(json({ kind: 'TokenReview', status: { authenticated: false } }));
      expect(await ask('canary-good')).toBeUndefined();
      pass(4_900);
      expect(await ask('canary-good')).toBeUndefined();
      expect(server.received).toHaveLength(2);
      pass(200);
      server.next(review());
      expect(await ask('canary-good')).toEqual(identity);
      expect(inspect(cluster.identities, { depth: 20, showHidden: true })).not.toContain('canary-good');
    }));

  it.each([
    ['no audience', review({ audiences: null })],
    ['another audience', review({ audiences: ['https://kubernetes.default.svc'] })],
    ['no pod', review({}, { 'authentication.kubernetes.io/pod-uid': [] })],
    ['a person', review({ user: { username: 'admin' } })],
    ['no status', json({ kind: 'TokenReview' })],
  ])('%s proves nothing', (_, handler) =>
    bench(async ({ server, cluster }) => {
      server.next(handler);
      expect(await cluster.identities.reviewPodToken(new Secret('x'), call())).toBeUndefined();
    }),
  );

  it('a failed review is an error, and is not remembered', () =>
    bench(async ({ server, cluster }) => {
      const ask = () => cluster.identities.reviewPodToken(new Secret('canary'), call());
      server.next(status(503, 'ServiceUnavailable'), status(403, 'Forbidden'), review());
      await expect(ask()).rejects.toMatchObject({ code: 'CLUSTER_UNAVAILABLE' });
      await expect(ask()).rejects.toMatchObject({ code: 'CLUSTER_DENIED' });
      expect(await ask()).toBeDefined();
    }));
});

describe('topology', () => {
  const services = list([{ metadata: { name: 's', uid: 's-1', resourceVersion: '1' }, spec: { cidrs: ['10.96.0.0/16', 'fd00:96::/112'] } }], '1');
  const node = (podCIDRs?: readonly string[], address = '192.0.2.10') => ({
    metadata: { name: 'node-1', uid: 'n-1', resourceVersion: '1' },
    spec: { podCIDRs },
    status: {
      addresses: [
        { type: 'Hostname', address: 'node-1' },
        { type: 'InternalIP', address },
      ],
    },
  });
  const serve = (server: FakeServer, serviceCidrs: typeof services, nodes: typeof services): void =>
    server.otherwise((received, response) => (received.path.endsWith('servicecidrs') ? serviceCidrs : nodes)(received, response));

  it('ranges of Services, pods and nodes', () =>
    bench(async ({ server, cluster }) => {
      serve(server, services, list([node(['10.244.1.0/24']), node(['10.244.0.0/24', 'fd00:10::/64'], '2001:db8::1')], '1'));
      expect(await cluster.topology.ranges(call())).toEqual({
        pods: ['10.244.0.0/24', '10.244.1.0/24', 'fd00:10::/64'],
        services: ['10.96.0.0/16', 'fd00:96::/112'],
        nodes: ['192.0.2.10/32', '2001:db8::1/128'],
      });
    }));

  it.each([
    ['ServiceCIDR objects', text('404 page not found\n', 'text/plain', 404), list([node(['10.244.0.0/24'])], '1')],
    ['pod ranges of one node', services, list([node(['10.244.0.0/24']), node()], '1')],
    ['nodes', services, list([], '1')],
  ])('without %s they cannot be told', (_, serviceCidrs, nodes) =>
    bench(async ({ server, cluster }) => {
      serve(server, serviceCidrs, nodes);
      expect(await cluster.topology.ranges(call())).toBeUndefined();
    }),
  );
});

describe('Secrets', () => {
  it('a Secret of another owner is not taken over', () =>
    bench(async ({ server, cluster }) => {
      const theirs = { kind: 'PartialObjectMetadata', metadata: { name: 's', namespace: 'n', uid: 'u', resourceVersion: '1', labels: {} } };
      server.next(status(409, 'AlreadyExists'), json(theirs));
      const put = cluster.secrets.put({ namespace: 'n', name: 's', labels: {}, data: new Map([['k', new Secret('canary')]]) }, call());
      const error = await put.catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'FIELD_CONFLICT' });
      expect(inspect(error, { depth: 9 })).not.toContain('canary');
      expect(server.received.map(({ method }) => method)).toEqual(['POST', 'GET']);
    }));
});

describe('owner walk', () => {
  const still = (): number => 0;
  const replicaSet = { kind: 'ReplicaSet', name: 'rs', uid: 'rs-1', controller: true };

  it('asks once per ReplicaSet, whoever waits; what could not be asked is asked again', async () => {
    await using server = await startFakeServer();
    await using connection = kubernetes({ kubeconfig: server.kubeconfig() });
    await using walk = new OwnerWalk(connection, still);
    const { signal } = call();
    server.next(status(503, 'ServiceUnavailable'));
    expect(await walk.workloadUid('n', replicaSet, signal)).toEqual({ uid: undefined, settled: false });
    const ownerReferences = [{ kind: 'Deployment', name: 'd', uid: 'd-1', controller: true }];
    server.next(json({ kind: 'PartialObjectMetadata', metadata: { name: 'rs', uid: 'rs-1', resourceVersion: '1', ownerReferences } }));
    const answers = await Promise.all([walk.workloadUid('n', replicaSet, signal), walk.workloadUid('n', replicaSet, signal)]);
    expect(answers).toEqual([
      { uid: 'd-1', settled: true },
      { uid: 'd-1', settled: true },
    ]);
    expect(await walk.workloadUid('n', replicaSet, signal)).toEqual({ uid: 'd-1', settled: true });
    expect(server.received).toHaveLength(2);
  });

  it('bug: a ReplicaSet that one answer does not find may be there; twin: one that is missed for a while is gone for good', async () => {
    await using server = await startFakeServer();
    await using connection = kubernetes({ kubeconfig: server.kubeconfig() });
    let nowMs = 0;
    await using walk = new OwnerWalk(connection, () => nowMs);
    const { signal } = call();
    const ownerReferences = [{ kind: 'Deployment', name: 'd', uid: 'd-1', controller: true }];
    server.next(
      status(404, 'NotFound'),
      json({ kind: 'PartialObjectMetadata', metadata: { name: 'rs', uid: 'rs-1', resourceVersion: '1', ownerReferences } }),
    );
    expect(await walk.workloadUid('n', replicaSet, signal)).toEqual({ uid: undefined, settled: false });
    expect(await walk.workloadUid('n', replicaSet, signal)).toEqual({ uid: 'd-1', settled: true });
    const gone = { ...replicaSet, uid: 'rs-2' };
    server.next(...Array.from({ length: 3 }, () => status(404, 'NotFound')));
    for (const [atMs, settled] of [
      [0, false],
      [1_999, false],
      [2_000, true],
      [9_000, true],
    ] as const) {
      nowMs = atMs;
      expect(await walk.workloadUid('n', gone, signal)).toEqual({ uid: undefined, settled });
    }
    expect(server.received).toHaveLength(5);
  });

  it('a ReplicaSet that was replaced by one of its name tells nothing; a StatefulSet is itself', async () => {
    await using server = await startFakeServer();
    await using connection = kubernetes({ kubeconfig: server.kubeconfig() });
    await using walk = new OwnerWalk(connection, still);
    const { signal } = call();
    server.next(json({ kind: 'PartialObjectMetadata', metadata: { name: 'rs', uid: 'another', resourceVersion: '1' } }));
    expect(await walk.workloadUid('n', { ...replicaSet, uid: 'rs-2' }, signal)).toEqual({ uid: undefined, settled: true });
    expect(await walk.workloadUid('n', { ...replicaSet, kind: 'StatefulSet', uid: 's-1' }, signal)).toEqual({ uid: 's-1', settled: true });
    expect(await walk.workloadUid('n', undefined, signal)).toEqual({ uid: undefined, settled: true });
  });

  it('bug: an owner that a tenant made up hinders nobody: no name, no kind of ours, a uid of another namespace', async () => {
    await using server = await startFakeServer();
    await using connection = kubernetes({ kubeconfig: server.kubeconfig() });
    await using walk = new OwnerWalk(connection, still);
    const { signal } = call();
    expect(await walk.workloadUid('n', { ...replicaSet, name: 'a%b' }, signal)).toEqual({ uid: undefined, settled: true });
    expect(await walk.workloadUid('n', { ...replicaSet, kind: 'constructor' }, signal)).toEqual({ uid: 'rs-1', settled: true });
    expect(server.received).toEqual([]);
    const ownerReferences = [{ kind: 'Deployment', name: 'd', uid: 'd-1', controller: true }];
    server.next(
      json({ kind: 'PartialObjectMetadata', metadata: { name: 'rs', uid: 'rs-1', resourceVersion: '1', ownerReferences } }),
      status(404, 'NotFound'),
    );
    expect(await walk.workloadUid('n', replicaSet, signal)).toEqual({ uid: 'd-1', settled: true });
    expect(await walk.workloadUid('elsewhere', replicaSet, signal)).toEqual({ uid: undefined, settled: false });
  });
});

describe('pods', () => {
  it('a pod whose owner could not be read is told again once it can', () =>
    bench(async ({ server, cluster }) => {
      const owner = [{ kind: 'ReplicaSet', name: 'rs', uid: 'rs-1', controller: true }];
      const pod = { metadata: { name: 'p', namespace: 'n', uid: 'p-1', resourceVersion: '1', ownerReferences: owner } };
      const ownerReferences = [{ kind: 'Deployment', name: 'd', uid: 'd-1', controller: true }];
      let replicaSet = status(503, 'ServiceUnavailable');
      server.otherwise((received, response) => {
        if (received.path.includes('replicasets')) return replicaSet(received, response);
        return (received.query.get('watch') === 'true' ? events([]) : list([pod], '1'))(received, response);
      });
      await cluster.start(call());
      const hints = cluster.pods.watch(call())[Symbol.asyncIterator]();
      expect(await hints.next()).toMatchObject({
        value: { uid: 'p-1', pod: { name: 'p', workloadUid: undefined, unsettled: true, phase: 'Unknown' } },
      });
      replicaSet = json({ kind: 'PartialObjectMetadata', metadata: { name: 'rs', uid: 'rs-1', resourceVersion: '1', ownerReferences } });
      const settled = await hints.next();
      expect(settled).toMatchObject({ value: { pod: { workloadUid: 'd-1' } } });
      expect(settled.value?.pod).not.toHaveProperty('unsettled');
      await hints.return?.();
    }));

  it('has all addresses of a pod, and none before it has one', () =>
    bench(async ({ server, cluster }) => {
      const [four, six] = ['10.244.1.9', 'fd00:244::9'];
      const told = [{ podIP: four, podIPs: [{ ip: four }, { ip: six }] }, { podIP: four }, { podIPs: null }, { podIP: '', podIPs: [{}] }];
      const pods = told.map((of, at) => ({ metadata: { name: 'p', namespace: 'n', uid: `${at}`, resourceVersion: '1' }, status: of }));
      server.otherwise((received, response) => (received.query.get('watch') === 'true' ? events([]) : list(pods, '1'))(received, response));
      await cluster.start(call());
      const none = [undefined, undefined];
      expect((await cluster.pods.list(call())).map(({ ip, ips }) => [ip, ips])).toEqual([[four, [four, six]], [four, undefined], none, none]);
    }));

  it('bug: an owner that cannot be read holds up its own namespace only', () =>
    bench(async ({ server, cluster }) => {
      const ownedBy = (uid: string) => [{ kind: 'ReplicaSet', name: uid, uid, controller: true }];
      const podOf = (namespace: string) => ({
        metadata: { name: 'p', namespace, uid: `p-${namespace}`, resourceVersion: '1', ownerReferences: ownedBy(`rs-${namespace}`) },
      });
      const [hanging, asked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      server.otherwise(async (received, response) => {
        const [, namespace = ''] = /namespaces\/(\w+)\/replicasets/.exec(received.path) ?? [];
        if (namespace === 'hangs') {
          asked.resolve();
          await hanging.promise;
        }
        const ownerReferences = [{ kind: 'Deployment', name: 'd', uid: `d-${namespace}`, controller: true }];
        const replicaSet = json({
          kind: 'PartialObjectMetadata',
          metadata: { name: 'rs', uid: `rs-${namespace}`, resourceVersion: '1', ownerReferences },
        });
        const all = received.query.get('watch') === 'true' ? events([]) : list([podOf('hangs'), podOf('answers')], '1');
        return (namespace === '' ? all : replicaSet)(received, response);
      });
      await cluster.start(call());
      const hints = cluster.pods.watch(call())[Symbol.asyncIterator]();
      const first = hints.next();
      await asked.promise;
      expect(await first).toMatchObject({ value: { uid: 'p-answers', pod: { workloadUid: 'd-answers' } } });
      expect(await cluster.pods.list({ ...call(), namespace: 'answers' })).toMatchObject([{ workloadUid: 'd-answers' }]);
      expect(await cluster.pods.list(call())).toMatchObject([{ unsettled: true }, { workloadUid: 'd-answers' }]);
      hanging.resolve();
      expect(await hints.next()).toMatchObject({ value: { uid: 'p-hangs', pod: { workloadUid: 'd-hangs' } } });
      expect(await cluster.pods.list({ ...call(), namespace: 'hangs' })).toMatchObject([{ workloadUid: 'd-hangs' }]);
      await hints.return?.();
    }));

  it('start rejects with what hinders it; a reader ends with the cluster', () =>
    bench(async ({ server, cluster }) => {
      server.next(status(403, 'Forbidden', {}, 'pods is forbidden: User "x" cannot list resource "pods"'));
      server.otherwise((received, response) => (received.query.get('watch') === 'true' ? events([]) : list([], '1'))(received, response));
      await expect(cluster.start(call())).rejects.toMatchObject({ code: 'CLUSTER_DENIED' });
      await vi.waitFor(() => cluster.start(call()), { timeout: 10_000 });
      const ended = expect(cluster.pods.watch(call())[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
      await cluster[Symbol.asyncDispose]();
      await ended;
    }));
});
