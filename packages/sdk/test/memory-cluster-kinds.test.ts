import { describe, expect, it, vi } from 'vitest';
import { MemoryCluster } from '../src/adapters/memory/cluster.ts';
import { nextRolloutStep } from '../src/adapters/memory/cluster-rollout.ts';
import { systemClock } from '../src/adapters/system/clock.ts';
import { LABELS } from '../src/domain/names.ts';
import type { Pod } from '../src/ports/cluster.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });
const settled = (cluster: MemoryCluster) => cluster.settled(call());
const podLabels = { [LABELS.sidecarId]: 's' };
const sidecar = { name: 'tailscale', image: 'tailscale', restartPolicy: 'Always' };
const image = (value: string) => (template: { spec: object }) =>
  ({ ...template, spec: { ...template.spec, containers: [{ name: 'book', image: value }] } }) as never;

describe('MemoryCluster: a DaemonSet', () => {
  it('has one pod on each node, follows nodes that come and go, and rolls an update out one node at a time', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock(), nodes: 3 });
    const book = await cluster.createWorkload({ kind: 'DaemonSet', namespace: 'default', name: 'book' });
    await settled(cluster);
    expect(cluster.podsOf(book)).toHaveLength(3);
    expect(await cluster.workloads.get(book, call())).toMatchObject({ replicas: 3, finished: false });
    await cluster.setNodes(2);
    await settled(cluster);
    const two = cluster.podsOf(book).map(({ uid }) => uid);
    expect(two).toHaveLength(2);
    await cluster.updateWorkload(book, image('book:2'));
    await settled(cluster);
    const after = cluster.podsOf(book).map(({ uid }) => uid);
    expect(after).toHaveLength(2);
    expect(after.filter((uid) => two.includes(uid))).toEqual([]);
    await cluster.rolloutUndo(book);
    expect((await cluster.readWorkload(book)).spec.containers[0]?.image).toBe('book');
    await expect(cluster.scale(book, 1)).rejects.toMatchObject({ code: 'CLUSTER_REJECTED' });
  });

  it('takes the next pod away only when all others are ready', () => {
    const goal = { kind: 'DaemonSet', replicas: 2, revision: 'new' } as const;
    const pod = (ordinal: number, parts: object = {}) => ({ uid: `${ordinal}`, revision: 'old', ready: true, deleting: false, ordinal, ...parts });
    expect(nextRolloutStep(goal, [pod(0), pod(1)])).toEqual({ kind: 'stop', uid: '0' });
    expect(nextRolloutStep(goal, [pod(0, { deleting: true }), pod(1)])).toEqual({ kind: 'wait' });
    expect(nextRolloutStep(goal, [pod(1)])).toEqual({ kind: 'start', ordinal: 0 });
    expect(nextRolloutStep(goal, [pod(0, { revision: 'new', ready: false }), pod(1)])).toEqual({ kind: 'wait' });
    expect(nextRolloutStep(goal, [pod(0, { revision: 'new' }), pod(1, { ready: false })])).toEqual({ kind: 'stop', uid: '1' });
    expect(nextRolloutStep(goal, [pod(0, { revision: 'new' }), pod(1, { revision: 'new' })])).toEqual({ kind: 'settled' });
  });
});

