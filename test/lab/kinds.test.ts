import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logs } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { containerStatus, type KubernetesObject, type Named, type PodObject } from './support/kubernetes.ts';
import { Stage } from './support/stage.ts';

// Workloads beside Deployment and StatefulSet: a DaemonSet, and what runs to its end.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'kinds';
let customer: Customer;

const joined = async (hostname: string): Promise<number> =>
  (await customer.control.devices()).filter((device) => device.hostname === hostname).length;
const job = (name: string): Named => ({ apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace: SPACE } });

/** A Job's template: it asks for the customer's page until it gets an answer, prints it, and ends. */
const importTemplate = (name: string) => ({
  metadata: { labels: { app: name } },
  spec: {
    restartPolicy: 'OnFailure',
    containers: [
      {
        name: 'import',
        image: stage.image,
        imagePullPolicy: 'IfNotPresent',
        command: ['/book', 'request', 'GET', customer.pageUrl, '3000'],
        securityContext: { allowPrivilegeEscalation: false },
      },
    ],
  },
});

/** The caller's manifest with a sidecar that is registered under its name. */
async function injected(manifest: KubernetesObject): Promise<{ readonly sidecarId: string; readonly manifest: KubernetesObject }> {
  const config = { hostname: manifest.metadata.name, accept_routes: true };
  const body = await platform.must('POST', '/sidecars:inject', { tailnet_name: 'kinds', config, manifest: JSON.stringify(manifest) });
  return { sidecarId: body.sidecar_id, manifest: JSON.parse(body.manifest) as KubernetesObject };
}

async function completes(name: string): Promise<PodObject> {
  await eventually(
    `Job ${name} is complete`,
    async () => {
      const found = await kubernetes.get<KubernetesObject & { status?: { conditions?: readonly { type: string; status: string }[] } }>(job(name));
      return found?.status?.conditions?.some(({ type, status }) => type === 'Complete' && status === 'True');
    },
    { timeoutMs: 90_000 },
  );
  const [pod] = await kubernetes.pods(SPACE, `batch.kubernetes.io/job-name=${name}`);
  if (pod === undefined) throw new Error(`Job ${name} has no pod`);
  return pod;
}

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: 'kinds' });
  await stage.space(SPACE, 'kinds');
  await stage.tailnet({ customer_id: 'kinds', tailnet_name: 'kinds' });
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a DaemonSet', () => {
  test('is attached, reaches its customer from each node, and is after detach what it was', async () => {
    const workload = await stage.book({ name: 'daemon', namespace: SPACE, kind: 'DaemonSet' });
    await stage.pod(SPACE, 'daemon');
    const before = await stage.specOf(workload);
    const sidecarId = await stage.attach(`${SPACE}/daemon`, 'kinds');
    await platform.sidecarReaches(sidecarId, 'connected');
    await stage.reaches(await stage.inBook(SPACE, 'daemon'), customer);
    const read = await platform.sidecar(sidecarId);
    expect(read).toMatchObject({ workload: { kind: 'DaemonSet', name: 'daemon' } });
    expect(read.instances).toHaveLength(1);
    expect(await joined('daemon')).toBe(1);
    await platform.must('DELETE', `/sidecars/${sidecarId}`);
    await platform.sidecarReaches(sidecarId, 'gone', 90_000);
    expect(await stage.specOf(workload)).toBe(before);
    expect(await joined('daemon')).toBe(0);
  }, 240_000);

  test('in the node’s network is refused, with why, and stays as it is', async () => {
    const workload = await stage.book({
      name: 'on-node',
      namespace: SPACE,
      kind: 'DaemonSet',
      podSpec: { hostNetwork: true },
      container: { ports: [], readinessProbe: null },
    });
    const before = await stage.specOf(workload);
    const answer = await platform.call('POST', '/sidecars', {
      book_deployment_id: `${SPACE}/on-node`,
      tailnet_name: 'kinds',
      config: { hostname: 'on-node' },
    });
    expect(answer).toMatchObject({ status: 422, body: { code: 'WORKLOAD_UNSUPPORTED', issues: [{ path: 'spec.template.spec.hostNetwork' }] } });
    expect(await stage.specOf(workload)).toBe(before);
    await kubernetes.deleteAndWait(workload);
  });
});

describe('a Job', () => {
  test('that is created with its sidecar gets its customer’s page and completes: the native sidecars end with it, and its device goes', async () => {
    const { sidecarId, manifest } = await injected({
      ...job('nightly'),
      spec: { backoffLimit: 4, template: importTemplate('nightly') },
    } as KubernetesObject);
    await kubernetes.create(manifest);
    const pod = await completes('nightly');
    expect(pod.status.phase).toBe('Succeeded');
    for (const name of ['bifrost-agent', 'tailscale']) expect(containerStatus(pod, name)?.state).toHaveProperty('terminated');
    expect(await logs({ namespace: SPACE, pod: pod.metadata.name, container: 'import' })).toContain(customer.page);
    await platform.sidecarReaches(sidecarId, 'gone', 60_000);
    expect(await joined('nightly')).toBe(0);
    const secrets = await kubernetes.list('v1', 'Secret', { namespace: SPACE });
    expect(secrets.map(({ metadata }) => metadata.name)).not.toContain(`bifrost-${sidecarId}`);
  }, 240_000);

  test('a running Job cannot be attached to: the answer says how it gets its sidecar', async () => {
    const body = { book_deployment_id: `${SPACE}/nightly`, tailnet_name: 'kinds', config: { hostname: 'nightly-2' } };
    const answer = await platform.call('POST', '/sidecars', body);
    expect(answer).toMatchObject({ status: 422, body: { code: 'WORKLOAD_UNSUPPORTED', message: expect.stringContaining('injectSidecar') } });
  });
});

describe('a CronJob', () => {
  test('gives each of its Jobs the sidecar; their pods are its own by the owner walk, and complete', async () => {
    const metadata = { name: 'hourly', namespace: SPACE };
    const spec = { suspend: true, schedule: '0 0 1 1 *', jobTemplate: { spec: { template: importTemplate('hourly') } } };
    const { sidecarId, manifest } = await injected({ apiVersion: 'batch/v1', kind: 'CronJob', metadata, spec });
    const made = await kubernetes.create<KubernetesObject & { spec: typeof spec }>(manifest as KubernetesObject & { spec: typeof spec });
    const ownerReferences = [{ apiVersion: 'batch/v1', kind: 'CronJob', name: 'hourly', uid: made.metadata.uid, controller: true }];
    for (const name of ['hourly-1', 'hourly-2']) {
      await kubernetes.create({
        ...job(name),
        metadata: { ...job(name).metadata, ownerReferences },
        spec: made.spec.jobTemplate.spec,
      } as KubernetesObject);
      const pod = await completes(name);
      expect(await logs({ namespace: SPACE, pod: pod.metadata.name, container: 'import' })).toContain(customer.page);
    }
    expect(await platform.sidecar(sidecarId)).toMatchObject({ workload: { kind: 'CronJob', name: 'hourly', uid: made.metadata.uid } });
    await eventually('devices of Jobs that are done are gone', async () => (await joined('hourly')) === 0, { timeoutMs: 60_000 });
    await kubernetes.deleteAndWait({ apiVersion: 'batch/v1', kind: 'CronJob', metadata });
    await platform.sidecarReaches(sidecarId, 'gone', 60_000);
  }, 300_000);
});
