import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { kubectl, kubectlApply, kubectlTable } from './support/kubectl.ts';
import type { Named } from './support/kubernetes.ts';
import { snapshot } from './support/snapshot.ts';
import { Stage } from './support/stage.ts';

// What people do with kubectl, beside the manager's own door. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'kubectl';
const CUSTOMER = 'kubectl';
const TAILNET = 'by-kubectl';
const config = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: ['169.254.0.0/16'] };

let customer: Customer;
let web: Named;
let sidecarId = '';

const look = () => snapshot(kubernetes, [customer.control]);
const devices = async () => (await customer.control.devices()).filter(({ hostname }) => hostname === 'web');
const applyTailnet = (name: string, spec: object = {}): Promise<string> =>
  kubectlApply({ apiVersion: 'network.bifrost.dev/v1alpha1', kind: 'Tailnet', metadata: { name }, spec: { customerId: CUSTOMER, config, ...spec } });
const deleted = (...args: string[]): Promise<string> => kubectl(['delete', ...args, '--timeout=100s'], { timeoutMs: 110_000 });

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: CUSTOMER });
  await stage.space(SPACE, CUSTOMER);
  web = await stage.book({ name: 'web', namespace: SPACE });
  await stage.pods(SPACE, 'web');
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a Tailnet', () => {
  test('that is applied becomes active, as one that was called for, and is gone without a trace when it is deleted', async () => {
    const before = await look();
    await applyTailnet('applied');
    await kubectl(['wait', 'tailnet/applied', '--for=jsonpath={.status.phase}=active', '--timeout=60s'], { timeoutMs: 70_000 });
    await stage.tailnet({
      customer_id: CUSTOMER,
      tailnet_name: 'called',
      config: { allowed_networks: ['10.0.0.0/8'], blocked_networks: ['169.254.0.0/16'] },
    });
    const [applied, called] = await Promise.all(['applied', 'called'].map((name) => platform.must('GET', `/tailnets/${name}`)));
    const own = { tailnet_id: expect.any(String), tailnet_name: expect.any(String), created_at: expect.any(String), conditions: expect.any(Array) };
    expect(applied).toEqual({ ...called, ...own });
    await deleted('tailnet/applied', 'tailnet/called');
    expect(await look()).toEqual(before);
  }, 180_000);

  test('is shown with whose it is and how it stands', async () => {
    await kubectlApply({
      apiVersion: 'network.bifrost.dev/v1alpha1',
      kind: 'Tailnet',
      metadata: { name: TAILNET },
      spec: { customerId: CUSTOMER, config },
    });
    await platform.tailnetReaches(TAILNET, 'active');
    expect(await kubectlTable([`tailnet/${TAILNET}`])).toMatchObject([
      { NAME: TAILNET, CUSTOMER, STATUS: 'active', AGE: expect.stringMatching(/^\d+s/) },
    ]);
  });
});

describe('a sidecar', () => {
  test('is shown with its tailnet, its workload and how it stands', async () => {
    sidecarId = await stage.attach(`${SPACE}/web`, TAILNET);
    await platform.sidecarReaches(sidecarId, 'connected', 80_000);
    expect(await kubectlTable(['sidecarattachments', '-n', SPACE])).toMatchObject([{ TAILNET, WORKLOAD: 'web', STATUS: 'connected' }]);
    await stage.reaches(await stage.inBook(SPACE, 'web'), customer);
  });

  test('that `kubectl rollout undo` took out is put back', async () => {
    const generation = async (): Promise<number> => (await kubernetes.get(web))?.metadata.generation ?? 0;
    const before = [await generation(), await stage.specOf(web)] as const;
    expect(before[1]).toContain('bifrost-guard');
    await kubectl(['rollout', 'undo', 'deployment/web', '-n', SPACE]);
    await eventually('the template is what it was', async () => (await stage.specOf(web)) === before[1]);
    expect(await generation()).toBeGreaterThanOrEqual(before[0] + 2); // out, and in again
    await kubectl(['rollout', 'status', 'deployment/web', '-n', SPACE, '--timeout=80s'], { timeoutMs: 85_000 });
    await platform.sidecarReaches(sidecarId, 'connected');
    await stage.reaches(await stage.inBook(SPACE, 'web'), customer);
    await eventually('one device', async () => (await devices()).length === 1);
  }, 150_000);

  test('follows `kubectl scale` to nothing, to many, and to nothing', async () => {
    for (const count of [0, 3, 0]) {
      await kubectl(['scale', 'deployment/web', '-n', SPACE, `--replicas=${count}`]);
      await eventually(
        `${count} pods, connected, with a device each, and no other device`,
        async () => {
          const { instances } = await platform.sidecar(sidecarId);
          const held = instances
            .filter(({ status }: { status: string }) => status === 'connected')
            .map(({ device_id }: { device_id: string }) => device_id);
          const joined = (await devices()).map(({ nodeId }) => nodeId);
          return held.length === count && instances.length === count && joined.toSorted().join() === held.toSorted().join();
        },
        { timeoutMs: 100_000 },
      );
    }
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  }, 300_000);
});

describe('a namespace', () => {
  test('deleted with an attached book in it goes, and leaves nothing outside', async () => {
    await kubectl(['scale', 'deployment/web', '-n', SPACE, '--replicas=1']);
    await platform.sidecarReaches(sidecarId, 'connected', 80_000);
    await deleted(`namespace/${SPACE}`);
    expect(await kubernetes.get({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: SPACE } })).toBeUndefined();
    expect(await platform.sidecar(sidecarId)).toBeUndefined();
    expect(await devices()).toEqual([]);
    expect((await customer.control.keys()).filter(({ invalid }) => !invalid)).toEqual([]);
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
    await deleted(`tailnet/${TAILNET}`);
    expect(await kubernetes.get(web)).toBeUndefined();
  }, 240_000);
});
