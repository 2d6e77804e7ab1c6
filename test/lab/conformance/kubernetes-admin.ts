import type { ClusterAdmin, OutsideChange, WorkloadRequest } from '@bifrost/sdk/testing/conformance';
import { Secret, type WorkloadReference } from '@bifrost/types/core';
import { expect, vi } from 'vitest';
import type { AdminCall } from '../../support/api-server.ts';

interface Meta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly labels?: Readonly<Record<string, string>>;
}
interface Found {
  readonly metadata: Meta;
  readonly spec: { readonly template: Awaited<ReturnType<ClusterAdmin['readWorkload']>>; readonly nodeName?: string };
  readonly status?: { readonly token?: string };
}

export interface AdminOptions {
  readonly call: AdminCall;
  /** True where a controller-manager and a kubelet run; false on a bare API server, where this hand does what they would. */
  readonly controllers: boolean;
  /** Image of the container `book`; with controllers it must be one that the node has. */
  readonly image: string;
}

/** The outside hand of the Cluster suite on a real API server: plain requests as an admin, by other field managers than ours. */
export class KubernetesAdmin implements ClusterAdmin {
  readonly #options: AdminOptions;
  readonly #pods = new Map<string, Meta>();
  readonly deleteNamespace?: (name: string) => Promise<void>;

