import type { ClusterAdmin, OutsideChange, WorkloadRequest } from '@bifrost/sdk/testing/conformance';
import { Secret, type WorkloadReference } from '@bifrost/types/core';
import { expect, vi } from 'vitest';
import type { AdminCall } from '../../support/api-server.ts';

type Template = Awaited<ReturnType<ClusterAdmin['readWorkload']>>;
interface Meta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly labels?: Readonly<Record<string, string>>;
}
interface Found {
  readonly metadata: Meta;
  readonly spec: {
    readonly template: Template;
    readonly jobTemplate?: { readonly spec: { readonly template: Template } };
    readonly nodeName?: string;
  };
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

  async readWorkload(workload: WorkloadReference): Promise<Template> {
    const { spec } = await this.#call('GET', pathOf(workload));
    return spec.jobTemplate?.spec.template ?? spec.template;
  }

  async changeWorkload(workload: WorkloadReference, { manager, ...change }: OutsideChange): Promise<void> {
    const { kind, namespace, name } = workload;
    const { annotations, initContainers, volumes } = change;
    const template = { metadata: { annotations }, spec: { initContainers, volumes } };
    const body = { apiVersion: 'apps/v1', kind, metadata: { namespace, name }, spec: { template } };
    await this.#call('PATCH', `${pathOf(workload)}?fieldManager=${manager}&force=true`, body, 'application/apply-patch+yaml');
  }

  async updateWorkload(workload: WorkloadReference, manager: string, edit: (template: Template) => Template): Promise<void> {
    await eventually(async () => {
      const object = await this.#call('GET', pathOf(workload));
      const body = { ...object, spec: { ...object.spec, template: edit(object.spec.template) } };
      const { status, body: answer } = await this.#options.call('PUT', `${pathOf(workload)}?fieldManager=${manager}`, body);
      if (status !== 409 && status > 299) throw new Error(`PUT ${pathOf(workload)}: HTTP ${status} ${JSON.stringify(answer)}`);
      return status !== 409; // its controllers write as well
    });
  }

  async annotateWorkload(workload: WorkloadReference, annotations: Readonly<Record<string, string>>): Promise<void> {
    await this.#call('PATCH', `${pathOf(workload)}?fieldManager=suite-annotate`, { metadata: { annotations } }, 'application/merge-patch+json');
  }

  async finishJob(job: WorkloadReference): Promise<void> {
    const patch = 'application/merge-patch+json';
    if (this.#options.controllers) {
      await this.#call('PATCH', pathOf(job), { spec: { suspend: false, activeDeadlineSeconds: 1 } }, patch);
      return;
    }
    const now = new Date().toISOString().replace(/\.\d+/, '');
    const is = (type: string) => ({ type, status: 'True', reason: 'Suite', message: '', lastProbeTime: now, lastTransitionTime: now });
    const status = { startTime: now, failed: 1, conditions: [is('FailureTarget'), is('Failed')] };
    await this.#call('PATCH', `${pathOf(job)}/status`, { status }, patch);
  }

  async setNetworkPolicies(namespace: string, policies: Parameters<ClusterAdmin['setNetworkPolicies']>[1]): Promise<void> {
    for (const { name, ...spec } of policies) {
      await this.#call('POST', `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`, { metadata: { name }, spec });
    }
  }

