import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ContainerAddress, exec, HeldConnection, kill, logs, lookupFromBook, requestFromBook } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { eventually, throughout } from './support/eventually.ts';
import { containerStatus, type PodObject } from './support/kubernetes.ts';
import { Stage } from './support/stage.ts';

// A changed configuration in running pods: real guards, real tailscaled, packets. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'guard';
const BOOK = 'steady';
const TWIN = '10.1.0.11';
const ORDER_FILE = '/var/run/bifrost/guard-order/order';

let customer: Customer;
let sidecarId = '';
let before: PodObject;

const url = (address: string): string => `http://${address}:8000/`;
const inPod = (container = 'book'): ContainerAddress => ({ namespace: SPACE, pod: before.metadata.name, container });
const answerOf = async (address: string): Promise<unknown> => {
  const answer = await requestFromBook(inPod(), { url: url(address), timeoutMs: 2_000 });
  return answer.status ?? answer.kind;
};
const reaches = (address: string) => eventually(`the book reaches ${address}`, async () => (await answerOf(address)) === 200);
const more = (connection: HeldConnection, count = 4): Promise<unknown> => {
  const from = connection.answers;
  return eventually('more answers come', () => connection.answers >= from + count);
};
const configure = (config: object) =>
  platform.must('PATCH', `/tailnets/${SPACE}`, { config, update_mask: `config.${Object.keys(config).join(',config.')}` });
const condition = async () => {
  const { conditions } = await platform.must('GET', `/tailnets/${SPACE}`);
  return conditions.find(({ type }: { type: string }) => type === 'GuardsCurrent');
};
/** What our pod's agent says of its guard; one that is gone may be told of for a moment more. */
const guardOf = async (): Promise<unknown> => {
  const { instances } = await platform.sidecar(sidecarId);
  return instances.find(({ pod_uid }: { pod_uid: string }) => pod_uid === before.metadata.uid)?.guard;
};
/** Everybody says that it holds, the instance and its tailnet. */
const isHeld = () => eventually('the configuration is held', async () => (await guardOf()) === 'current' && (await condition())?.status === 'True');
const rules = async (): Promise<string> => {
  const shown = await Promise.all(['-4', '-6'].map((family) => exec(inPod('tailscale'), ['ip', family, 'rule', 'show'])));
  return shown.map(({ stdout }) => stdout).join('');
};
/** What the agent may do to its guard, done in its place. */
const asAgent = (script: string) => exec(inPod('bifrost-agent'), ['/nodejs/bin/node', '-e', script]);
const writeOrder = async (text: string): Promise<void> => {
  const file = JSON.stringify(ORDER_FILE);
  const { code, stderr } = await asAgent(
    `fs.writeFileSync(${file} + '.by-hand', ${JSON.stringify(text)}); fs.renameSync(${file} + '.by-hand', ${file})`,
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
};

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: SPACE, routes: ['10.0.0.0/8'], otherAddresses: [TWIN] });
  await customer.control.setPolicy({
    tagOwners: { 'tag:gateway': [], 'tag:bifrost-book': [] },
    grants: [{ src: ['tag:bifrost-book'], dst: ['10.1.0.0/24'], ip: ['tcp:8000'] }],
  });
  await stage.space(SPACE, SPACE);
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE });
  await stage.book({ name: BOOK, namespace: SPACE });
  await stage.pod(SPACE, BOOK);
  sidecarId = await stage.attach(`${SPACE}/${BOOK}`, SPACE);
  await platform.sidecarReaches(sidecarId, 'connected');
  before = await stage.pod(SPACE, BOOK);
  for (const address of ['10.1.0.10', TWIN]) await reaches(address);
});
afterAll(() => stage[Symbol.asyncDispose]());

/** The same pod, and none of its containers has started again. */
const isUntouched = async (): Promise<void> => {
  const { metadata, status } = await stage.pod(SPACE, BOOK);
  expect(metadata.uid).toBe(before.metadata.uid);
  const counts = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].map(({ name, restartCount }) => [name, restartCount]);
  expect(counts.filter(([, count]) => count !== 0)).toEqual([]);
};

