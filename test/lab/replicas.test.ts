import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requestFromBook } from './support/containers.ts';
import type { ControlDevice } from './support/control.ts';
import type { Customer } from './support/customer.ts';
import { during, eventually } from './support/eventually.ts';
import { isReady, type Named, type PodObject } from './support/kubernetes.ts';
import { Stage, sidecarWish } from './support/stage.ts';

// One attachment with several pods, and one on a StatefulSet that has an init container of its own. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'replicas';
/** The control server itself collects an ephemeral device 30 s after it was last seen. */
const AT_ONCE_MS = 20_000;

interface InstanceView {
  readonly pod_name: string;
  readonly pod_uid: string;
  readonly status: string;
  readonly ip_address?: string;
  readonly device_id?: string;
}

let customer: Customer;
let many: Named;
let sidecarId = '';

const instances = async (): Promise<readonly InstanceView[]> => (await platform.sidecar(sidecarId)).instances;
const devices = async (): Promise<readonly ControlDevice[]> => (await customer.control.devices()).filter(({ hostname }) => hostname === 'many');
const scale = (workload: Named, replicas: number): Promise<unknown> => kubernetes.mergePatch(workload, { spec: { replicas } });

/** Waits for so many instances, all connected, each with a device of its own, and no other device. */
const allConnected = (count: number): Promise<readonly InstanceView[]> =>
  eventually(
    `${count} connected instances`,
    async () => {
      const [known, joined] = [await instances(), await devices()];
      const held = new Set(known.filter(({ status }) => status === 'connected').map(({ device_id }) => device_id));
      return known.length === count && held.size === count && joined.length === count && joined.every(({ nodeId }) => held.has(nodeId)) && known;
    },
    { timeoutMs: 80_000 },
  );

/** The pods that are ready and on their way nowhere, one after the other until one gets the customer's page. */
async function someBookGetsThePage(): Promise<boolean> {
  const pods: readonly PodObject[] = (await kubernetes.pods(SPACE, 'app=many')).filter(isReady);
  for (const { metadata } of pods) {
    const answer = await requestFromBook({ namespace: SPACE, pod: metadata.name, container: 'book' }, { url: customer.pageUrl }).catch(
      () => undefined,
    );
    if (answer?.body === customer.page) return true;
  }
  return false;
}

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: 'replicas' });
  await stage.space(SPACE, 'replicas');
  many = await stage.book({ name: 'many', namespace: SPACE, replicas: 3 });
  await stage.pods(SPACE, 'many', 3);
  await stage.tailnet({ customer_id: 'replicas', tailnet_name: 'replicas' });
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a Deployment with three replicas', () => {
  test('gets three devices, each with keys and an address of its own', async () => {
    sidecarId = await stage.attach(`${SPACE}/many`, 'replicas');
    const known = await allConnected(3);
    const joined = await devices();
    for (const own of ['machineKey', 'nodeKey', 'nodeId', 'name'] as const) expect(new Set(joined.map((device) => device[own])).size).toBe(3);
    const addresses = known.map(({ ip_address }) => ip_address);
    expect(new Set(addresses).size).toBe(3);
    for (const address of addresses) expect(joined.flatMap((device) => device.addresses)).toContain(address);
    const status = await platform.must('GET', '/tailnets/replicas/status');
    expect(status).toMatchObject({ connected_devices: 3, connected_sidecars: [{ sidecar_id: sidecarId, status: 'connected' }] });
    expect(addresses).toContain(status.connected_sidecars[0].ip_address);
  });

  test('keeps one connected and answering throughout a rolling update, and the devices of replaced pods go at once', async () => {
    const before = await allConnected(3);
    const lostAt = new Map<string, number>();
    const goneAt = new Map<string, number>();
    const roll = async (): Promise<unknown> => {
      await kubernetes.mergePatch(many, { spec: { template: { metadata: { annotations: { 'lab/round': '2' } } } } });
      return eventually(
        'all pods are replaced, and the devices of the old ones are gone',
        async () => {
          const [pods, joined] = [await kubernetes.pods(SPACE, 'app=many'), await devices()];
          for (const { pod_uid, device_id = '' } of before) {
            const device = joined.find(({ nodeId }) => nodeId === device_id);
            const isThere = pods.some(({ metadata }) => metadata.uid === pod_uid);
            if ((!isThere || device?.connectedToControl !== true) && !lostAt.has(device_id)) lostAt.set(device_id, performance.now());
            if (device === undefined && !goneAt.has(device_id)) goneAt.set(device_id, performance.now());
          }
          return (
            goneAt.size === 3 &&
            pods.length === 3 &&
            pods.every(isReady) &&
            !pods.some(({ metadata }) => before.some((old) => old.pod_uid === metadata.uid))
          );
        },
        { timeoutMs: 150_000 },
      );
    };
    await during('one instance is connected, and some book gets the page', roll, async () => {
      const { connected_devices } = await platform.must('GET', '/tailnets/replicas/status');
      return connected_devices >= 1 && (await someBookGetsThePage());
    });
    const lingered = [...goneAt].map(([id, at]) => Math.round(at - (lostAt.get(id) ?? 0)));
    process.stderr.write(`lab: devices of replaced pods went after ${lingered.join(', ')} ms\n`);
    expect(Math.max(...lingered)).toBeLessThan(AT_ONCE_MS);
    const after = await allConnected(3);
    expect(after.filter(({ device_id }) => before.some((old) => old.device_id === device_id))).toEqual([]);
  }, 180_000);

  test('scaled to nothing it has no device, and the attachment waits', async () => {
    await scale(many, 0);
    await eventually('no pod', async () => (await kubernetes.pods(SPACE, 'app=many')).length === 0);
    await eventually('no device', async () => (await devices()).length === 0, { timeoutMs: AT_ONCE_MS });
    await eventually('no instance', async () => (await instances()).length === 0);
    expect(await platform.must('GET', '/tailnets/replicas/status')).toMatchObject({ connected_devices: 0, connected_sidecars: [] });
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  });

  test('scaled out while the manager is away, its pods join by themselves; the manager knows them when it is back', async () => {
    const manager: Named = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'network-manager', namespace: 'bifrost' } };
    await scale(manager, 0);
    try {
      await eventually('the manager is away', async () => (await platform.managerPods()).length === 0);
      await scale(many, 2);
      await stage.pods(SPACE, 'many', 2);
      await eventually('some book gets the page', someBookGetsThePage);
      expect(await devices()).toHaveLength(2);
      expect(await platform.managerPods()).toEqual([]);
    } finally {
      await scale(manager, 1);
    }
    await eventually('a manager answers', async () => (await platform.call('GET', '/info')).status === 200, { timeoutMs: 60_000 });
    await allConnected(2);
    expect(await platform.must('GET', '/tailnets/replicas/status')).toMatchObject({ connected_devices: 2 });
  }, 240_000);
});

