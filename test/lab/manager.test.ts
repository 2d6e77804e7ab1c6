import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digests, lab } from './support/command.ts';
import { requestFromBook } from './support/containers.ts';
import { eventually } from './support/eventually.ts';
import { kubectl } from './support/kubectl.ts';
import { Platform } from './support/platform.ts';

// examples/deploy, as users apply it.
const platform = new Platform();
const { kubernetes } = platform;

beforeAll(async () => {
  await platform.open((await digests())['book'] ?? '');
});
afterAll(() => platform[Symbol.asyncDispose]());

describe('the manager in its pod', () => {
  test('runs as its own user, with nothing to write to', async () => {
    const [pod] = await platform.managerPods();
    expect(pod?.spec).toMatchObject({
      securityContext: { runAsNonRoot: true, runAsUser: 65532 },
      containers: ['network-manager', 'envoy'].map((name) => ({
        name,
        securityContext: { readOnlyRootFilesystem: true },
        image: expect.stringContaining('@sha256:'),
      })),
    });
    expect(await lab(['logs', 'bifrost', pod?.metadata.name ?? '', 'network-manager'])).toContain('network manager is up');
  });

  test('answers, by its name in the cluster, the platform’s book controller and not another account', async () => {
    const caller = { namespace: 'platform', pod: 'book-controller', container: 'book-controller' };
    const url = 'https://bifrost.bifrost.svc.cluster.local:8444/api/v1/networks/tailnets';
    const [pod] = await kubernetes.readyPods('platform', 'app=book-controller');
    const call = (token: string) => requestFromBook(caller, { url, headers: { authorization: `Bearer ${token}` } });
    const account = { namespace: 'platform', name: 'book-controller' };
    expect(await call(await kubernetes.serviceAccountToken(account, 'bifrost', pod))).toMatchObject({ status: 200 });
    expect(await call(await kubernetes.serviceAccountToken(account, 'another', pod))).toMatchObject({ status: 401 });
    expect(await call(await kubernetes.serviceAccountToken({ ...account, name: 'default' }, 'bifrost'))).toMatchObject({ status: 401 });
  });
});

describe('the label that says whose a namespace is', () => {
  const editor = 'system:serviceaccount:platform:editor';
  const controller = 'system:serviceaccount:platform:book-controller';
  const create = (name: string, as: string, labels: Record<string, string>) =>
    kubernetes.call('POST', '/api/v1/namespaces', { body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }, as });
  const relabel = (name: string, as: string, value: string | null) =>
    kubernetes.call('PATCH', `/api/v1/namespaces/${name}`, {
      body: { metadata: { labels: { 'bifrost.dev/customer-id': value } } },
      contentType: 'application/merge-patch+json',
      as,
    });
  /** By RBAC, which is read a moment after it is written. */
  const mayCreate = async (user: string): Promise<boolean> => {
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
    const body = { spec: { user, resourceAttributes: { verb: 'create', resource: 'namespaces' } } };
    return (await kubernetes.must<{ status: { allowed: boolean } }>('POST', path, { body })).status.allowed;
  };
  const customerOf = async (name: string): Promise<string | undefined> =>
    (await kubernetes.get({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }))?.metadata.labels?.['bifrost.dev/customer-id'];

  beforeAll(async () => {
    const subjects = ['editor', 'book-controller'].map((name) => ({ kind: 'ServiceAccount', name, namespace: 'platform' }));
    const rules = [{ apiGroups: [''], resources: ['namespaces'], verbs: ['create', 'patch', 'get'] }];
    const metadata = { name: 'lab-namespace-editors' };
    const apiVersion = 'rbac.authorization.k8s.io/v1';
    await kubernetes.apply({ apiVersion, kind: 'ClusterRole', metadata, rules });
    await kubernetes.apply({
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: metadata.name },
      subjects,
    });
    for (const user of [editor, controller]) await eventually(`${user} may`, () => mayCreate(user));
  });
  afterAll(async () => {
    for (const name of ['label-a', 'label-b']) await kubernetes.delete({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  });

  test('is the platform’s to write, and nobody else’s', async () => {
    const label = { 'bifrost.dev/customer-id': 'acme' };
    expect((await create('label-a', editor, label)).status).toBe(403);
    expect((await create('label-a', editor, { other: 'label' })).status).toBe(201);
    expect((await create('label-b', controller, label)).status).toBe(201);
    expect((await relabel('label-b', editor, 'globex')).status).toBe(403);
    expect((await relabel('label-b', editor, null)).status).toBe(403);
    expect(await customerOf('label-b')).toBe('acme');
    expect((await relabel('label-b', controller, 'globex')).status).toBe(200);
    expect(await customerOf('label-b')).toBe('globex');
  });
});

describe('a site', () => {
  const managerUids = async (): Promise<readonly unknown[]> => (await platform.managerPods()).map(({ metadata }) => metadata.uid);

  test('applied again is the same pod, and with another setting another', async () => {
    const before = await managerUids();
    expect(before).toHaveLength(1);
    await lab(['manager', 'HEARTBEAT_MS=1000'], { timeoutMs: 120_000 });
    expect(await managerUids()).toEqual(before);
    await lab(['manager', 'HEARTBEAT_MS=2000'], { timeoutMs: 120_000 });
    const after = await managerUids();
    expect(after).toHaveLength(1);
    expect(after).not.toEqual(before);
    const settings = 'jsonpath={.spec.template.spec.containers[0].envFrom[0].configMapRef.name}';
    const name = await kubectl(['get', 'deployment/network-manager', '-n', 'bifrost', '-o', settings]);
    expect(await kubernetes.get({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'bifrost' } })).toMatchObject({
      data: { BIFROST_HEARTBEAT_MS: '2000', BIFROST_AGENT_IMAGE: expect.stringMatching(/@sha256:[0-9a-f]{64}$/) },
    });
  }, 180_000);

  test('removed in the order of examples/deploy/README.md leaves nothing', async () => {
    for (const all of [
      ['sidecarattachments', '--all', '-A'],
      ['tailnets', '--all'],
      ['-k', '/run/bifrost-lab/site'],
    ]) {
      await kubectl(['delete', ...all, '--timeout=80s'], { timeoutMs: 90_000 });
    }
    const kinds =
      'namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings';
    const left = (await kubectl(['get', kinds, '-o', 'name'])).split('\n');
    expect(left).toContain('namespace/platform');
    expect(left.filter((name) => name.includes('bifrost'))).toEqual([]);
    await lab(['manager', 'HEARTBEAT_MS=1000'], { timeoutMs: 120_000 });
  }, 240_000);
});
