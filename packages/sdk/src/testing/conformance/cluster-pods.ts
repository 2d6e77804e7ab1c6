import { getEventListeners } from 'node:events';
import { Secret } from '@bifrost/types/core';
import { expect, it, type TestContext, vi } from 'vitest';
import { LABELS, TOKEN_AUDIENCE } from '../../domain/names.ts';
import type { Pod } from '../../ports/cluster.ts';
import { bench, type ClusterAdmin, call, listedPod, needed, nextOf, type OpenCluster, patient } from './cluster-support.ts';

type Hint = { readonly uid: string; readonly pod: Pod | undefined };
type RunPods = NonNullable<ClusterAdmin['runPods']>;
type IssueToken = NonNullable<ClusterAdmin['issuePodToken']>;

export function describePods(open: OpenCluster): void {
  it('C24: a pod with our label is listed with the workload that owns it, by uid', (context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const runPods = needed(admin.runPods?.bind(admin), context);
      const sidecarId = crypto.randomUUID();
      const reference = await workload({ podLabels: { [LABELS.sidecarId]: sidecarId } });
      const [uid = ''] = await runPods(reference);
      const pod = await listedPod(cluster, uid);
      expect(pod).toMatchObject({ namespace: reference.namespace, workloadUid: reference.uid, deleting: false });
      expect(pod.labels[LABELS.sidecarId]).toBe(sidecarId);
      if (pod.ips !== undefined) expect(pod.ips[0]).toBe(pod.ip);
      expect(pod.form.containers.length).toBeGreaterThan(0);
      for (const container of pod.form.containers)
        expect(Object.keys(container).filter((member) => !['name', 'securityContext'].includes(member))).toEqual([]);
      expect(Math.abs(pod.createdAtMs - Date.now())).toBeLessThan(24 * 3_600_000);
    }));

  it('C25: a pod without our label is nobody we know', (context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const runPods = needed(admin.runPods?.bind(admin), context);
      const [plain = ''] = await runPods(await workload());
      const [ours = ''] = await runPods(await workload({ podLabels: { [LABELS.sidecarId]: crypto.randomUUID() } }));
      await listedPod(cluster, ours);
      expect((await cluster.pods.list(call())).map(({ uid }) => uid)).not.toContain(plain);
    }));

  it('C56: a list of one namespace has its pods and no others, and tells whose they are', (context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const runPods = needed(admin.runPods?.bind(admin), context);
      const podLabels = { [LABELS.sidecarId]: crypto.randomUUID() };
      const reference = await workload({ podLabels });
      const [ours = ''] = await runPods(reference);
      const [theirs = ''] = await runPods(await workload({ podLabels }));
      for (const uid of [ours, theirs]) await listedPod(cluster, uid);
      const listed = await cluster.pods.list({ ...call(), namespace: reference.namespace });
      expect(listed.map(({ uid, workloadUid }) => ({ uid, workloadUid }))).toEqual([{ uid: ours, workloadUid: reference.uid }]);
      expect(listed[0]).not.toHaveProperty('unsettled');
    }));

  it('C26: watch tells of present pods first, then of pods that come and go', (context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const runPods = needed(admin.runPods?.bind(admin), context);
      const podLabels = { [LABELS.sidecarId]: crypto.randomUUID() };
      const [early = ''] = await runPods(await workload({ podLabels }));
      await listedPod(cluster, early);
      const hints = cluster.pods.watch(call())[Symbol.asyncIterator]();
      await nextOf<Hint>(hints, (hint) => hint.uid === early && hint.pod !== undefined);
      const reference = await workload({ podLabels });
      const [late = ''] = await runPods(reference);
      await nextOf<Hint>(hints, (hint) => hint.uid === late && hint.pod?.workloadUid === reference.uid);
      await admin.deleteWorkload(reference);
      await nextOf<Hint>(hints, (hint) => hint.uid === late && (hint.pod === undefined || hint.pod.deleting));
      await hints.return?.();
    }));
}

export function describeIdentities(open: OpenCluster): void {
  it('C27: a token of a pod, with our audience, proves that pod', (context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const { runPods, issueToken } = tokens(admin, context);
      const reference = await workload({ podLabels: { [LABELS.sidecarId]: crypto.randomUUID() } });
      const [uid = ''] = await runPods(reference);
      const pod = await listedPod(cluster, uid);
      const token = await issueToken(uid, TOKEN_AUDIENCE);
      const identity = await vi.waitFor(async () => {
        const reviewed = await cluster.identities.reviewPodToken(token, call());
        expect(reviewed).toBeDefined();
        return reviewed;
      }, patient);
      expect(identity).toMatchObject({ namespace: reference.namespace, podName: pod.name, podUid: uid });
      expect(identity?.serviceAccount).not.toBe('');
    }));

  it('C28: a token with another audience proves nothing', (context) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const { runPods, issueToken } = tokens(admin, context);
      const [uid = ''] = await runPods(await workload({ podLabels: { [LABELS.sidecarId]: crypto.randomUUID() } }));
      const token = await issueToken(uid, 'https://other.example');
      expect(await cluster.identities.reviewPodToken(token, call())).toBeUndefined();
    }));

  it('C29: what no cluster issued proves nothing', () =>
    bench(open, async ({ cluster }) => {
      for (const text of ['', 'x', 'a.b.c', 'Ünïcode', 'eyJhbGciOiJub25lIn0.e30.', 'x'.repeat(10_000)]) {
        expect(await cluster.identities.reviewPodToken(new Secret(text), call())).toBeUndefined();
      }
    }));
}

export function describeAbort(open: OpenCluster): void {
  it('C30: an aborted watch of pods ends with the reason itself and leaves no listener', () =>
    bench(open, async ({ cluster }) => {
      const controller = new AbortController();
      const reason = new Error('reader left');
      const hints = cluster.pods.watch(controller)[Symbol.asyncIterator]();
      const drained = (async () => {
        while ((await hints.next()).done !== true);
      })();
      controller.abort(reason);
      await expect(drained).rejects.toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }));
}

function tokens(admin: ClusterAdmin, context: TestContext): { runPods: RunPods; issueToken: IssueToken } {
  return { runPods: needed(admin.runPods?.bind(admin), context), issueToken: needed(admin.issuePodToken?.bind(admin), context) };
}
