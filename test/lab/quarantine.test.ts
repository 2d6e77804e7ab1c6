import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lab } from './support/command.ts';
import { type ContainerAddress, exec, HeldConnection, requestFromBook } from './support/containers.ts';
import { ControlClient } from './support/control.ts';
import { type Customer, clientOfSecret, joinGateway } from './support/customer.ts';
import { eventually, throughout } from './support/eventually.ts';
import type { KubernetesObject, PodObject } from './support/kubernetes.ts';
import { book } from './support/manifests.ts';
import { Stage } from './support/stage.ts';

// Connections that stand, and are cut: by a quarantine, and by access that is taken away where no guard cuts. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'held';
const MADE = 'revoked';
const ALLOWED = '10.1.0.11';
const SETTINGS = ['HEARTBEAT_MS=1000', 'NETWORK_POLICY_ENFORCED=true'];

let customer: Customer;
let suspect = '';
let pod: PodObject;

const url = (address: string): string => `http://${address}:8000/`;
const answerOf = async (address: ContainerAddress, at: string): Promise<unknown> => {
  const { status, kind } = await requestFromBook(address, { url: url(at), timeoutMs: 2_000 });
  return status ?? kind;
};
const reached = (address: ContainerAddress, at: string) =>
  eventually(`${address.pod} reaches ${at}`, async () => (await answerOf(address, at)) === 200, { timeoutMs: 60_000 });
const inPod = (container = 'book'): ContainerAddress => ({ namespace: SPACE, pod: pod.metadata.name, container });
const hostnames = async (control: ControlClient): Promise<readonly string[]> => (await control.devices()).map(({ hostname }) => hostname).sort();
const more = (connection: HeldConnection, count = 4): Promise<unknown> => {
  const from = connection.answers;
  return eventually('more answers come', () => connection.answers >= from + count);
};
/** Nothing has come for so long. */
const silent = (connection: HeldConnection, forMs = 3_000) =>
  eventually('the connection is cut', () => performance.now() - connection.lastAtMs > forMs);
const quarantined = async () => {
  const { conditions, instances } = await platform.sidecar(suspect);
  const condition = conditions.find(({ type }: { type: string }) => type === 'Quarantined');
  return condition?.status === 'True' && instances[0]?.guard === 'current';
};

beforeAll(async () => {
  await stage.open();
  await lab(['manager', ...SETTINGS], { timeoutMs: 120_000 });
  await platform.answers();
  customer = await stage.customer({ name: SPACE });
  await stage.space(SPACE, SPACE);
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE });
  for (const name of ['suspect', 'twin']) await stage.book({ name, namespace: SPACE });
  for (const name of ['suspect', 'twin']) await stage.pod(SPACE, name);
  const ids = await Promise.all(['suspect', 'twin'].map((name) => stage.attach(`${SPACE}/${name}`, SPACE)));
  for (const id of ids) await platform.sidecarReaches(id, 'connected');
  suspect = ids[0] ?? '';
  pod = await stage.pod(SPACE, 'suspect');
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('quarantine', () => {
  test('cuts what stands and refuses what is new, while the pod runs and its twin goes on', async () => {
    const twin = await stage.inBook(SPACE, 'twin');
    for (const address of [inPod(), twin]) await reached(address, '10.1.0.10');
    await using held = new HeldConnection(inPod(), { url: url('10.1.0.10'), forMs: 18_000 });
    await using other = new HeldConnection(twin, { url: url('10.1.0.10'), forMs: 18_000 });
    await Promise.all([more(held), more(other)]);

    const fromMs = performance.now();
    const answer = await platform.must('POST', `/sidecars/${suspect}:quarantine`, { reason: 'the lab says so' });
    expect(answer).toMatchObject({ quarantine: { reason: 'the lab says so' } });
    await silent(held);
    process.stderr.write(`lab: quarantine to last answer: ${Math.round(held.lastAtMs - fromMs)} ms\n`);
    await eventually('it is told that it is done', quarantined); // the guard alone cuts what stands, and may be quicker than the control plane
    expect(await hostnames(customer.control)).toEqual(['gateway-held', 'twin']);
    expect(await answerOf(inPod(), '10.1.0.10')).not.toBe(200);
    await more(other);
    expect(await answerOf(twin, '10.1.0.10')).toBe(200);
  });

  test('keeps the pod to be looked at, with a guard that lets nothing out, and nobody in', async () => {
    // Read, not waited for: its tailscale container starts again and again, in vain, so that it is never ready.
    const pods = await kubernetes.pods(SPACE, 'app=suspect');
    expect(pods.map(({ metadata }) => metadata.uid)).toEqual([pod.metadata.uid]);
    expect(pods[0]?.status.containerStatuses?.map(({ restartCount }) => restartCount)).toEqual([0]);
    expect((await exec(inPod(), ['/book', 'cat', '/etc/hostname'])).stdout).toContain('suspect');
    const { stdout } = await exec(inPod('bifrost-guard'), ['ip', '-4', 'rule', 'show']);
    expect(stdout).toMatch(/^5105:\s+from all prohibit$/m);
    expect(stdout).not.toMatch(/^51[123]0:/m);
    expect(await answerOf(inPod(), '10.1.0.10')).toBe('EACCES');
    await throughout('no device comes back', async () => !(await hostnames(customer.control)).includes('suspect'));
    const explained = await platform.must('POST', `/sidecars/${suspect}:explain`, { to: '10.1.0.10' });
    expect(explained).toMatchObject({ explanation: { verdict: 'denied', by: 'quarantine' } });
  });

  test('ends: a pod that starts then joins as another device, and reaches its customer', async () => {
    await platform.must('POST', `/sidecars/${suspect}:readmit`, {});
    await eventually('there is a key again', async () =>
      (await customer.control.keys()).some(({ description }) => description === `bifrost-${suspect}`),
    );
    await kubernetes.deleteAndWait({ apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata });
    pod = await stage.pod(SPACE, 'suspect');
    await platform.sidecarReaches(suspect, 'connected');
    await reached(inPod(), '10.1.0.10');
  });
});

