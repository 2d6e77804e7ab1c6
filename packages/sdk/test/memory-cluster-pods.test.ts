import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it, vi } from 'vitest';
import { MemoryCluster } from '../src/adapters/memory/cluster.ts';
import { MemoryLogger } from '../src/adapters/memory/logger.ts';
import { idlePodRuntime, type PodRuntime, type RunningPod, type RuntimePod } from '../src/adapters/memory/pod-runtime.ts';
import { systemClock } from '../src/adapters/system/clock.ts';
import { LABELS, TOKEN_AUDIENCE } from '../src/domain/names.ts';
import { exampleFragment } from '../src/testing/conformance/store.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });

/** A runtime whose pods are ready only when the test says so, and which can be told to fail. */
class GatedRuntime implements PodRuntime {
  readonly started: RuntimePod[] = [];
  readonly alive = new Set<string>();
  readonly #ready = new Set<string>();
  readonly #listeners = new Set<() => void>();
  failures = 0;

  async startPod(pod: RuntimePod): Promise<RunningPod> {
    this.started.push(pod);
    if (this.failures > 0) {
      this.failures -= 1;
      throw new BifrostError({ code: 'CLUSTER_REJECTED', message: 'no such Secret yet' });
    }
    this.alive.add(pod.name);
    return {
      ip: '10.244.0.9',
      containers: () => [{ name: 'book', running: true, ready: this.#ready.has(pod.name), restarts: 0 }],
      onChange: (listener) => {
        this.#listeners.add(listener);
        return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
      },
      kill: () => {},
      [Symbol.asyncDispose]: async () => void this.alive.delete(pod.name),
    };
  }

  ready(...names: string[]): void {
    for (const name of names) this.#ready.add(name);
    for (const listener of [...this.#listeners]) listener();
  }
}

const settled = (cluster: MemoryCluster) => cluster.settled(call());
const image = (value: string) => (template: { spec: object }) =>
  ({ ...template, spec: { ...template.spec, containers: [{ name: 'book', image: value }] } }) as never;

describe('MemoryCluster: pods of a Deployment', () => {
  it('makes as many as wanted, and ends them with the workload', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book', replicas: 3 });
    await settled(cluster);
    const pods = cluster.podsOf(book);
    expect(new Set(pods.map(({ name }) => name)).size).toBe(3);
    for (const pod of pods) {
      expect(pod.name).toMatch(/^book-[a-z0-9]{10}-[a-z0-9]{5}$/);
      expect(pod).toMatchObject({ phase: 'Running', deleting: false, workloadUid: book.uid, ip: expect.stringMatching(/^10\.244\./) });
    }
    await cluster.scale(book, 1);
    await settled(cluster);
    expect(cluster.podsOf(book)).toHaveLength(1);
    await cluster.deleteWorkload(book);
    expect(cluster.podsOf(book)).toEqual([]);
  });

  it('shows both addresses of a pod that has two', async () => {
    const [ip, six] = ['10.244.0.9', 'fd00:244::9'];
    const idle = idlePodRuntime();
    const runtime: PodRuntime = { startPod: async (pod, options) => ({ ...(await idle.startPod(pod, options)), ip, ips: [ip, six] }) };
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book', replicas: 1 });
    await settled(cluster);
    expect(cluster.podsOf(book)).toMatchObject([{ ip, ips: [ip, six] }]);
  });

  it('rolls a changed template out: an old pod stops only when as many as wanted are ready without it', async () => {
    const runtime = new GatedRuntime();
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book', replicas: 2 });
    await vi.waitFor(() => expect(runtime.alive.size).toBe(2));
    const old = [...runtime.alive];
    runtime.ready(...old);
    await settled(cluster);

    await cluster.updateWorkload(book, image('book:2'));
    await vi.waitFor(() => expect(runtime.alive.size).toBe(3));
    expect([...runtime.alive]).toEqual(expect.arrayContaining(old));
    for (const left of [1, 0]) {
      runtime.ready(...runtime.alive);
      await vi.waitFor(() => expect(old.filter((name) => runtime.alive.has(name))).toHaveLength(left));
    }
    runtime.ready(...runtime.alive);
    await settled(cluster);
    expect(cluster.podsOf(book)).toHaveLength(2);
    expect(cluster.podsOf(book).some(({ name }) => old.includes(name))).toBe(false);
  });

  it('makes another pod for one that was deleted, and rolls an undone template back', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book' });
    await settled(cluster);
    const [first] = cluster.podsOf(book);
    await cluster.deletePod(first?.uid ?? '');
    await settled(cluster);
    expect(cluster.podsOf(book).map(({ uid }) => uid)).not.toContain(first?.uid);

    const before = await cluster.readWorkload(book);
    const fragment = exampleFragment(crypto.randomUUID());
    await cluster.workloads.attach({ workload: book, form: 'apply', fragment }, call());
    await settled(cluster);
    expect(await cluster.pods.list(call())).toHaveLength(1);
    await cluster.rolloutUndo(book);
    await settled(cluster);
    expect(await cluster.readWorkload(book)).toEqual(before);
    expect(await cluster.pods.list(call())).toEqual([]);
  });
});

describe('MemoryCluster: pods of a StatefulSet', () => {
  it('keeps their names, one at a time, the update from the highest', async () => {
    const runtime = new GatedRuntime();
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime });
    const book = await cluster.createWorkload({ kind: 'StatefulSet', namespace: 'default', name: 'book', replicas: 2 });
    await vi.waitFor(() => expect([...runtime.alive]).toEqual(['book-0']));
    runtime.ready('book-0', 'book-1');
    await settled(cluster);
    const uids = cluster.podsOf(book).map(({ uid }) => uid);
    await cluster.updateWorkload(book, image('book:2'));
    await settled(cluster);
    expect(runtime.started.map(({ name }) => name)).toEqual(['book-0', 'book-1', 'book-1', 'book-0']);
    const pods = cluster.podsOf(book);
    expect(pods.map(({ name }) => name).sort()).toEqual(['book-0', 'book-1']);
    for (const { uid } of pods) expect(uids).not.toContain(uid);
  });
});

