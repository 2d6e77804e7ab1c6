import { WORKLOAD_KINDS, type WorkloadKind } from '@bifrost/types/core';
import { expect, it, vi } from 'vitest';
import { LABELS } from '../../domain/names.ts';
import { bench, call, fresh, listedPod, needed, type OpenCluster, patient, present, refusedBook } from './cluster-support.ts';

const INJECTED = ['Job', 'CronJob'] as const satisfies readonly WorkloadKind[];

export function describeKinds(open: OpenCluster): void {
  it.each(INJECTED)('C34: a %s gets its sidecar before it is created, so find refuses it with WORKLOAD_UNSUPPORTED, however it is named', (kind) =>
    bench(open, async ({ cluster, workload }) => {
      const id = fresh('id');
      const { uid, namespace, name } = await workload({ kind, labels: { [LABELS.bookDeploymentId]: id } });
      for (const bookDeploymentId of [id, uid, `${namespace}/${name}`]) {
        const refusal = { ...refusedBook('WORKLOAD_UNSUPPORTED'), details: { kind, customerId: 'acme-corp' } };
        await vi.waitFor(() => expect(cluster.workloads.find(bookDeploymentId, call())).rejects.toMatchObject(refusal), patient);
      }
    }),
  );

  it.each(INJECTED)('C57: the refusal of a %s says whose it is: the customer’s own comes first, and of nobody’s it says none', (kind) =>
    bench(open, async ({ cluster, workload, namespace }) => {
      const labels = { [LABELS.bookDeploymentId]: fresh('id') };
      const stranger = await workload({ kind, labels, namespace: await namespace({ customerId: 'other-corp' }) });
      const own = await workload({ kind: kind === 'Job' ? 'CronJob' : 'Job', labels });
      const nobodys = await workload({ kind, namespace: await namespace({}) });
      const refused = (id: string, details: object, customerId?: string): Promise<void> =>
        vi.waitFor(async () => {
          const find = cluster.workloads.find(id, { ...call(), ...(customerId === undefined ? {} : { customerId }) });
          const error: unknown = await find.catch((reason: unknown) => reason);
          expect(error).toMatchObject(refusedBook('WORKLOAD_UNSUPPORTED'));
          expect(error).toHaveProperty('details', details);
        }, patient);
      const id = labels[LABELS.bookDeploymentId] ?? '';
      const [ofOwn, ofStranger] = [
        { kind: own.kind, customerId: 'acme-corp' },
        { kind, customerId: 'other-corp' },
      ];
      await refused(id, ofOwn, 'acme-corp');
      await refused(id, ofStranger, 'other-corp');
      await refused(own.uid, ofOwn, 'other-corp');
      await refused(`${stranger.namespace}/${stranger.name}`, ofStranger, 'acme-corp');
      await refused(nobodys.uid, { kind }, 'acme-corp');
      await workload({ labels, namespace: stranger.namespace });
      await refused(id, ofOwn, 'acme-corp');
      await refused(nobodys.uid, { kind });
    }),
  );

  it.each(WORKLOAD_KINDS)('C35: get reads a %s by its uid, and with an empty uid by its kind and name', (kind) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const annotations = { 'bifrost.dev/tailnet': 'acme', 'suite.example/note': 'theirs' };
      const reference = await workload({ kind, annotations });
      const read = await present(cluster, reference);
      expect(read).toMatchObject({ reference, customerId: 'acme-corp', replicas: 0, finished: false });
      expect(read.annotations).toEqual({ 'bifrost.dev/tailnet': 'acme' });
      expect(read.template).toEqual(await admin.readWorkload(reference));
      const named = await present(cluster, { ...reference, uid: '' });
      expect(named.reference).toEqual(reference);
      expect(named.template).toEqual(read.template);
      expect(await cluster.workloads.get({ ...reference, uid: '', name: fresh('absent') }, call())).toBeUndefined();
      const other = kind === 'Deployment' ? 'DaemonSet' : 'Deployment';
      expect(await cluster.workloads.get({ ...reference, uid: '', kind: other }, call())).toBeUndefined();
    }),
  );

  it('C36: a DaemonSet wants as many pods as nodes want one', (context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const runPods = needed(admin.runPods?.bind(admin), context);
      const reference = await workload({ kind: 'DaemonSet', podLabels: { [LABELS.sidecarId]: crypto.randomUUID() } });
      const [uid = ''] = await runPods(reference);
      await vi.waitFor(async () => expect((await present(cluster, reference)).replicas).toBeGreaterThan(0), patient);
      expect(await listedPod(cluster, uid)).toMatchObject({ workloadUid: reference.uid });
    }));

  it('C37: a Job that has come to its end is finished and wants no pods', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const job = await workload({ kind: 'Job' });
      expect(await present(cluster, job)).toMatchObject({ finished: false });
      await admin.finishJob(job);
      await vi.waitFor(async () => expect(await present(cluster, job)).toMatchObject({ finished: true, replicas: 0 }), patient);
    }));

  it.for(INJECTED)('C38: a pod of a %s belongs to it, by uid; of its annotations only ours are told', (kind, context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const runPods = needed(admin.runPods?.bind(admin), context);
      const podLabels = { [LABELS.sidecarId]: crypto.randomUUID() };
      const podAnnotations = { [LABELS.fragment]: 'f00d', 'suite.example/note': 'theirs' };
      const reference = await workload({ kind, podLabels, podAnnotations });
      const [uid = ''] = await runPods(reference);
      await vi.waitFor(async () => expect(await listedPod(cluster, uid)).toMatchObject({ workloadUid: reference.uid, labels: podLabels }), patient);
      expect((await listedPod(cluster, uid)).annotations).toEqual({ [LABELS.fragment]: 'f00d' });
    }),
  );

  it('C39: a namespace’s customer is told, and undefined where the platform has not said or there is none of that name', () =>
    bench(open, async ({ cluster, namespace }) => {
      expect(await cluster.workloads.customerOf(await namespace({ customerId: 'acme-corp' }), call())).toBe('acme-corp');
      expect(await cluster.workloads.customerOf(await namespace({}), call())).toBeUndefined();
      expect(await cluster.workloads.customerOf(fresh('absent'), call())).toBeUndefined();
    }));

  it('C40: NetworkPolicies of a namespace are told whole, and none of another’s', () =>
    bench(open, async ({ cluster, admin, namespace }) => {
      const [mine, other] = [await namespace(), await namespace()];
      const closed = { name: 'closed', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [] };
      const tier = { matchExpressions: [{ key: 'tier', operator: 'In', values: ['a', 'b'] }] };
      const open_ = {
        name: 'some',
        podSelector: { matchLabels: { app: 'book' }, ...tier },
        policyTypes: ['Ingress', 'Egress'],
        ingress: [{ from: [{ podSelector: tier }, { namespaceSelector: {} }], ports: [{ protocol: 'TCP', port: 'http' }] }],
        egress: [
          {
            to: [
              { ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } },
              { namespaceSelector: { matchLabels: { team: 'a' } }, podSelector: {} },
            ],
            ports: [{ protocol: 'UDP', port: 1_000, endPort: 2_000 }, { protocol: 'SCTP' }],
          },
          {},
        ],
      };
      await admin.setNetworkPolicies(mine, [closed, open_]);
      expect(await cluster.topology.networkPolicies(mine, call())).toMatchObject([closed, open_]);
      expect(await cluster.topology.networkPolicies(other, call())).toEqual([]);
      expect(await cluster.topology.networkPolicies(fresh('absent'), call())).toEqual([]);
    }));
}
