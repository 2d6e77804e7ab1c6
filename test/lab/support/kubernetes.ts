import { Agent, request } from 'undici';
import { type EventuallyOptions, eventually } from './eventually.ts';

/** Any Kubernetes object. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMetadata;
  readonly [member: string]: unknown;
}
export interface ObjectMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly generation?: number;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [member: string]: unknown;
}
export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly started?: boolean;
  readonly restartCount: number;
  readonly containerID?: string;
  readonly state: Readonly<Record<string, unknown>>;
  readonly lastState?: Readonly<Record<string, unknown>>;
}
export interface PodObject extends KubernetesObject {
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}
/** What names an object, e.g. `{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace } }`. */
export type Named = Pick<KubernetesObject, 'apiVersion' | 'kind'> & { readonly metadata: Pick<ObjectMetadata, 'name' | 'namespace'> };

export interface Answer<T = unknown> {
  readonly status: number;
  readonly body: T;
}
export interface CallInput {
  readonly body?: unknown;
  readonly contentType?: string;
  /** Asks as this user instead of as administrator, e.g. `system:serviceaccount:x:y`. */
  readonly as?: string;
}

const plural = (kind: string): string => {
  const lower = kind.toLowerCase();
  if (lower.endsWith('y')) return `${lower.slice(0, -1)}ies`;
  return lower.endsWith('s') ? `${lower}es` : `${lower}s`;
};