describe('a configuration that changes', () => {
  test('needs no new pods, which the plan says', async () => {
    const plan = await platform.must('POST', `/tailnets/${SPACE}:planUpdate`, { config: { blocked_networks: ['10.1.0.10/32'] } });
    expect(plan).toMatchObject({ changes: ['config.blocked_networks'], rollouts: [], owned_by_creator: [] });
    await isHeld();
  });

  test('blocks in the running pod: nothing new gets there, what stands stalls, its twin goes on; and when it is allowed again, so does it', async () => {
    await using held = new HeldConnection(inPod(), { url: url('10.1.0.10'), forMs: 45_000 });
    await using twin = new HeldConnection(inPod(), { url: url(TWIN), forMs: 45_000 });
    await Promise.all([more(held), more(twin)]);

    const fromMs = performance.now();
    await configure({ blocked_networks: ['10.1.0.10/32'] });
    await eventually('the blocked address is refused at once', async () => (await answerOf('10.1.0.10')) === 'EACCES', { intervalMs: 50 });
    process.stderr.write(`lab: block to refused: ${Math.round(performance.now() - fromMs)} ms\n`);
    await isHeld();
    const stalledAt = held.answers;
    await more(twin, 8);
    expect(held.answers).toBe(stalledAt);
    expect(await answerOf(TWIN)).toBe(200);
    expect(await answerOf('10.1.0.10')).toBe('EACCES');

    await configure({ blocked_networks: [] });
    await reaches('10.1.0.10');
    await more(held);
    await more(twin);
    await isUntouched();
  }, 150_000);

  test('allows less, also of what stands, and refuses in clear what is no longer for the tunnel only where the access policy says so', async () => {
    await using held = new HeldConnection(inPod(), { url: url('10.1.0.10'), forMs: 45_000 });
    await using twin = new HeldConnection(inPod(), { url: url(TWIN), forMs: 45_000 });
    await Promise.all([more(held), more(twin)]);

    await configure({ allowed_networks: [`${TWIN}/32`] });
    await eventually('what is not allowed any more is not reached', async () => (await answerOf('10.1.0.10')) !== 200);
    await isHeld();
    const stalledAt = held.answers;
    await more(twin, 8);
    expect(held.answers).toBe(stalledAt);
    expect(await answerOf(TWIN)).toBe(200);

    await configure({ access_policy: 'permissive' });
    await reaches('10.1.0.10');
    await more(held);
    await configure({ allowed_networks: ['10.0.0.0/8'], access_policy: 'restrictive' });
    await isHeld();
    await reaches('10.1.0.10');
    await Promise.all([more(held), more(twin)]);
    await isUntouched();
  }, 150_000);
});

describe('the guard', () => {
  test('takes no garbage of its agent, and the agent cannot say what it holds', async () => {
    const stood = await rules();
    await writeOrder('bifrost-guard 1 0123456789abcdef 2\npolicy permissive\nallow 10.96.0.0/12; ip rule flush\n');
    await eventually('it says that it refused', async () => (await logs(inPod('bifrost-guard'))).includes('refused an order'));
    await writeOrder('bifrost-guard 1 fedcba9876543210 2\npolicy restrictive\nallow 10.0.0.300/8\n');
    await throughout('its rules are what they were', async () => (await rules()) === stood);
    const forged = await asAgent("fs.writeFileSync('/var/run/bifrost/guard/holds', '0123456789abcdef')");
    expect(forged.stderr).toContain('EROFS');
    expect(await answerOf('10.1.0.10')).toBe(200);
  });

  test('in quarantine lets nothing out but to the cluster, in the same pod; the manager’s next word ends it', async () => {
    // While it is paused the manager says nothing: else its next word may come before the book has asked twice.
    await platform.must('POST', `/tailnets/${SPACE}:pause`);
    await writeOrder('bifrost-guard 1 00000000000000ff 1\npolicy quarantine\n');
    await eventually('nothing is reached', async () => (await answerOf('10.1.0.10')) === 'EACCES' && (await answerOf(TWIN)) === 'EACCES');
    expect((await lookupFromBook(inPod(), 'kubernetes.default.svc.cluster.local')).addresses).toHaveLength(1);
    await eventually('its agent says that it holds something else', async () => (await guardOf()) === 'outdated');
    await platform.must('POST', `/tailnets/${SPACE}:resume`);
    await isHeld(); // the agent is told again
    await reaches('10.1.0.10');
    await isUntouched();
  });

  test('killed, it leaves its rules and starts again with what was ordered last, not with what it was rendered for', async () => {
    await configure({ blocked_networks: ['10.1.0.10/32'] });
    await isHeld();
    const stood = await rules();
    await kill(inPod('bifrost-guard'));
    await eventually('it runs again', async () => {
      expect(await rules()).toBe(stood);
      const [pod] = await kubernetes.pods(SPACE, `app=${BOOK}`);
      const status = pod && containerStatus(pod, 'bifrost-guard');
      return status?.ready === true && status.restartCount === 1;
    });
    expect([await rules(), await answerOf('10.1.0.10'), await answerOf(TWIN)]).toEqual([stood, 'EACCES', 200]);
    await configure({ blocked_networks: [] });
    await reaches('10.1.0.10');
    expect((await stage.pod(SPACE, BOOK)).metadata.uid).toBe(before.metadata.uid);
  });

  test('of a new pod, whose fragment is older than the configuration, gets it before the book is ready', async () => {
    await configure({ blocked_networks: ['10.1.0.10/32'] });
    await isHeld();
    await kubernetes.deleteAndWait({ apiVersion: 'v1', kind: 'Pod', metadata: before.metadata });
    before = await stage.pod(SPACE, BOOK);
    await platform.sidecarReaches(sidecarId, 'connected');
    await isHeld();
    expect([await answerOf('10.1.0.10'), await answerOf(TWIN)]).toEqual(['EACCES', 200]);
  });
});