describe('MemoryCluster: what a runtime is told', () => {
  it('tries again, with a growing pause, a pod that cannot start', async () => {
    const clock = new ManualClock();
    const logger = new MemoryLogger();
    const runtime = new GatedRuntime();
    runtime.failures = 2;
    await using cluster = new MemoryCluster({ clock, runtime, logger });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book' });
    expect(cluster.podsOf(book)).toMatchObject([{ phase: 'Pending', ip: undefined, containers: [{ name: 'book', running: false, ready: false }] }]);
    await clock.advance(100);
    expect(runtime.started).toHaveLength(2);
    await clock.advance(199);
    expect(runtime.started).toHaveLength(2);
    await clock.advance(1);
    await vi.waitFor(() => expect(runtime.alive.size).toBe(1));
    expect(logger.lines.map(({ message }) => message)).toEqual(['a pod cannot start yet', 'a pod cannot start yet']);
    expect(new Set(runtime.started.map(({ uid }) => uid)).size).toBe(1);
  });

  it('a pod that cannot start ends when it is no longer wanted, and leaves no sleeper', async () => {
    const clock = new ManualClock();
    const runtime = new GatedRuntime();
    runtime.failures = Number.POSITIVE_INFINITY;
    await using cluster = new MemoryCluster({ clock, runtime });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book' });
    await vi.waitFor(() => expect(clock.sleepers).toBe(1));
    await cluster.deleteWorkload(book);
    expect([cluster.podsOf(book), clock.sleepers]).toEqual([[], 0]);
  });

  it('reads Secrets of its namespace as they are now and hears of their changes', async () => {
    const runtime = new GatedRuntime();
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime });
    await cluster.createNamespace({ name: 'other' });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book' });
    await vi.waitFor(() => expect(runtime.alive.size).toBe(1));
    const [pod] = runtime.started;
    const heard: string[] = [];
    pod?.onSecretChange('key', () => heard.push(pod.readSecret('key')?.get('authkey')?.reveal() ?? 'gone'));
    await cluster.createSecret({ namespace: 'default', name: 'key', data: { authkey: 'one' } });
    await cluster.createSecret({ namespace: 'other', name: 'key', data: { authkey: 'foreign' } });
    await cluster.createSecret({ namespace: 'default', name: 'key', data: { authkey: 'two' } });
    expect(heard).toEqual(['one', 'two']);
    await cluster.deleteWorkload(book);
    await cluster.createSecret({ namespace: 'default', name: 'key', data: { authkey: 'three' } });
    expect(heard).toEqual(['one', 'two']);
  });

  it('a token is vouched for while its pod is there, for our audience only', async () => {
    const runtime = new GatedRuntime();
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book', serviceAccountName: 'books' });
    await vi.waitFor(() => expect(runtime.alive.size).toBe(1));
    const [pod] = runtime.started;
    if (pod === undefined) return expect.unreachable();
    const identity = { namespace: 'default', serviceAccount: 'books', podName: pod.name, podUid: pod.uid };
    expect(await cluster.identities.reviewPodToken(pod.serviceAccountToken, call())).toEqual(identity);
    const later = await cluster.issuePodToken(pod.uid, TOKEN_AUDIENCE);
    await cluster.deleteWorkload(book);
    expect(await cluster.identities.reviewPodToken(pod.serviceAccountToken, call())).toBeUndefined();
    expect(await cluster.identities.reviewPodToken(later, call())).toBeUndefined();
    expect(await cluster.identities.reviewPodToken(await cluster.issuePodToken(pod.uid, TOKEN_AUDIENCE), call())).toBeUndefined();
  });
});