  constructor(options: AdminOptions) {
    this.#options = options;
    if (options.controllers) this.deleteNamespace = async (name) => void (await this.#call('DELETE', `/api/v1/namespaces/${name}`));
  }

  async createNamespace({ name, customerId, enforce }: Parameters<ClusterAdmin['createNamespace']>[0]): Promise<void> {
    const labels = {
      ...(customerId === undefined ? {} : { 'bifrost.dev/customer-id': customerId }),
      ...(enforce === undefined ? {} : { 'pod-security.kubernetes.io/enforce': enforce }),
    };
    await this.#call('POST', '/api/v1/namespaces', { metadata: { name, labels } });
    const accounts = `/api/v1/namespaces/${name}/serviceaccounts`;
    if (!this.#options.controllers) await this.#call('POST', accounts, { metadata: { name: 'default' } });
    await eventually(async () => (await this.#try('GET', `${accounts}/default`)) !== undefined);
  }

  async createWorkload(request: WorkloadRequest): Promise<WorkloadReference> {
    const { kind, namespace, name } = request;
    const { metadata } = await this.#call('POST', `${collectionOf(request)}?fieldManager=suite-owner`, workloadOf(request, this.#options.image));
    return { kind, namespace, name, uid: metadata.uid };
  }

  async readWorkload(workload: WorkloadReference): ReturnType<ClusterAdmin['readWorkload']> {
    return (await this.#call('GET', pathOf(workload))).spec.template;
  }

  async changeWorkload(workload: WorkloadReference, { manager, annotations, initContainers, volumes }: OutsideChange): Promise<void> {
    const { kind, namespace, name } = workload;
    const template = { metadata: { annotations }, spec: { initContainers, volumes } };
    const body = { apiVersion: 'apps/v1', kind, metadata: { namespace, name }, spec: { template } };
    await this.#call('PATCH', `${pathOf(workload)}?fieldManager=${manager}&force=true`, body, 'application/apply-patch+yaml');
  }

  async deleteWorkload(workload: WorkloadReference): Promise<void> {
    await this.#call('DELETE', `${pathOf(workload)}?propagationPolicy=Background`);
    await eventually(async () => (await this.#try('GET', pathOf(workload)))?.metadata.uid !== workload.uid);
    if (this.#options.controllers) return;
    for (const pod of this.#pods.values()) {
      if (pod.labels?.['suite'] !== workload.name) continue;
      await this.#call('DELETE', `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}?gracePeriodSeconds=0`);
    }
  }

  async createSecret({ namespace, name, data }: Parameters<ClusterAdmin['createSecret']>[0]): Promise<void> {
    await this.#call('POST', `/api/v1/namespaces/${namespace}/secrets`, { metadata: { name }, stringData: data });
  }

  async runPods(workload: WorkloadReference): Promise<readonly string[]> {
    if (this.#options.controllers) {
      await this.#call('PATCH', `${pathOf(workload)}?fieldManager=suite-scaler`, { spec: { replicas: 1 } }, 'application/merge-patch+json');
    } else await this.#createPod(workload);
    const path = `/api/v1/namespaces/${workload.namespace}/pods?labelSelector=suite%3D${workload.name}`;
    let found: readonly Found[] = [];
    await eventually(async () => {
      found = ((await this.#call('GET', path)) as unknown as { items: Found[] }).items.filter(({ spec }) => spec.nodeName !== undefined);
      return found.length > 0;
    });
    for (const { metadata } of found) this.#pods.set(metadata.uid, metadata);
    return found.map(({ metadata }) => metadata.uid);
  }

  async issuePodToken(podUid: string, audience: string): Promise<Secret> {
    const pod = this.#pods.get(podUid);
    const path = `/api/v1/namespaces/${pod?.namespace}/serviceaccounts/default/token`;
    const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: pod?.name, uid: podUid };
    const body = { spec: { audiences: [audience], boundObjectRef, expirationSeconds: 600 } };
    return new Secret((await this.#call('POST', path, body)).status?.token ?? '');
  }

  /** What Deployment controller, ReplicaSet controller and scheduler would do. */
  async #createPod(workload: WorkloadReference): Promise<void> {
    const { spec } = await this.#call('GET', pathOf(workload));
    const { namespace, name } = workload;
    const replicaSet = await this.#call('POST', `/apis/apps/v1/namespaces/${namespace}/replicasets`, {
      metadata: { name: `${name}-1`, ownerReferences: [ownedBy('apps/v1', workload.kind, workload)] },
      spec: { replicas: 0, selector: { matchLabels: { suite: name } }, template: spec.template },
    });
    const owner =
      workload.kind === 'Deployment' ? ownedBy('apps/v1', 'ReplicaSet', replicaSet.metadata) : ownedBy('apps/v1', workload.kind, workload);
    await this.#call('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name: `${name}-1-1`, labels: spec.template.metadata?.labels, ownerReferences: [owner] },
      spec: { ...spec.template.spec, serviceAccountName: 'default', nodeName: 'no-such-node' },
    });
  }

  async #call(method: string, path: string, body?: unknown, contentType?: string): Promise<Found> {
    const answer = await this.#options.call(method, path, body, contentType);
    if (answer.status > 299) throw new Error(`${method} ${path}: HTTP ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as Found;
  }

  async #try(method: string, path: string): Promise<Found | undefined> {
    const answer = await this.#options.call(method, path);
    return answer.status === 200 ? (answer.body as Found) : undefined;
  }
}

const collectionOf = ({ kind, namespace }: { readonly kind: string; readonly namespace: string }): string =>
  `/apis/apps/v1/namespaces/${namespace}/${kind.toLowerCase()}s`;
const pathOf = (workload: WorkloadReference): string => `${collectionOf(workload)}/${workload.name}`;

function workloadOf({ kind, name, labels, podLabels, initContainers, volumes }: WorkloadRequest, image: string): unknown {
  const matchLabels = { suite: name };
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, labels },
    spec: {
      replicas: 0,
      ...(kind === 'StatefulSet' ? { serviceName: name } : {}),
      selector: { matchLabels },
      template: {
        metadata: { labels: { ...podLabels, ...matchLabels } },
        spec: { initContainers, containers: [{ name: 'book', image, imagePullPolicy: 'IfNotPresent' }], volumes },
      },
    },
  };
}

function ownedBy(apiVersion: string, kind: string, { name, uid }: { readonly name: string; readonly uid: string }): unknown {
  return { apiVersion, kind, name, uid, controller: true };
}

const eventually = (holds: () => Promise<boolean>): Promise<void> =>
  vi.waitFor(async () => expect(await holds()).toBe(true), { timeout: 30_000, interval: 100 });
