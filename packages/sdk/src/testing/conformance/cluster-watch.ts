import { getEventListeners } from 'node:events';
import { WORKLOAD_KINDS } from '@bifrost/types/core';
import { expect, it } from 'vitest';
import type { WorkloadHint } from '../../ports/cluster.ts';
import { bench, call, change, nextOf, type OpenCluster, ownInitContainer } from './cluster-support.ts';

type Hints = AsyncIterator<WorkloadHint>;
const hintOf = (hints: Hints, uid: string, matches: (hint: WorkloadHint) => boolean): Promise<WorkloadHint> =>
  nextOf(hints, (hint) => hint.workload.uid === uid && matches(hint));

export function describeWorkloadWatch(open: OpenCluster): void {
  it.each(WORKLOAD_KINDS)('C41: watch tells of a %s that is there, that comes, changes and goes', (kind) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const early = await workload({ kind, annotations: { 'bifrost.dev/tailnet': 'acme', 'suite.example/note': 'theirs' } });
      const hints = cluster.workloads.watch(call())[Symbol.asyncIterator]();
      const first = await hintOf(hints, early.uid, () => true);
      expect(first).toMatchObject({ workload: early, annotations: { 'bifrost.dev/tailnet': 'acme' }, finished: false, gone: false });
      const late = await workload({ kind });
      const came = await hintOf(hints, late.uid, () => true);
      expect(came).toMatchObject({ workload: late, annotations: {} });
      await admin.annotateWorkload(late, { 'bifrost.dev/tailnet': 'other' });
      await hintOf(hints, late.uid, ({ annotations }) => annotations['bifrost.dev/tailnet'] === 'other');
      await admin.deleteWorkload(late);
      expect(await hintOf(hints, late.uid, ({ gone }) => gone)).toMatchObject({ workload: late, gone: true });
      await hints.return?.();
    }),
  );

  it('C42: the generation counts changes of the template, by whomever', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      const hints = cluster.workloads.watch(call())[Symbol.asyncIterator]();
      const { generation } = await hintOf(hints, reference.uid, () => true);
      await admin.changeWorkload(reference, { manager: 'suite-outside', initContainers: [ownInitContainer('own')] });
      await hintOf(hints, reference.uid, (hint) => hint.generation > generation);
      // And the version is the one that reads tell.
      const attached = await cluster.workloads.attach(change(reference, { form: 'prepend' }), call());
      await hintOf(hints, reference.uid, ({ version }) => BigInt(version) >= BigInt(attached.version));
      await hints.return?.();
    }));

  it('C43: the end of a Job is told', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const job = await workload({ kind: 'Job' });
      const hints = cluster.workloads.watch(call())[Symbol.asyncIterator]();
      await hintOf(hints, job.uid, ({ finished }) => !finished);
      await admin.finishJob(job);
      await hintOf(hints, job.uid, ({ finished }) => finished);
      await hints.return?.();
    }));

  it('C44: an aborted watch of workloads ends with the reason itself and leaves no listener', () =>
    bench(open, async ({ cluster }) => {
      const controller = new AbortController();
      const reason = new Error('reader left');
      const hints = cluster.workloads.watch(controller)[Symbol.asyncIterator]();
      const drained = (async () => {
        while ((await hints.next()).done !== true);
      })();
      controller.abort(reason);
      await expect(drained).rejects.toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }));
}
