import type { SimulatedControl } from '@bifrost/sdk/testing';
import { type Admin, type KubeObject, MERGE } from './admin.ts';
import { SimulatedAgent } from './agent.ts';

const NODE = 'node-1';

export interface NodeOptions {
  readonly admin: Admin;
  readonly control: SimulatedControl;
  /** Sends one report to the manager that runs now; rejects when there is none. */
  readonly report: (token: string, document: unknown) => Promise<number>;
}

/** Kubelet and scheduler of a cluster with one node: binds pods, says that they run, ends those that are deleted, and is the agent in each. */
export class SimulatedNode {
  readonly agents = new Map<string, SimulatedAgent>();
  readonly #options: NodeOptions;
  readonly #seen = new Map<string, 'bound' | 'running' | 'ended'>();
  #addresses = 1;

  constructor(options: NodeOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { admin } = this.#options;
    await admin.must('POST', '/api/v1/nodes', { metadata: { name: NODE }, spec: { podCIDR: '10.244.0.0/24', podCIDRs: ['10.244.0.0/24'] } });
    const addresses = [{ type: 'InternalIP', address: '10.250.0.1' }];
    await admin.must('PATCH', `/api/v1/nodes/${NODE}/status`, { status: { addresses } }, MERGE);
    void admin.follow('/api/v1/pods', (type, pod) => {
      this.#look(type, pod).catch(() => {
        this.#seen.delete(pod.metadata.uid); // it changed meanwhile: its next event comes
      });
    });
  }

  stop(): void {
    for (const agent of this.agents.values()) agent.stop();
  }

  async #look(type: string, pod: KubeObject): Promise<void> {
    const { uid, namespace = '', name, deletionTimestamp } = pod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    if (type === 'DELETED') return this.#end(uid);
    if (deletionTimestamp !== undefined) return this.#remove(pod, path);
    const seen = this.#seen.get(uid);
    if (seen === undefined && pod['spec'].nodeName === undefined) {
      this.#seen.set(uid, 'bound');
      const target = { apiVersion: 'v1', kind: 'Node', name: NODE };
      await this.#options.admin.must('POST', `${path}/binding`, { apiVersion: 'v1', kind: 'Binding', metadata: { name }, target });
    } else if (pod['spec'].nodeName !== undefined && seen !== 'running' && seen !== 'ended') {
      this.#seen.set(uid, 'running');
      await this.#run(pod, path);
    }
  }

  async #run(pod: KubeObject, path: string): Promise<void> {
    const { admin, control, report } = this.#options;
    const isSidecar = pod.metadata.labels?.['bifrost.dev/sidecar-id'] !== undefined;
    if (isSidecar) {
      const agent = new SimulatedAgent({ pod, admin, control, report });
      this.agents.set(pod.metadata.uid, agent);
      await agent.joined(); // the start-up probe of the sidecar: the book starts after it
    }
    if (this.#seen.get(pod.metadata.uid) !== 'running') return;
    const address = `10.244.0.${(this.#addresses++ % 250) + 2}`;
    const ready = ['Initialized', 'ContainersReady', 'Ready'].map((type) => ({ type, status: 'True' }));
    const state = { running: { startedAt: new Date().toISOString() } };
    const statusOf = (container: { name: string; image: string; restartPolicy?: string }) => ({
      ...{ name: container.name, image: container.image, imageID: '', restartCount: 0, ready: true },
      state: container.restartPolicy === 'Always' || container.restartPolicy === undefined ? state : { terminated: { exitCode: 0 } },
    });
    const status = {
      ...{ phase: 'Running', conditions: ready, podIP: address, podIPs: [{ ip: address }], hostIP: '10.250.0.1' },
      initContainerStatuses: (pod['spec'].initContainers ?? []).map(statusOf),
      containerStatuses: pod['spec'].containers.map(statusOf),
    };
    await admin.must('PATCH', `${path}/status`, { status }, MERGE);
  }

  /** What the containers of the pods of Jobs do comes to its end: their sidecars are stopped after it, and take no leave. */
  async endJobs(namespace: string): Promise<void> {
    const { admin } = this.#options;
    const path = `/api/v1/namespaces/${namespace}/pods`;
    for (const { metadata, spec, status } of await admin.list(path)) {
      if (spec.restartPolicy !== 'Never' || status.phase !== 'Running') continue;
      this.#end(metadata.uid);
      this.#seen.set(metadata.uid, 'ended');
      const ended = (container: object) => ({ ...container, ready: false, state: { terminated: { exitCode: 0, reason: 'Completed' } } });
      const { initContainerStatuses, containerStatuses } = status;
      const statuses = { initContainerStatuses: initContainerStatuses.map(ended), containerStatuses: containerStatuses.map(ended) };
      await admin.must('PATCH', `${path}/${metadata.name}/status`, { status: { phase: 'Succeeded', ...statuses } }, MERGE);
    }
  }

  async #remove({ metadata: { uid } }: KubeObject, path: string): Promise<void> {
    if (this.#seen.get(uid) === 'ended') return;
    this.#end(uid);
    this.#seen.set(uid, 'ended');
    await this.#options.admin.call('DELETE', path, { gracePeriodSeconds: 0, preconditions: { uid } });
  }

  #end(uid: string): void {
    this.#seen.delete(uid);
    this.agents.get(uid)?.stop();
    this.agents.delete(uid);
  }
}