/** The path of a collection: of a namespace, or of the cluster. */
export function collectionPath(apiVersion: string, kind: string, namespace?: string): string {
  const group = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`;
  return `${group}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${plural(kind)}`;
}
export const pathOf = ({ apiVersion, kind, metadata }: Named): string => `${collectionPath(apiVersion, kind, metadata.namespace)}/${metadata.name}`;

/** The lab's API server, asked as administrator over a connection pool of its own. The certificate is not checked. */
export class Kubernetes implements AsyncDisposable {
  readonly url: string;
  readonly token = 'admintoken';
  readonly #agent = new Agent({ connect: { rejectUnauthorized: false } });

  constructor(url = 'https://10.244.0.1:6443') {
    this.url = url;
  }

  /** Sends and answers, whatever the status. */
  async call<T = unknown>(method: string, path: string, { body, contentType = 'application/json', as }: CallInput = {}): Promise<Answer<T>> {
    const answer = await request(`${this.url}${path}`, {
      dispatcher: this.#agent,
      method: method as 'GET',
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : { 'content-type': contentType }),
        ...(as === undefined ? {} : { 'impersonate-user': as }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, body: (text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text) as T };
  }

  /** The same, and rejects unless the status is 2xx. */
  async must<T = unknown>(method: string, path: string, input: CallInput = {}): Promise<T> {
    const { status, body } = await this.call<T>(method, path, input);
    if (status < 200 || status > 299) throw new Error(`${method} ${path} answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  async create<T extends KubernetesObject>(object: T, input: Omit<CallInput, 'body'> = {}): Promise<T> {
    const { apiVersion, kind, metadata } = object;
    return this.must<T>('POST', collectionPath(apiVersion, kind, metadata.namespace), { ...input, body: object });
  }

  /** Server-side apply by field manager `lab-test`, with force. */
  async apply<T extends KubernetesObject>(object: T): Promise<T> {
    return this.must<T>('PATCH', `${pathOf(object)}?fieldManager=lab-test&force=true`, { body: object, contentType: 'application/apply-patch+yaml' });
  }

  async mergePatch<T = KubernetesObject>(object: Named, patch: unknown): Promise<T> {
    return this.must<T>('PATCH', pathOf(object), { body: patch, contentType: 'application/merge-patch+json' });
  }

  /** The object, or undefined when there is none. */
  /** As a field manager of that name. */
  async jsonPatch<T = KubernetesObject>(object: Named, operations: readonly object[], manager: string): Promise<T> {
    const path = `${pathOf(object)}?fieldManager=${manager}`;
    return this.must<T>('PATCH', path, { body: operations, contentType: 'application/json-patch+json' });
  }

  async get<T = KubernetesObject>(object: Named): Promise<T | undefined> {
    const { status, body } = await this.call<T>('GET', pathOf(object));
    if (status === 404) return undefined;
    if (status !== 200) throw new Error(`GET ${pathOf(object)} answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  async list<T = KubernetesObject>(
    apiVersion: string,
    kind: string,
    { namespace, labels }: { namespace?: string; labels?: string } = {},
  ): Promise<readonly T[]> {
    const query = labels === undefined ? '' : `?labelSelector=${encodeURIComponent(labels)}`;
    return (await this.must<{ items: T[] }>('GET', `${collectionPath(apiVersion, kind, namespace)}${query}`)).items;
  }

  /** Absent is success. `graceSeconds: 0` kills a pod at once. */
  async delete(object: Named, { graceSeconds }: { readonly graceSeconds?: number } = {}): Promise<void> {
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      propagationPolicy: 'Background',
      ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
    };
    const { status, body: answer } = await this.call('DELETE', pathOf(object), { body });
    if (status !== 404 && status > 299) throw new Error(`DELETE ${pathOf(object)} answered ${status}: ${JSON.stringify(answer)}`);
  }

  /** Deletes and waits until it is really gone, finalizers and all. */
  async deleteAndWait(object: Named, options: EventuallyOptions & { readonly graceSeconds?: number } = {}): Promise<void> {
    await this.delete(object, options);
    await eventually(`${object.kind} ${object.metadata.name} is gone`, async () => (await this.get(object)) === undefined, options);
  }

  /** Polls the object until `holds` answers with something, and gives that. */
  async waitFor<T extends KubernetesObject, R>(
    object: Named,
    what: string,
    holds: (now: T) => R | undefined | false,
    options: EventuallyOptions = {},
  ): Promise<R> {
    return eventually(
      `${object.kind} ${object.metadata.name}: ${what}`,
      async () => {
        const now = await this.get<T>(object);
        return now === undefined ? undefined : holds(now);
      },
      options,
    );
  }

  pods(namespace: string, labels?: string): Promise<readonly PodObject[]> {
    return this.list<PodObject>('v1', 'Pod', { namespace, ...(labels === undefined ? {} : { labels }) });
  }

  /** Pods that are ready and not on their way out: exactly `count` of them, and no others. */
  async readyPods(
    namespace: string,
    labels: string,
    { count = 1, ...options }: EventuallyOptions & { readonly count?: number } = {},
  ): Promise<readonly PodObject[]> {
    return eventually(
      `${count} ready pods ${labels} in ${namespace}`,
      async () => {
        const pods = await this.pods(namespace, labels);
        return pods.length === count && pods.every(isReady) ? pods : undefined;
      },
      { timeoutMs: 60_000, ...options },
    );
  }

  /** A token of a ServiceAccount, for an audience, bound to a pod when one is given. */
  async serviceAccountToken(account: { readonly namespace: string; readonly name: string }, audience: string, pod?: PodObject): Promise<string> {
    const path = `${collectionPath('v1', 'ServiceAccount', account.namespace)}/${account.name}/token`;
    const bound = pod && { kind: 'Pod', apiVersion: 'v1', name: pod.metadata.name, uid: pod.metadata.uid };
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { audiences: [audience], expirationSeconds: 3600, ...(bound ? { boundObjectRef: bound } : {}) },
    };
    return (await this.must<{ status: { token: string } }>('POST', path, { body })).status.token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.close();
  }
}

export const isReady = (pod: PodObject): boolean =>
  pod.metadata['deletionTimestamp'] === undefined && (pod.status.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

/** The state of one container, native sidecars included. */
export const containerStatus = (pod: PodObject, container: string): ContainerStatus | undefined =>
  [...(pod.status.containerStatuses ?? []), ...(pod.status.initContainerStatuses ?? [])].find(({ name }) => name === container);
