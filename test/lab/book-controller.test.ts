import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digests, lab } from './support/command.ts';
import { type ContainerAddress, kill, logs, requestFromBook } from './support/containers.ts';
import type { ControlDevice } from './support/control.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { KubectlWatch, kubectl, kubectlApply, kubectlTable } from './support/kubectl.ts';
import { containerStatus, Kubernetes, type KubernetesObject, type Named, type PodObject } from './support/kubernetes.ts';
import { book, namespace } from './support/manifests.ts';
import { bringCustomer } from './support/platform.ts';

// examples/book-controller in its pod, in the network manager's place: everything is asked for with kubectl. Tests build on each other.
const kubernetes = new Kubernetes();
const SPACE = 'book-controller';
const CUSTOMER = 'shelf';
const ours = ['-n', SPACE];

interface BookObject extends KubernetesObject {
  readonly status?: {
    readonly observedGeneration: number;
    readonly connection: string;
    readonly ipAddress?: string;
    readonly reason?: string;
    readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  };
}

let customer: Customer;
let image: string;
const before = new Map<string, unknown>();

const named = (name: string): Named => ({ apiVersion: 'platform.example.dev/v1alpha1', kind: 'Book', metadata: { name, namespace: SPACE } });
const deploymentOf = (name: string): Named => ({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: SPACE } });
const applyBook = (name: string, spec: object = {}): Promise<string> =>
  kubectlApply({ ...named(name), spec: { hostname: name, network: { allowedNetworks: ['10.0.0.0/8'] }, ...spec } });
const statusOf = async (name: string): Promise<BookObject['status']> => (await kubernetes.get<BookObject>(named(name)))?.status;
const waitFor = (name: string, what: string, seconds = 90): Promise<string> =>
  kubectl(['wait', ...ours, `book/${name}`, `--for=${what}`, `--timeout=${seconds}s`], { timeoutMs: (seconds + 10) * 1000 });
const specOf = async (name: string): Promise<unknown> => (await kubernetes.get<KubernetesObject>(deploymentOf(name)))?.['spec'];
const devicesOf = async (hostname: string): Promise<readonly ControlDevice[]> =>
  (await customer.control.devices()).filter((device) => device.hostname === hostname);

const inPod = async (name: string, container = 'book'): Promise<ContainerAddress> => {
  const [pod] = await kubernetes.readyPods(SPACE, `app=${name}`, { timeoutMs: 90_000 });
  return { namespace: SPACE, pod: pod?.metadata.name ?? '', container };
};
const controllerPod = async (): Promise<PodObject> => {
  const [pod] = await kubernetes.pods('bifrost', 'app.kubernetes.io/name=book-controller');
  if (!pod) throw new Error('the controller has no pod');
  return pod;
};
const restarts = async (): Promise<number> => containerStatus(await controllerPod(), 'book-controller')?.restartCount ?? 0;
const killController = async (): Promise<void> =>
  kill({ namespace: 'bifrost', pod: (await controllerPod()).metadata.name, container: 'book-controller' });

async function addDeployment(name: string): Promise<void> {
  await kubernetes.apply(book({ name, namespace: SPACE, image }));
  await kubernetes.readyPods(SPACE, `app=${name}`);
  before.set(name, await specOf(name));
}

/** What Bifrost has made for this customer and not taken away. */
const made = async () => ({
  devices: (await customer.control.devices()).filter(({ tags }) => tags?.includes('tag:bifrost-book')).map(({ hostname }) => hostname),
  keys: (await customer.control.keys()).filter(({ description }) => description?.startsWith('bifrost-')).length,
  secrets: (await kubernetes.list('v1', 'Secret', { namespace: SPACE, labels: 'app.kubernetes.io/managed-by=bifrost' })).length,
  tailnets: (await kubernetes.list('network.bifrost.dev/v1alpha1', 'Tailnet')).map(({ metadata }) => metadata.name),
  attachments: (await kubernetes.list('network.bifrost.dev/v1alpha1', 'SidecarAttachment')).map(({ metadata }) => metadata.name),
});
const NOTHING = { devices: [], keys: 0, secrets: 0, tailnets: [], attachments: [] };

beforeAll(async () => {
  await lab(['book-controller'], { timeoutMs: 150_000 });
  customer = await bringCustomer(kubernetes, { customerId: CUSTOMER, name: CUSTOMER });
  await kubernetes.apply(namespace(SPACE, CUSTOMER));
  image = (await digests())['book'] ?? '';
  await Promise.all(['support', 'sales', 'lone'].map(addDeployment));
}, 240_000);