describe('MemoryCluster: a Job', () => {
  const states = ({ containers }: Pod) => containers.map(({ name, running }) => [name, running]);

  it('is complete when its container has ended with 0; its native sidecars end then, and its pod stays as Succeeded', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const job = await cluster.createWorkload({ kind: 'Job', namespace: 'default', name: 'import', podLabels, initContainers: [sidecar] });
    await settled(cluster);
    const [pod] = cluster.podsOf(job);
    expect(pod).toMatchObject({ phase: 'Running', workloadUid: job.uid });
    expect(pod && states(pod)).toEqual([
      ['tailscale', true],
      ['book', true],
    ]);
    cluster.endContainer(pod?.uid ?? '', 'book');
    await settled(cluster);
    await vi.waitFor(() => expect(cluster.podsOf(job)).toMatchObject([{ uid: pod?.uid, phase: 'Succeeded', deleting: false, ip: pod?.ip }]));
    expect(cluster.podsOf(job).map(states)).toEqual([
      [
        ['tailscale', false],
        ['book', false],
      ],
    ]);
    expect(await cluster.workloads.get(job, call())).toMatchObject({ finished: true, replicas: 0 });
    expect(await cluster.pods.list(call())).toMatchObject([{ phase: 'Succeeded' }]);
    await cluster.deleteWorkload(job);
    expect(cluster.podsOf(job)).toEqual([]);
  });

  it('makes another pod for one that failed, as often as its backoffLimit says, then fails', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const job = await cluster.createWorkload({ kind: 'Job', namespace: 'default', name: 'import', backoffLimit: 1 });
    await settled(cluster);
    cluster.endContainer(cluster.podsOf(job)[0]?.uid ?? '', 'book', 1);
    await settled(cluster);
    expect(cluster.podsOf(job).map(({ phase }) => phase)).toEqual(['Failed', 'Running']);
    expect(await cluster.workloads.get(job, call())).toMatchObject({ finished: false });
    cluster.killContainer(cluster.podsOf(job)[1]?.uid ?? '', 'book');
    await settled(cluster);
    await vi.waitFor(() => expect(cluster.podsOf(job).map(({ phase }) => phase)).toEqual(['Failed', 'Failed']));
    expect(await cluster.workloads.get(job, call())).toMatchObject({ finished: true });
  });

  it('waits for all that are to succeed', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const job = await cluster.createWorkload({ kind: 'Job', namespace: 'default', name: 'import', replicas: 2 });
    await settled(cluster);
    const [one, two] = cluster.podsOf(job);
    cluster.endContainer(one?.uid ?? '', 'book');
    await settled(cluster);
    expect(await cluster.workloads.get(job, call())).toMatchObject({ finished: false });
    cluster.endContainer(two?.uid ?? '', 'book');
    await settled(cluster);
    expect(await cluster.workloads.get(job, call())).toMatchObject({ finished: true });
  });

  it('of a Deployment a container that ends is started again, whatever its code', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book' });
    await settled(cluster);
    cluster.endContainer(cluster.podsOf(book)[0]?.uid ?? '', 'book');
    expect(cluster.podsOf(book)).toMatchObject([{ phase: 'Running', containers: [{ name: 'book', running: true, restarts: 1 }] }]);
  });
});

describe('MemoryCluster: a CronJob', () => {
  it('has no pods itself; those of its Jobs are its own by the owner walk, and all go with it', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const nightly = await cluster.createWorkload({ kind: 'CronJob', namespace: 'default', name: 'nightly', podLabels });
    await settled(cluster);
    expect(cluster.podsOf(nightly)).toEqual([]);
    const jobs = [await cluster.startJob(nightly), await cluster.startJob(nightly)];
    await settled(cluster);
    expect(new Set(jobs.map(({ name }) => name)).size).toBe(2);
    expect(await cluster.pods.list(call())).toMatchObject([{ workloadUid: nightly.uid }, { workloadUid: nightly.uid }]);
    expect(cluster.podsOf(jobs[0] ?? nightly)).toHaveLength(1);
    cluster.endContainer(cluster.podsOf(jobs[0] ?? nightly)[0]?.uid ?? '', 'book');
    await settled(cluster);
    expect(await cluster.workloads.get(jobs[0] ?? nightly, call())).toMatchObject({ finished: true });
    expect(await cluster.workloads.get(nightly, call())).toMatchObject({ finished: false, replicas: 0 });
    await cluster.deleteWorkload(nightly);
    expect(await cluster.workloads.get(jobs[1] ?? nightly, call())).toBeUndefined();
    expect(await cluster.pods.list(call())).toEqual([]);
  });
});