describe('a StatefulSet with an init container that needs the customer’s network', () => {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'ordered-0', namespace: SPACE } } as const;
  let ordered: Named;
  let specBefore = '';
  const initOf = (now: PodObject) => now.status.initContainerStatuses?.find(({ name }) => name === 'first-request');
  /** Exit code of the init container's last end, which outlives its next start. */
  const exitCode = (now: PodObject): number | undefined => {
    const { state = {}, lastState = {} } = initOf(now) ?? {};
    return ((state['terminated'] ?? lastState['terminated']) as { readonly exitCode: number } | undefined)?.exitCode;
  };

  test('does not start before it is attached', async () => {
    const command = ['/book', 'request', 'GET', customer.pageUrl, '5000'];
    const initContainers = [{ name: 'first-request', image: stage.image, imagePullPolicy: 'IfNotPresent', command }];
    // Parallel: a pod that never became ready is replaced too.
    ordered = await stage.book({ name: 'ordered', namespace: SPACE, kind: 'StatefulSet', podSpec: { initContainers } }, (spec) => ({
      ...spec,
      podManagementPolicy: 'Parallel',
    }));
    specBefore = await stage.specOf(ordered);
    expect(await kubernetes.waitFor(pod, 'its init container has failed', exitCode, { timeoutMs: 60_000 })).toBe(1);
  });

  test('starts once it is: ours run first, and its own init container gets the page', async () => {
    const wish = sidecarWish(`${SPACE}/ordered`, 'replicas');
    const plan = await platform.must('POST', '/sidecars:plan', wish);
    expect(plan.form).toBe('prepend');
    expect(await stage.specOf(ordered)).toBe(specBefore);
    const attachedId = await stage.attach(`${SPACE}/ordered`, 'replicas');
    await platform.sidecarReaches(attachedId, 'connected', 80_000);
    const running = await stage.pod(SPACE, 'ordered');
    const { initContainers } = running.spec as { readonly initContainers: readonly { readonly name: string }[] };
    expect(initContainers.map(({ name }) => name)).toEqual(['bifrost-guard', 'bifrost-agent', 'tailscale', 'first-request']);
    expect(exitCode(running)).toBe(0);
    await stage.reaches(await stage.inBook(SPACE, 'ordered'), customer);
    expect((await customer.control.devices()).filter(({ hostname }) => hostname === 'ordered')).toHaveLength(1);
  });

  test('detached it is what it was, byte for byte, and does not start again', async () => {
    const [attached] = (await platform.must('GET', '/sidecars')).sidecars.filter(
      (sidecar: { workload: { name: string } }) => sidecar.workload.name === 'ordered',
    );
    const old = await stage.pod(SPACE, 'ordered');
    await platform.must('DELETE', `/sidecars/${attached.sidecar_id}`);
    await platform.sidecarReaches(attached.sidecar_id, 'gone', 80_000);
    expect(await stage.specOf(ordered)).toBe(specBefore);
    expect((await customer.control.devices()).filter(({ hostname }) => hostname === 'ordered')).toEqual([]);
    const failed = await kubernetes.waitFor<PodObject, number>(pod, 'the next pod’s init container has failed', (now) =>
      now.metadata.uid === old.metadata.uid ? undefined : exitCode(now),
    );
    expect(failed).toBe(1);
  });
});
