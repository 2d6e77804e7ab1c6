import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Customer } from './support/customer.ts';
import { Stage } from './support/stage.ts';

// A book on every node.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'daemon-set';
let customer: Customer;

const joined = async (hostname: string): Promise<number> =>
  (await customer.control.devices()).filter((device) => device.hostname === hostname).length;

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: 'daemons' });
  await stage.space(SPACE, 'daemons');
  await stage.tailnet({ customer_id: 'daemons', tailnet_name: 'daemons' });
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a DaemonSet', () => {
  test('is attached, reaches its customer from each node, and is after detach what it was', async () => {
    const workload = await stage.book({ name: 'daemon', namespace: SPACE, kind: 'DaemonSet' });
    await stage.pod(SPACE, 'daemon');
    const before = await stage.specOf(workload);
    const sidecarId = await stage.attach(`${SPACE}/daemon`, 'daemons');
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
      tailnet_name: 'daemons',
      config: { hostname: 'on-node' },
    });
    expect(answer).toMatchObject({ status: 422, body: { code: 'WORKLOAD_UNSUPPORTED', issues: [{ path: 'spec.template.spec.hostNetwork' }] } });
    expect(await stage.specOf(workload)).toBe(before);
    await kubernetes.deleteAndWait(workload);
  });
});
