import type { ApiServer } from '../support/api-server.ts';
import { inFlight, must } from './requests.ts';
import type { PodWithToken } from './restart-agents.ts';

export interface Book {
  readonly name: string;
  readonly uid: string;
}

/** Deployments with one replica; no controller runs here, so their pods are made by {@link makePods}. */
export function makeBooks(api: ApiServer, { space, count }: { readonly space: string; readonly count: number }): Promise<readonly Book[]> {
  const names = Array.from({ length: count }, (_, index) => `book-${index}`);
  return inFlight(names, async (name) => {
    const labels = { app: name };
    const template = { metadata: { labels }, spec: { serviceAccountName: 'default', containers: [{ name: 'book', image: 'book' }] } };
    const body = { metadata: { name }, spec: { replicas: 1, selector: { matchLabels: labels }, template } };
    const { metadata } = (await must(api, 'POST', `/apis/apps/v1/namespaces/${space}/deployments`, body)) as { metadata: { uid: string } };
    return { name, uid: metadata.uid };
  });
}

const ownedBy = (kind: string, { name, uid }: Book) => [{ apiVersion: 'apps/v1', kind, name, uid, controller: true }];

/** What the controllers would make of attached Deployments: a ReplicaSet and a pod each, and the pod's projected token. */
export async function makePods(
  api: ApiServer,
  { space, books }: { readonly space: string; readonly books: readonly Book[] },
): Promise<readonly PodWithToken[]> {
  const { items } = (await must(api, 'GET', `/apis/network.bifrost.dev/v1alpha1/namespaces/${space}/sidecarattachments`)) as {
    items: { spec: { sidecarId: string; workload: { name: string } } }[];
  };
  const sidecarIds = new Map(items.map(({ spec }) => [spec.workload.name, spec.sidecarId]));
  return inFlight(books, async (book) => {
    const sidecarId = sidecarIds.get(book.name) ?? '';
    const labels = { app: book.name, 'bifrost.dev/sidecar-id': sidecarId };
    const spec = { serviceAccountName: 'default', containers: [{ name: 'book', image: 'book' }] };
    const replicaSet = {
      metadata: { name: `${book.name}-rs`, ownerReferences: ownedBy('Deployment', book) },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    };
    const made = (await must(api, 'POST', `/apis/apps/v1/namespaces/${space}/replicasets`, replicaSet)) as { metadata: { uid: string } };
    const owner = { name: `${book.name}-rs`, uid: made.metadata.uid };
    const pod = { metadata: { name: `${book.name}-pod`, labels, ownerReferences: ownedBy('ReplicaSet', owner) }, spec };
    const { metadata } = (await must(api, 'POST', `/api/v1/namespaces/${space}/pods`, pod)) as { metadata: { uid: string } };
    const request = {
      spec: {
        audiences: ['bifrost'],
        expirationSeconds: 3_600,
        boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: `${book.name}-pod`, uid: metadata.uid },
      },
    };
    const { status } = (await must(api, 'POST', `/api/v1/namespaces/${space}/serviceaccounts/default/token`, request)) as {
      status: { token: string };
    };
    return { podUid: metadata.uid, sidecarId, token: status.token };
  });
}