  async changeNetworkPolicy(
    { namespace, name }: Parameters<ClusterAdmin['changeNetworkPolicy']>[0],
    shape: Parameters<ClusterAdmin['changeNetworkPolicy']>[1],
  ): Promise<void> {
    const path = `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies/${name}`;
    if (shape === undefined) return void (await this.#call('DELETE', path));
    const { name: _, ...spec } = shape;
    await this.#call('PATCH', `${path}?fieldManager=kubectl-replace`, [{ op: 'replace', path: '/spec', value: spec }], 'application/json-patch+json');
  }

  async createService({ namespace, name, selector, ports }: Parameters<ClusterAdmin['createService']>[0]): Promise<void> {
    const named = ports.map(({ protocol, port, targetPort }) => ({
      name: `${protocol}-${port}`,
      protocol: protocol.toUpperCase(),
      port,
      targetPort,
    }));
    await this.#call('POST', `/api/v1/namespaces/${namespace}/services`, { metadata: { name }, spec: { selector, ports: named } });
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
    const owner = workload.kind === 'CronJob' ? await this.#createJob(workload) : workload;
    if (this.#options.controllers) await this.#start(owner);
    else await this.#createPod(owner);
    const path = `/api/v1/namespaces/${workload.namespace}/pods?labelSelector=suite%3D${workload.name}`;
    let found: readonly Found[] = [];
    await eventually(async () => {
      found = ((await this.#call('GET', path)) as unknown as { items: Found[] }).items.filter(({ spec }) => spec.nodeName !== undefined);
      return found.length > 0;
    });
    for (const { metadata } of found) this.#pods.set(metadata.uid, metadata);
    return found.map(({ metadata }) => metadata.uid);
  }

  /** One pod of it, by its controllers. */
  async #start(workload: WorkloadReference): Promise<void> {
    const wanted = {
      Deployment: { replicas: 1 },
      StatefulSet: { replicas: 1 },
      DaemonSet: { template: { spec: { nodeSelector: null } } },
      Job: { suspend: false },
      CronJob: {},
    }[workload.kind];
    await this.#call('PATCH', `${pathOf(workload)}?fieldManager=suite-scaler`, { spec: wanted }, 'application/merge-patch+json');
  }

  /** As `kubectl create job --from` does. */
  async #createJob(cronJob: WorkloadReference): Promise<WorkloadReference> {
    const { spec } = await this.#call('GET', pathOf(cronJob));
    const { namespace, name } = cronJob;
    const job = { kind: 'Job', namespace, name: `${name}-1`, uid: '' } as const;
    const metadata = { name: job.name, ownerReferences: [ownedBy('batch/v1', 'CronJob', cronJob)] };
    const made = await this.#call('POST', collectionOf(job), { metadata, spec: { ...spec.jobTemplate?.spec, suspend: true } });
    return { ...job, uid: made.metadata.uid };
  }

  async issuePodToken(podUid: string, audience: string): Promise<Secret> {
    const pod = this.#pods.get(podUid);
    const path = `/api/v1/namespaces/${pod?.namespace}/serviceaccounts/default/token`;
    const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: pod?.name, uid: podUid };
    const body = { spec: { audiences: [audience], boundObjectRef, expirationSeconds: 600 } };
    return new Secret((await this.#call('POST', path, body)).status?.token ?? '');
  }

  /** What the workload's controller, the ReplicaSet controller and the scheduler would do. */
  async #createPod(workload: WorkloadReference): Promise<void> {
    const { spec } = await this.#call('GET', pathOf(workload));
    const { namespace, name, kind } = workload;
    if (kind === 'DaemonSet')
      await this.#call('PATCH', `${pathOf(workload)}/status`, { status: { desiredNumberScheduled: 1 } }, 'application/merge-patch+json');
    const labels = spec.template.metadata?.labels;
    const owner = kind === 'Deployment' ? await this.#createReplicaSet(workload, spec.template) : ownedBy(apiVersionOf(kind), kind, workload);
    await this.#call('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name: `${name}-1-1`, labels, annotations: spec.template.metadata?.annotations, ownerReferences: [owner] },
      spec: { ...spec.template.spec, serviceAccountName: 'default', nodeName: 'no-such-node' },
    });
  }

  async #createReplicaSet(workload: WorkloadReference, template: Template): Promise<unknown> {
    const { namespace, name, kind } = workload;
    const replicaSet = await this.#call('POST', `/apis/apps/v1/namespaces/${namespace}/replicasets`, {
      metadata: { name: `${name}-1`, ownerReferences: [ownedBy('apps/v1', kind, workload)] },
      spec: { replicas: 0, selector: { matchLabels: { suite: name } }, template },
    });
    return ownedBy('apps/v1', 'ReplicaSet', replicaSet.metadata);
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

const apiVersionOf = (kind: string): string => (kind === 'Job' || kind === 'CronJob' ? 'batch/v1' : 'apps/v1');
const collectionOf = ({ kind, namespace }: { readonly kind: string; readonly namespace: string }): string =>
  `/apis/${apiVersionOf(kind)}/namespaces/${namespace}/${kind.toLowerCase()}s`;
const pathOf = (workload: WorkloadReference): string => `${collectionOf(workload)}/${workload.name}`;

/** Wants no pods until `runPods`. */
function workloadOf(request: WorkloadRequest, image: string): unknown {
  const { kind, name, labels, annotations, podLabels, podAnnotations, initContainers, volumes } = request;
  const matchLabels = { suite: name };
  const runsToEnd = kind === 'Job' || kind === 'CronJob';
  const template = {
    metadata: { labels: { ...podLabels, ...matchLabels }, annotations: podAnnotations },
    spec: {
      initContainers,
      containers: [{ name: 'book', image, imagePullPolicy: 'IfNotPresent' }],
      volumes,
      ...(runsToEnd ? { restartPolicy: 'Never' } : {}),
      ...(kind === 'DaemonSet' ? { nodeSelector: { 'suite.example/no-node': 'true' } } : {}),
    },
  };
  const own = { selector: { matchLabels }, template };
  const spec = {
    Deployment: { replicas: 0, ...own },
    StatefulSet: { replicas: 0, serviceName: name, ...own },
    DaemonSet: own,
    Job: { suspend: true, template },
    CronJob: { suspend: true, schedule: '0 0 1 1 *', jobTemplate: { spec: { template } } },
  }[kind];
  return { apiVersion: apiVersionOf(kind), kind, metadata: { name, labels, annotations }, spec };
}

function ownedBy(apiVersion: string, kind: string, { name, uid }: { readonly name: string; readonly uid: string }): unknown {
  return { apiVersion, kind, name, uid, controller: true };
}

const eventually = (holds: () => Promise<boolean>): Promise<void> =>
  vi.waitFor(async () => expect(await holds()).toBe(true), { timeout: 30_000, interval: 100 });
