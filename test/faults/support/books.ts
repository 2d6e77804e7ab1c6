import { eventually } from '../../lab/support/eventually.ts';
import type { KubeObject } from './admin.ts';
import { BOOK_TAG, SYSTEM, type World } from './world.ts';

export type Tenancy = 'customer-owned' | 'organization';

/** A customer with a namespace, a book, and, where it is their own, a tailnet with its client in a Secret. */
export interface Customer {
  readonly id: string;
  readonly tenancy: Tenancy;
  readonly tailnetName: string;
  readonly bookDeploymentId: string;
  readonly hostname: string;
  /** The pod template before anybody touched it, as the API server writes it. */
  readonly template: string;
}

/** Two kinds of books: their pods have one owner between them and the workload, or none. */
const KINDS = {
  'customer-owned': { plural: 'deployments', spec: { strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } } },
  organization: { plural: 'statefulsets', spec: { serviceName: 'book', podManagementPolicy: 'Parallel' } },
} as const;

export const workloadPath = ({ id, tenancy }: Pick<Customer, 'id' | 'tenancy'>): string =>
  `/apis/apps/v1/namespaces/${id}/${KINDS[tenancy].plural}/book`;
export const attachmentName = ({ tenancy }: Pick<Customer, 'tenancy'>): string => `${KINDS[tenancy].plural.slice(0, -1)}-book`;
export const templateOf = (workload: KubeObject): string => JSON.stringify(workload['spec'].template);

const ROUTE = '192.168.77.0/24';

export async function bringCustomer(world: World, tenancy: Tenancy): Promise<Customer> {
  const id = world.newCustomer(tenancy === 'organization' ? 'org' : 'own');
  const { admin, attribution, control } = world;
  await admin.must('POST', '/api/v1/namespaces', { metadata: { name: id, labels: { 'bifrost.dev/customer-id': id } } });
  if (tenancy === 'customer-owned') {
    const { credential } = control.addTailnet({ displayName: id, tags: [BOOK_TAG] });
    attribution.add(id, credential.clientId);
    const data = { client_id: encoded(credential.clientId), client_secret: encoded(credential.clientSecret.reveal()) };
    await admin.must('POST', `/api/v1/namespaces/${SYSTEM}/secrets`, { metadata: { name: `bifrost-customer-${id}` }, data });
    await admin.must('POST', `/apis/networking.k8s.io/v1/namespaces/${id}/networkpolicies`, NO_CLEAR_EGRESS);
  }
  await eventually(`a service account in ${id}`, () => admin.get(`/api/v1/namespaces/${id}/serviceaccounts/default`), { intervalMs: 20 });
  const labels = { app: 'book', [`book-of-${id}`]: 'true' };
  const template = {
    metadata: { labels },
    spec: { serviceAccountName: 'default', containers: [{ name: 'book', image: 'book', ports: [{ containerPort: 8080 }] }] },
  };
  const metadata = { name: 'book', labels: { 'bifrost.dev/book-deployment-id': `book-${id}` } };
  const spec = { replicas: 1, selector: { matchLabels: labels }, template, ...KINDS[tenancy].spec };
  const made = await admin.must('POST', `/apis/apps/v1/namespaces/${id}/${KINDS[tenancy].plural}`, { metadata, spec });
  return { id, tenancy, tailnetName: `net-${id}`, bookDeploymentId: `book-${id}`, hostname: `book-${id}`, template: templateOf(made) };
}

export const tailnetRequest = ({ id, tenancy, tailnetName }: Customer) => ({
  ...{ customerId: id, tailnetName, tenancy, tags: [] },
  config: { allowedNetworks: ['10.0.0.0/8'] },
});

/** With a route of its own, so that routes have to be approved; where a policy stands in for the guard, in the form that needs no privileges. */
export const attachRequest = ({ tenancy, tailnetName, bookDeploymentId, hostname }: Customer) => ({
  ...{ tailnetName, bookDeploymentId },
  config: { hostname, advertiseRoutes: [ROUTE], ...(tenancy === 'customer-owned' ? { networkMode: 'userspace' as const } : {}) },
});

/** Lets out to the cluster and the Internet, and to nothing that a tailnet could mean. */
const NO_CLEAR_EGRESS = {
  metadata: { name: 'no-clear-egress' },
  spec: {
    ...{ podSelector: {}, policyTypes: ['Egress'] },
    egress: [
      { to: [{ ipBlock: { cidr: '10.96.0.0/16' } }, { ipBlock: { cidr: '10.244.0.0/24' } }] },
      { to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'] } }] },
    ],
  },
};

const encoded = (text: string): string => Buffer.from(text).toString('base64');