describe('MemoryCluster: the outside hand', () => {
  it('a killed container counts a restart, and the watch tells', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime: idlePodRuntime() });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book', podLabels: { [LABELS.sidecarId]: 's' } });
    await settled(cluster);
    const [pod] = cluster.podsOf(book);
    const hints = cluster.pods.watch(call())[Symbol.asyncIterator]();
    await hints.next();
    const next = hints.next();
    cluster.killContainer(pod?.uid ?? '', 'book');
    expect((await next).value).toMatchObject({ uid: pod?.uid, pod: { containers: [{ name: 'book', running: true, restarts: 1 }] } });
  });

  it('pods that pod security forbids are not made; twin: the level gone, they are', async () => {
    const logger = new MemoryLogger();
    await using cluster = new MemoryCluster({ clock: systemClock(), logger });
    await cluster.createNamespace({ name: 'strict', enforce: 'restricted' });
    const book = await cluster.createWorkload({ namespace: 'strict', name: 'book' });
    await settled(cluster);
    expect(cluster.podsOf(book)).toEqual([]);
    expect(logger.lines).toMatchObject([{ level: 'warn', fields: { workload: 'book' } }]);
    await cluster.createNamespace({ name: 'strict' });
    await cluster.scale(book, 1);
    await settled(cluster);
    expect(cluster.podsOf(book)).toHaveLength(1);
  });

  it('a book that is forbidden by itself is not the sidecar’s fault: CLUSTER_REJECTED', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    await cluster.createNamespace({ name: 'strict', enforce: 'restricted' });
    const book = await cluster.createWorkload({ namespace: 'strict', name: 'book', replicas: 0 });
    const workload = await cluster.workloads.find(book.uid, call());
    const harmless = { labels: {}, annotations: {}, initContainers: [], volumes: [] };
    await expect(cluster.workloads.admit(workload, harmless, call())).rejects.toMatchObject({ code: 'CLUSTER_REJECTED' });
  });

  it('failNext fails exactly the next call of the port', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    cluster.failNext('CLUSTER_UNAVAILABLE');
    await expect(cluster.secrets.list(call())).rejects.toMatchObject({ code: 'CLUSTER_UNAVAILABLE', retry: 'backoff' });
    expect(await cluster.secrets.list(call())).toEqual([]);
  });

  it('settled rejects with the reason itself; disposing twice ends all pods and watches', async () => {
    const runtime = new GatedRuntime();
    const cluster = new MemoryCluster({ clock: systemClock(), runtime });
    await cluster.createWorkload({ namespace: 'default', name: 'book', replicas: 2 });
    const controller = new AbortController();
    const reason = new Error('enough');
    const waiting = cluster.settled(controller);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    const watch = cluster.pods.watch(call())[Symbol.asyncIterator]();
    await cluster[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
    expect(runtime.alive.size).toBe(0);
    expect((await watch.next()).done).toBe(true);
  });

  it('a field that another manager took stays when we detach', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const workload = await cluster.createWorkload({ namespace: 'default', name: 'book', replicas: 0 });
    const change = { workload, form: 'apply', fragment: exampleFragment(crypto.randomUUID()) } as const;
    await cluster.workloads.attach(change, call());
    await cluster.changeWorkload(workload, { manager: 'rival', initContainers: [{ name: 'tailscale', image: 'rival:1' }] });
    await expect(cluster.workloads.attach(change, call())).rejects.toMatchObject({ code: 'FIELD_CONFLICT', details: { manager: 'rival' } });
    await cluster.workloads.detach(change, call());
    expect((await cluster.readWorkload(workload)).spec.initContainers).toEqual([{ name: 'tailscale', image: 'rival:1' }]);
  });

  it('detach of another attachment’s fragment leaves what is carried', async () => {
    await using cluster = new MemoryCluster({ clock: systemClock() });
    const workload = await cluster.createWorkload({ namespace: 'default', name: 'book', replicas: 0 });
    await cluster.workloads.attach({ workload, form: 'apply', fragment: exampleFragment(crypto.randomUUID()) }, call());
    const carried = await cluster.readWorkload(workload);
    await cluster.workloads.detach({ workload, form: 'apply', fragment: exampleFragment(crypto.randomUUID()) }, call());
    expect(await cluster.readWorkload(workload)).toEqual(carried);
  });
});