afterAll(async () => {
  await kubernetes.deleteAndWait({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: SPACE } }, { timeoutMs: 90_000 });
  await customer?.control.deleteTailnet();
  await customer?.[Symbol.asyncDispose]();
  await kubernetes.delete({ apiVersion: 'v1', kind: 'Secret', metadata: { name: `bifrost-customer-${CUSTOMER}`, namespace: 'bifrost' } });
  // The network manager takes its place again.
  await lab(['manager'], { timeoutMs: 150_000 });
  await kubectl([
    'delete',
    'customresourcedefinition/books.platform.example.dev',
    'clusterrole/book-controller',
    'clusterrolebinding/book-controller',
  ]);
  await kubernetes[Symbol.asyncDispose]();
}, 300_000);

describe('the controller', () => {
  test('is the only manager, on real adapters', async () => {
    const said = await logs({ namespace: 'bifrost', pod: (await controllerPod()).metadata.name, container: 'book-controller' });
    const up = said.split('\n').find((line) => line.includes('book controller is up'));
    expect(JSON.parse(up ?? '{}')).toMatchObject({ cluster: 'kubernetes', store: 'kubernetes', controlPlane: 'tailscale' });
    expect(await kubernetes.pods('bifrost', 'app.kubernetes.io/component=network-manager')).toEqual([]);
  });

  test('says why a Book cannot be connected, and lets it go again with all that was made', async () => {
    await applyBook('nowhere');
    await waitFor('nowhere', 'jsonpath={.status.reason}=WORKLOAD_NOT_FOUND');
    expect(await statusOf('nowhere')).toMatchObject({
      observedGeneration: 1,
      connection: 'none',
      conditions: [{ type: 'Attached', status: 'False' }, {}],
    });
    await kubectl(['delete', ...ours, 'book/nowhere', '--timeout=60s'], { timeoutMs: 70_000 });
    expect(await made()).toEqual(NOTHING);
  });

  test('connects a Book whose Deployment comes later, and again when another one comes; the twin without a Book stays as it is', async () => {
    await applyBook('late');
    for (const time of ['first', 'second']) {
      await waitFor('late', 'jsonpath={.status.connection}=none');
      await waitFor('late', 'jsonpath={.status.reason}=WORKLOAD_NOT_FOUND');
      await kubernetes.apply(book({ name: 'late', namespace: SPACE, image }));
      // The first time it would by itself be looked at after a minute: only the watch is so quick.
      await eventually(`it is attached, the ${time} time`, async () => (await made()).attachments.length === 1);
      await waitFor('late', 'condition=Connected');
      const address = await inPod('late');
      await eventually('the page', async () => (await requestFromBook(address, { url: customer.pageUrl })).body === customer.page);
      await kubernetes.deleteAndWait(deploymentOf('late'), { timeoutMs: 60_000 });
    }
    await kubectl(['delete', ...ours, 'book/late', '--timeout=60s'], { timeoutMs: 70_000 });
    expect(await made()).toEqual(NOTHING);
    expect(await specOf('lone')).toEqual(before.get('lone'));
  }, 240_000);
});

