import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { kubectl } from './support/kubectl.ts';
import type { KubernetesObject } from './support/kubernetes.ts';
import { Stage } from './support/stage.ts';

// Workloads that end: they are created with their sidecar in them. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'jobs';
let customer: Customer;

const podSpec = () => ({
  restartPolicy: 'Never',
  terminationGracePeriodSeconds: 2,
  containers: [
    {
      name: 'book',
      image: stage.image,
      imagePullPolicy: 'IfNotPresent',
      command: ['/book', 'request', 'GET', customer.pageUrl, '20000'],
    },
  ],
});
const job = (name: string): KubernetesObject => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name, namespace: SPACE },
  spec: { backoffLimit: 0, template: { spec: podSpec() } },
});
const inject = async (manifest: KubernetesObject, hostname: string) => {
  const body = { tailnet_name: SPACE, config: { hostname, accept_routes: true }, manifest };
  const answer = await platform.call('POST', '/sidecars:inject', body);
  expect(answer).toMatchObject({ status: 201, body: { status: 'attaching' } });
  return { sidecarId: answer.body.sidecar_id as string, manifest: answer.body.manifest as KubernetesObject };
};
interface JobObject extends KubernetesObject {
  readonly status: { readonly succeeded?: number; readonly failed?: number };
}
const ended = (name: string) =>
  kubernetes.waitFor<JobObject, JobObject['status']>(
    { apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace: SPACE } },
    'it has ended',
    ({ status }) => (status.succeeded || status.failed ? status : undefined),
    { timeoutMs: 90_000 },
  );
const devices = async (hostname: string) => (await customer.control.devices()).filter((device) => device.hostname === hostname);

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: SPACE });
  await stage.space(SPACE, SPACE);
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE });
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a Job', () => {
  test('created with its sidecar gets its customer’s page, completes, and leaves nothing', async () => {
    const { sidecarId, manifest } = await inject(job('nightly'), 'nightly');
    await eventually('its key is there before its pod', async () =>
      (await customer.control.keys()).some(({ description }) => description === `bifrost-${sidecarId}`),
    );
    await kubernetes.create(manifest);
    const seen = await eventually('its device has joined', async () => (await devices('nightly'))[0], { timeoutMs: 60_000 });
    const done = await ended('nightly');
    expect(done).toMatchObject({ succeeded: 1 });
    await eventually('its device is gone', async () => !(await devices('nightly')).some(({ nodeId }) => nodeId === seen.nodeId), {
      timeoutMs: 20_000,
    });
    await platform.sidecarReaches(sidecarId, 'gone', 60_000);
    expect((await customer.control.keys()).filter(({ description }) => description === `bifrost-${sidecarId}`)).toEqual([]);
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  }, 240_000);

  test('without its sidecar the same Job fails: there is no other way to the page', async () => {
    await kubernetes.create(job('bare'));
    const done = await ended('bare');
    expect(done).toMatchObject({ failed: 1 });
  });

  test('that exists is not attached: the answer says how it is done', async () => {
    const answer = await platform.call('POST', '/sidecars', {
      book_deployment_id: `${SPACE}/bare`,
      tailnet_name: SPACE,
      config: { hostname: 'bare' },
    });
    expect(answer).toMatchObject({ status: 422, body: { code: 'WORKLOAD_UNSUPPORTED' } });
  });
});

describe('a CronJob', () => {
  const manifest = (): KubernetesObject => ({
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name: 'hourly', namespace: SPACE },
    spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: { backoffLimit: 0, template: { spec: podSpec() } } } },
  });
  let sidecarId = '';

  test('gives each of its Jobs the network, and each device goes with its Job', async () => {
    const injected = await inject(manifest(), 'hourly');
    sidecarId = injected.sidecarId;
    const created = await kubernetes.create(injected.manifest);
    const used = new Set<string>();
    for (const name of ['hourly-1', 'hourly-2']) {
      await kubectl(['create', 'job', name, '--from=cronjob/hourly', '-n', SPACE]);
      const made = await kubernetes.get({ apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace: SPACE } });
      expect(made?.metadata['ownerReferences']).toMatchObject([{ kind: 'CronJob', uid: created.metadata.uid, controller: true }]);
      const device = await eventually(`${name} has joined`, async () => (await devices('hourly')).find(({ nodeId }) => !used.has(nodeId)), {
        timeoutMs: 60_000,
      });
      used.add(device.nodeId);
      const done = await ended(name);
      expect(done).toMatchObject({ succeeded: 1 });
      await eventually('its device is gone', async () => (await devices('hourly')).length === 0, { timeoutMs: 20_000 });
    }
    expect(used.size).toBe(2);
    expect(await platform.sidecar(sidecarId)).toMatchObject({ mode: 'inject', workload: { kind: 'CronJob' } });
  }, 300_000);

  test('belongs to its creator, and is released when it is deleted', async () => {
    expect(await platform.call('DELETE', `/sidecars/${sidecarId}`)).toMatchObject({ status: 409, body: { code: 'OWNED_BY_CREATOR' } });
    await kubernetes.deleteAndWait({ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: 'hourly', namespace: SPACE } });
    await platform.sidecarReaches(sidecarId, 'gone', 60_000);
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  });
});
