import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lab } from './support/command.ts';
import { requestFromBook } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import type { Named } from './support/kubernetes.ts';
import { Stage } from './support/stage.ts';

// What changes running sidecars, and what does not. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'changes';
const BOOKS = ['one', 'two', 'three'];

let customer: Customer;
const ids = new Map<string, string>();
const workloads = new Map<string, Named>();

const podUids = async (): Promise<readonly string[]> => {
  const pods = await Promise.all(BOOKS.map((name) => kubernetes.pods(SPACE, `app=${name}`)));
  return pods.flat().map(({ metadata }) => metadata.uid ?? '');
};
const specs = () => Promise.all(BOOKS.map((name) => stage.specOf(workloads.get(name) as Named)));
const heartbeats = async (): Promise<readonly string[]> => {
  return (await specs()).map((spec) => /"BIFROST_HEARTBEAT_MS","value":"(\d+)"/.exec(spec)?.[1] ?? '');
};
/** Every book is connected by one pod, and the pods before it are gone. */
const allConnected = async (): Promise<void> => {
  await eventually(
    'every book is connected, by one pod',
    async () => {
      const { sidecars } = await platform.must('GET', '/sidecars');
      const ours = sidecars.filter(({ tailnet_name }: { tailnet_name: string }) => tailnet_name === SPACE);
      return (
        ours.length === BOOKS.length &&
        ours.every((each: { status: string; instances: readonly unknown[] }) => each.status === 'connected' && each.instances.length === 1)
      );
    },
    { timeoutMs: 90_000 },
  );
  for (const name of BOOKS) await kubernetes.readyPods(SPACE, `app=${name}`);
};
const tailnet = () => platform.must('GET', `/tailnets/${SPACE}`);
const reached = async (url: string): Promise<unknown> => {
  const answer = await requestFromBook(await stage.inBook(SPACE, 'one'), { url });
  return answer.status ?? answer.kind;
};

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: SPACE, routes: ['10.0.0.0/8'] });
  await customer.control.setPolicy({
    tagOwners: { 'tag:gateway': [], 'tag:bifrost-book': [] },
    grants: [{ src: ['tag:bifrost-book'], dst: ['10.1.0.0/24'], ip: ['tcp:8000', 'tcp:8001'] }],
  });
  await stage.space(SPACE, SPACE);
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE });
  for (const name of BOOKS) {
    workloads.set(name, await stage.book({ name, namespace: SPACE }));
    await stage.pod(SPACE, name);
    ids.set(name, await stage.attach(`${SPACE}/${name}`, SPACE));
  }
  await allConnected();
});
afterAll(async () => {
  await lab(['manager'], { timeoutMs: 120_000 });
  await stage[Symbol.asyncDispose]();
});

describe('a manager that renders something else', () => {
  test('alone restarts no book', async () => {
    const before = [await podUids(), await specs()];
    await lab(['manager', 'HEARTBEAT_MS=1100'], { timeoutMs: 120_000 });
    await platform.answers();
    await allConnected();
    const { rollouts } = await platform.must('POST', `/tailnets/${SPACE}:planUpgrade`, {});
    expect(rollouts).toHaveLength(BOOKS.length);
    for (const { changed } of rollouts) expect(changed).toEqual(['bifrost-agent']);
    expect([await podUids(), await specs()]).toEqual(before);
    expect(await heartbeats()).toEqual(['1000', '1000', '1000']);
  });

  test('upgrades when it is told to, one wave after the other', async () => {
    using log = await platform.follow();
    await platform.taken('POST', `/tailnets/${SPACE}:upgrade`, { wave_size: 2 });
    const most = { onTrial: 0 };
    await eventually(
      'all run what is rendered now',
      async () => {
        const { sidecars } = await platform.must('GET', '/sidecars');
        const onTrial = sidecars.filter(({ conditions }: { conditions: { type: string }[] }) =>
          conditions.some(({ type }) => type === 'OnTrial'),
        ).length;
        most.onTrial = Math.max(most.onTrial, onTrial);
        return (await tailnet()).upgrade?.finished;
      },
      { timeoutMs: 180_000 },
    );
    expect(most.onTrial).toBeLessThanOrEqual(2);
    expect(await heartbeats()).toEqual(['1100', '1100', '1100']);
    expect(log.events.some(({ event_type }) => event_type === 'connected')).toBe(true);
  }, 240_000);

  test('one that leads nowhere is rolled back in its first wave, and the others are left alone', async () => {
    await lab(['manager', 'HEARTBEAT_MS=1100', 'LOGIN_SERVER=http://10.244.0.1:1'], { timeoutMs: 120_000 });
    await platform.answers();
    await allConnected();
    const before = await specs();
    await platform.taken('POST', `/tailnets/${SPACE}:upgrade`, { wave_size: 1, trial_ms: 20_000 });
    await eventually('the upgrade is halted', async () => (await tailnet()).upgrade?.halted_by?.code === 'UPGRADE_ROLLED_BACK', {
      timeoutMs: 90_000,
    });
    await allConnected();
    expect(await specs()).toEqual(before);
    expect((await tailnet()).upgrade).toMatchObject({ total: 3, done: 0 });
    await stage.reaches(await stage.inBook(SPACE, 'one'), customer);
  }, 240_000);
});