describe('a Book', () => {
  test('is connected: its pod gets the customer’s page, and the status tells its address', async () => {
    expect((await requestFromBook(await inPod('support'), { url: customer.pageUrl })).status).toBeUndefined();
    await applyBook('support');
    await waitFor('support', 'condition=Connected');
    const address = await inPod('support');
    await eventually('the page', async () => (await requestFromBook(address, { url: customer.pageUrl })).body === customer.page);
    const status = await eventually('nothing is wrong', async () => {
      const now = await statusOf('support');
      return now?.reason === undefined ? now : undefined;
    });
    expect(status).toMatchObject({ observedGeneration: 1, connection: 'connected', ipAddress: expect.stringMatching(/^100\./) });
    expect((await devicesOf('support')).flatMap(({ addresses }) => addresses)).toContain(status.ipAddress);
    expect(await kubectlTable(['books', ...ours])).toEqual([
      {
        NAME: 'support',
        CUSTOMER: CUSTOMER,
        CONNECTION: 'connected',
        ADDRESS: status.ipAddress,
        REASON: '',
        AGE: expect.stringMatching(/^\d+m?\d*s?/),
      },
    ]);
  });

  test('whose routes change follows, and comes back; its hostname cannot be changed', async () => {
    for (const [at, acceptRoutes] of [false, true].entries()) {
      await applyBook('support', { acceptRoutes });
      await waitFor('support', `jsonpath={.status.observedGeneration}=${at + 2}`);
      await eventually(`the page is ${acceptRoutes ? 'there' : 'not there'}`, async () => {
        const answer = await requestFromBook(await inPod('support'), { url: customer.pageUrl });
        return (answer.body === customer.page) === acceptRoutes;
      });
      await waitFor('support', 'condition=Connected');
    }
    await expect(applyBook('support', { hostname: 'another' })).rejects.toThrow('cannot be changed');
    // Of a pod that was replaced it goes once the manager has heard that the pod is gone.
    await eventually('it has one device', async () => (await devicesOf('support')).length === 1);
  }, 180_000);

  test('says that its tailscaled died, and why, and that it is back', async () => {
    const columns = 'jsonpath={.status.connection} {.status.reason}{"\\n"}';
    await using watch = new KubectlWatch(['book/support', ...ours, '-o', columns]);
    await watch.printed('all is well', (line) => line === 'connected ');
    const tailscale = await inPod('support', 'tailscale');
    await eventually('the status tells that the pod is at fault', async () => {
      if (watch.lines.includes('disconnected pod')) return true;
      // The kubelet may be quicker than the news. Only one that is up is killed again: containerboot waits a minute for a tailscaled that died too early.
      const [pod] = await kubernetes.pods(SPACE, 'app=support');
      if (pod !== undefined && containerStatus(pod, 'tailscale')?.ready) await kill(tailscale, 'tailscaled').catch(() => {});
      return false;
    });
    const from = watch.lines.indexOf('disconnected pod');
    await watch.printed('all is well again', (line) => line === 'connected ', { from, timeoutMs: 80_000 });
    const address = await inPod('support');
    await eventually('the page', async () => (await requestFromBook(address, { url: customer.pageUrl })).body === customer.page);
    expect(await devicesOf('support')).toHaveLength(1);
  }, 150_000);

  test('is connected all the same, and once, when the controller is killed meanwhile', async () => {
    const killed = await restarts();
    await applyBook('sales');
    await eventually('Bifrost has begun', async () => (await made()).attachments.length === 2, { intervalMs: 50 });
    await killController();
    await waitFor('sales', 'condition=Connected');
    await eventually('the kubelet tells that it started again', async () => (await restarts()) > killed);
    expect(await restarts()).toBe(killed + 1);
    await eventually('one device and one key each', async () => {
      const { devices, keys, secrets } = await made();
      return devices.toSorted().join() === 'sales,support' && keys === 2 && secrets === 2;
    });
    const address = await inPod('sales');
    await eventually('the page', async () => (await requestFromBook(address, { url: customer.pageUrl })).body === customer.page);
    await waitFor('support', 'condition=Connected');
  }, 150_000);

  test('deleted while the controller is killed leaves nothing; the customer’s other one stays connected', async () => {
    await kubectl(['delete', ...ours, 'book/sales', '--wait=false']);
    await waitFor('sales', 'jsonpath={.status.connection}=detaching', 30);
    await killController();
    await kubectl(['wait', ...ours, 'book/sales', '--for=delete', '--timeout=120s'], { timeoutMs: 130_000 });
    expect(await specOf('sales')).toEqual(before.get('sales'));
    expect(await made()).toEqual({
      devices: ['support'],
      keys: 1,
      secrets: 1,
      tailnets: [CUSTOMER],
      attachments: [expect.stringContaining('support')],
    });
    const address = await inPod('support');
    await eventually('the page', async () => (await requestFromBook(address, { url: customer.pageUrl })).body === customer.page);
  }, 180_000);

  test('the last one takes the tailnet along: nothing is left, and its Deployment is what it was', async () => {
    await kubectl(['delete', ...ours, 'book/support', '--timeout=120s'], { timeoutMs: 130_000 });
    expect(await made()).toEqual(NOTHING);
    expect(await specOf('support')).toEqual(before.get('support'));
    const address = await inPod('support');
    expect((await requestFromBook(address, { url: customer.pageUrl })).status).toBeUndefined();
  }, 150_000);
});
