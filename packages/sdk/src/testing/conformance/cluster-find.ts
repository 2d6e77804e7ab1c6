import { expect, it, vi } from 'vitest';
import { LABELS } from '../../domain/names.ts';
import { bench, call, found, fresh, type OpenCluster, present, refusedBook } from './cluster-support.ts';

export function describeFind(open: OpenCluster): void {
  it('C1: finds a workload by its label, its uid, and namespace/name', () =>
    bench(open, async ({ cluster, workload }) => {
      const id = fresh('id');
      const reference = await workload({ labels: { [LABELS.bookDeploymentId]: id } });
      const byLabel = await found(cluster, id);
      expect(byLabel).toMatchObject({ reference, replicas: 0, labels: { [LABELS.bookDeploymentId]: id } });
      expect(byLabel.template.spec.containers.map(({ name }) => name)).toEqual(['book']);
      expect((await found(cluster, reference.uid)).reference).toEqual(reference);
      expect((await found(cluster, `${reference.namespace}/${reference.name}`)).reference).toEqual(reference);
    }));

  it.each(['StatefulSet', 'DaemonSet'] as const)('C2: finds a %s as well', (kind) =>
    bench(open, async ({ cluster, workload }) => {
      const reference = await workload({ kind });
      expect(reference.kind).toBe(kind);
      expect((await found(cluster, reference.uid)).reference).toEqual(reference);
      expect((await found(cluster, `${reference.namespace}/${reference.name}`)).reference).toEqual(reference);
    }),
  );

  it('C3: a label comes before a uid', () =>
    bench(open, async ({ cluster, workload }) => {
      const other = await workload();
      const labelled = await workload({ labels: { [LABELS.bookDeploymentId]: other.uid } });
      await found(cluster, labelled.uid);
      await vi.waitFor(async () => expect((await cluster.workloads.find(other.uid, call())).reference).toEqual(labelled), { timeout: 10_000 });
    }));

  it('C4: what nobody has is WORKLOAD_NOT_FOUND, however it is written', () =>
    bench(open, async ({ cluster, workload }) => {
      const id = fresh('id');
      const { namespace } = await workload({ labels: { [LABELS.bookDeploymentId]: id } });
      await found(cluster, id);
      const absent = [fresh('id'), crypto.randomUUID(), `${namespace}/absent`, `${fresh('absent')}/book`, ''];
      const hostile = [
        `x,${LABELS.bookDeploymentId}=${id}`,
        `${id},`,
        `${id} `,
        `../${namespace}`,
        `${namespace}/../x`,
        '*',
        '"',
        'ü',
        'a'.repeat(300),
      ];
      for (const bookDeploymentId of [...absent, ...hostile]) {
        await expect(cluster.workloads.find(bookDeploymentId, call()), JSON.stringify(bookDeploymentId)).rejects.toMatchObject(
          refusedBook('WORKLOAD_NOT_FOUND'),
        );
      }
    }));
}

export function describeAmbiguous(open: OpenCluster): void {
  it('C5: two workloads with one label are WORKLOAD_AMBIGUOUS, in two namespaces too', () =>
    bench(open, async ({ cluster, workload, namespace }) => {
      const labels = { [LABELS.bookDeploymentId]: fresh('id') };
      const first = await workload({ labels });
      const second = await workload({ labels, namespace: await namespace({ customerId: 'other-corp' }) });
      await vi.waitFor(
        () => expect(cluster.workloads.find(labels[LABELS.bookDeploymentId] ?? '', call())).rejects.toMatchObject(refusedBook('WORKLOAD_AMBIGUOUS')),
        { timeout: 10_000 },
      );
      expect((await found(cluster, first.uid)).reference).toEqual(first);
      expect((await found(cluster, second.uid)).reference).toEqual(second);
    }));

  it('C6: a Deployment and a StatefulSet of one namespace/name are WORKLOAD_AMBIGUOUS', () =>
    bench(open, async ({ cluster, workload }) => {
      const { namespace, name } = await workload();
      await workload({ kind: 'StatefulSet', namespace, name });
      await vi.waitFor(
        () => expect(cluster.workloads.find(`${namespace}/${name}`, call())).rejects.toMatchObject(refusedBook('WORKLOAD_AMBIGUOUS')),
        {
          timeout: 10_000,
        },
      );
    }));
}

export function describeOwn(open: OpenCluster): void {
  it('C55: with a customer, others’ workloads do not count, whatever label, uid or name they bear', () =>
    bench(open, async ({ cluster, workload, namespace }) => {
      const labels = { [LABELS.bookDeploymentId]: fresh('id') };
      const own = await workload({ labels });
      const elsewhere = await namespace({ customerId: 'other-corp' });
      const stranger = await workload({ labels, namespace: elsewhere });
      const posing = await workload({ labels: { [LABELS.bookDeploymentId]: own.uid }, namespace: elsewhere });
      const find = async (id: string, customerId: string): Promise<unknown> =>
        (await cluster.workloads.find(id, { ...call(), customerId })).reference;
      const id = labels[LABELS.bookDeploymentId] ?? '';
      await vi.waitFor(async () => expect(await find(own.uid, 'other-corp')).toEqual(posing), { timeout: 10_000 });
      expect(await find(id, 'acme-corp')).toEqual(own);
      expect(await find(id, 'other-corp')).toEqual(stranger);
      expect(await find(own.uid, 'acme-corp')).toEqual(own);
      expect([own, stranger]).toContainEqual(await find(id, 'third-corp'));
    }));
}

export function describeGet(open: OpenCluster): void {
  it('C7: the customer is the namespace’s, and undefined when the platform has not said', () =>
    bench(open, async ({ cluster, workload, namespace }) => {
      const owned = await workload({ namespace: await namespace({ customerId: 'acme-corp' }) });
      const free = await workload({ namespace: await namespace({}) });
      expect((await found(cluster, owned.uid)).customerId).toBe('acme-corp');
      expect((await found(cluster, free.uid)).customerId).toBeUndefined();
      expect((await present(cluster, owned)).customerId).toBe('acme-corp');
    }));

  it('C8: get reads the same workload, and nothing for a successor of its name', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const first = await workload();
      expect((await present(cluster, first)).reference).toEqual(first);
      await admin.deleteWorkload(first);
      expect(await cluster.workloads.get(first, call())).toBeUndefined();
      const second = await workload({ namespace: first.namespace, name: first.name });
      expect(second.uid).not.toBe(first.uid);
      expect(await cluster.workloads.get(first, call())).toBeUndefined();
      expect((await present(cluster, second)).reference).toEqual(second);
    }));

  it('C9: the version changes when somebody changes the workload', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      const before = await present(cluster, reference);
      await admin.changeWorkload(reference, { manager: 'suite-outside', annotations: { 'suite.example/note': 'changed' } });
      const after = await present(cluster, reference);
      expect(after.version).not.toBe(before.version);
      expect(after.template.metadata?.annotations).toMatchObject({ 'suite.example/note': 'changed' });
    }));
}