describe('one sidecar', () => {
  test('is changed by call: said before, then done', async () => {
    await lab(['manager'], { timeoutMs: 120_000 });
    await platform.answers();
    const path = `/sidecars/${ids.get('one')}`;
    const change = { config: { accept_routes: false } };
    expect((await platform.must('POST', `${path}:planUpdate`, change)).rollouts).toHaveLength(1);
    expect(await platform.call('PATCH', path, change)).toMatchObject({ status: 409, body: { code: 'ROLLOUT_REQUIRED' } });
    await platform.taken('PATCH', path, { ...change, allow_rollout: true });
    await eventually(
      'it has proved itself',
      async () =>
        (await stage.specOf(workloads.get('one') as Named)).includes('--accept-routes=false') &&
        (await platform.sidecar(ids.get('one') ?? '')).conditions.every(({ type }: { type: string }) => type !== 'OnTrial'),
      { timeoutMs: 90_000 },
    );
    await eventually('its new pod takes no routes', async () => (await reached(customer.pageUrl)) !== 200, { timeoutMs: 90_000 });
    await allConnected();
    expect(await reached(customer.pageUrl)).not.toBe(200);
    await platform.taken('PATCH', path, { config: { accept_routes: true }, allow_rollout: true });
    await eventually('the page is reached again', async () => (await reached(customer.pageUrl)) === 200, { timeoutMs: 90_000 });
  }, 240_000);

  test('drift is put right once per manager; a rival is not fought; repair is a call', async () => {
    const workload = workloads.get('two') as Named;
    const isIn = async () => (await stage.specOf(workload)).includes('"tailscale"');
    const strip = (manager: string) => kubernetes.jsonPatch(workload, [{ op: 'remove', path: '/spec/template/spec/initContainers' }], manager);
    await strip('rival');
    await eventually('the sidecar is back', isIn);
    await strip('rival');
    await eventually('it is left alone', async () => (await platform.sidecar(ids.get('two') ?? '')).reason?.code === 'DRIFT_REPEATED');
    expect(await isIn()).toBe(false);
    await platform.taken('POST', `/sidecars/${ids.get('two')}:repair`);
    await eventually('the sidecar is back', isIn);
    await allConnected();
  }, 240_000);

  test('paused, nothing is put right; resumed, it is', async () => {
    const workload = workloads.get('three') as Named;
    const isIn = async () => (await stage.specOf(workload)).includes('"tailscale"');
    await platform.taken('POST', `/tailnets/${SPACE}:pause`);
    await kubernetes.jsonPatch(workload, [{ op: 'remove', path: '/spec/template/spec/initContainers' }], 'paused-edit');
    await stage.pod(SPACE, 'three');
    expect((await tailnet()).paused).toBe(true);
    expect(await isIn()).toBe(false);
    await platform.taken('POST', `/tailnets/${SPACE}:resume`);
    await eventually('the sidecar is back', isIn);
    await allConnected();
  }, 240_000);
});

describe('a manager that is read-only', () => {
  const change = { tags: ['wanted'] };
  const changing: readonly (readonly [method: string, path: string, body?: object])[] = [
    ['PATCH', `/tailnets/${SPACE}`, change],
    ['POST', `/tailnets/${SPACE}:pause`],
    ['PATCH', '/sidecars/two', { config: { accept_routes: false }, allow_rollout: true }],
    ['DELETE', '/sidecars/two'],
    ['DELETE', `/tailnets/${SPACE}?cascade=true`],
  ];
  const asks = (path: string): string => path.replace('/two', `/${ids.get('two')}`);
  const isIn = async (name: string): Promise<boolean> => (await stage.specOf(workloads.get(name) as Named)).includes('"tailscale"');

  test('answers calls that change something with 503, and nothing is changed, nor put right', async () => {
    const before = [await podUids(), await specs(), (await tailnet()).tags];
    await lab(['manager', 'READ_ONLY=true'], { timeoutMs: 120_000 });
    await platform.answers();
    for (const [method, path, body] of changing) {
      const answer = await platform.call(method, asks(path), body);
      expect([method, path, answer]).toMatchObject([
        method,
        path,
        { status: 503, body: { code: 'MANAGER_READ_ONLY', issues: [{ path: 'read_only' }] } },
      ]);
    }
    expect([await podUids(), await specs(), (await tailnet()).tags]).toEqual(before);
    await kubernetes.jsonPatch(workloads.get('one') as Named, [{ op: 'remove', path: '/spec/template/spec/initContainers' }], 'read-only-edit');
    await stage.pod(SPACE, 'one');
    expect(await isIn('one')).toBe(false);
  });

  test('tells what happens all the same', async () => {
    using log = await platform.follow();
    const gone = await stage.pod(SPACE, 'three');
    await kubernetes.deleteAndWait({ apiVersion: 'v1', kind: 'Pod', metadata: { name: gone.metadata.name, namespace: SPACE } });
    const { name } = (await stage.pod(SPACE, 'three')).metadata;
    await log.next('the new pod is connected', ({ event_type, details }) => event_type === 'connected' && details['pod_name'] === name);
    await platform.sidecarReaches(ids.get('three') ?? '', 'connected');
    expect(await isIn('one')).toBe(false);
  });

  test('is an ordinary one again by its setting: the same call works, what waited is put right', async () => {
    await lab(['manager'], { timeoutMs: 120_000 });
    await platform.answers();
    await platform.taken('PATCH', `/tailnets/${SPACE}`, change);
    expect((await tailnet()).tags).toEqual(change.tags);
    await eventually('the sidecar is back', () => isIn('one'));
    await allConnected();
    await eventually('each book has one device', async () => {
      const hostnames = (await customer.control.devices()).map(({ hostname }) => hostname).filter((hostname) => BOOKS.includes(hostname));
      return hostnames.toSorted().join() === BOOKS.toSorted().join();
    });
  }, 180_000);
});