describe('access that is taken away in userspace mode, from a pod that no rollout replaces', () => {
  const denial = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'no-clear-way', namespace: MADE },
    spec: {
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [{ to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.1.0.0/16', '100.64.0.0/10'] } }] }],
    },
  };
  let sidecarId = '';
  let secretName = '';
  let address: ContainerAddress;

  test('is set up: a policy that Bifrost keeps, and a book that reaches two addresses by its proxy', async () => {
    await stage.space(MADE, MADE);
    await kubernetes.apply(denial);
    const config = { allowed_networks: ['10.1.0.0/16'] };
    const { tailnet_id: tailnetId } = await stage.tailnet({ customer_id: MADE, tailnet_name: MADE, tenancy: 'organization', config });
    secretName = `bifrost-tailnet-${tailnetId}`;
    const client = await clientOfSecret(kubernetes, secretName);
    stage.use(await joinGateway(client, { name: MADE, routes: ['10.1.0.0/16'], otherAddresses: [ALLOWED], tags: ['tag:bifrost-router'] }));
    const manifest = book({ name: 'masked', namespace: MADE, image: stage.image });
    const wish = { tailnet_name: MADE, config: { hostname: 'masked', accept_routes: true, network_mode: 'userspace' }, manifest };
    const injected = await platform.must('POST', '/sidecars:inject', wish);
    sidecarId = injected.sidecar_id;
    await kubernetes.create(injected.manifest as KubernetesObject);
    expect(await platform.sidecarReaches(sidecarId, 'connected')).toMatchObject({ network_mode: 'userspace', mode: 'inject' });
    address = await stage.inBook(MADE, 'masked');
    for (const at of ['10.1.0.10', ALLOWED]) await reached(address, at);
  });

  test('cuts what stands: the device is deleted; who joins anew reaches what is left, and not what was taken', async () => {
    const control = stage.use(new ControlClient(await clientOfSecret(kubernetes, secretName)));
    const device = async () => (await control.devices()).find(({ hostname }) => hostname === 'masked')?.nodeId;
    const [before, uid] = [await device(), (await stage.pod(MADE, 'masked')).metadata.uid];
    expect(before).toBeDefined();
    await using held = new HeldConnection(address, { url: url('10.1.0.10'), forMs: 12_000 });
    await more(held);
    const plan = await platform.must('POST', `/tailnets/${MADE}:planUpdate`, { config: { blocked_networks: ['10.1.0.10/32'] } });
    expect(plan).toMatchObject({ rollouts: [], owned_by_creator: [sidecarId] });
    await platform.must('PATCH', `/tailnets/${MADE}`, { config: { blocked_networks: ['10.1.0.10/32'] } });
    await silent(held);
    const joined = await eventually('its pod joins anew', async () => ((await device()) === before ? undefined : device()), { timeoutMs: 90_000 });
    expect(joined).not.toBe(before);
    await reached(address, ALLOWED);
    expect((await stage.pod(MADE, 'masked')).metadata.uid).toBe(uid); // no other pod: its tailscale container has started again
    expect(await answerOf(address, '10.1.0.10')).not.toBe(200);
  });
});
