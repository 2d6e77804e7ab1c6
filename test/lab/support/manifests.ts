import type { KubernetesObject } from './kubernetes.ts';

/** A customer's namespace. */
export const namespace = (name: string, customerId: string, labels: Readonly<Record<string, string>> = {}): KubernetesObject => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels: { 'bifrost.dev/customer-id': customerId, ...labels } },
});

export interface BookInput {
  readonly name: string;
  readonly namespace: string;
  readonly image: string;
  /** @default 1 */
  readonly replicas?: number;
  readonly kind?: 'Deployment' | 'StatefulSet' | 'DaemonSet';
  /** Label `bifrost.dev/book-deployment-id`; none by default. */
  readonly bookDeploymentId?: string;
  readonly podSpec?: Readonly<Record<string, unknown>>;
  readonly container?: Readonly<Record<string, unknown>>;
}

/** A book: serves its page on the declared port 8080 and on 8081, which no container port declares. Ready when 8080 answers. */
export function book({
  name,
  namespace: space,
  image,
  replicas = 1,
  kind = 'Deployment',
  bookDeploymentId,
  podSpec = {},
  container = {},
}: BookInput): KubernetesObject {
  const id = bookDeploymentId === undefined ? {} : { 'bifrost.dev/book-deployment-id': bookDeploymentId };
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: space, labels: { app: name, ...id } },
    spec: {
      ...(kind === 'DaemonSet' ? {} : { replicas }),
      selector: { matchLabels: { app: name } },
      ...(kind === 'StatefulSet' ? { serviceName: name } : {}),
      template: {
        metadata: { labels: { app: name } },
        spec: {
          terminationGracePeriodSeconds: 2,
          containers: [
            {
              name: 'book',
              image,
              imagePullPolicy: 'IfNotPresent',
              env: [
                { name: 'BOOK_ADDRESSES', value: ':8080,:8081' },
                { name: 'BOOK_PAGE', value: `book ${name}` },
              ],
              ports: [{ name: 'http', containerPort: 8080 }],
              readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
              ...container,
            },
          ],
          ...podSpec,
        },
      },
    },
  };
}

/** A Service in front of pods with label `app`. */
export const service = (name: string, space: string, port = 8080): KubernetesObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: space },
  spec: { selector: { app: name }, ports: [{ port, targetPort: 8080 }] },
});
