import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capture } from './support/capture.ts';
import { digests } from './support/command.ts';
import { type ContainerAddress, cut, exec, kill, logs, lookupFromBook, requestFromBook, requestFromCustomer } from './support/containers.ts';
import { ControlClient } from './support/control.ts';
import { type Customer, createTailnetByHand, joinGateway } from './support/customer.ts';
import { eventually, throughout } from './support/eventually.ts';
import { Kubernetes, type PodObject } from './support/kubernetes.ts';
import { book, namespace, service } from './support/manifests.ts';
import { sidecarByHand } from './support/sidecar-by-hand.ts';

// The lab by itself, with sidecars written by hand: what the tests of Bifrost stand on.
const kubernetes = new Kubernetes();
const space = 'lab-itself';
const customers = new Map<string, Customer>();
let images: Readonly<Record<string, string>>;

const podOf = async (name: string): Promise<PodObject> => {
  const [pod] = await kubernetes.readyPods(space, `app=${name}`);
  if (!pod) throw new Error(`no pod of ${name}`);
  return pod;
};
const bookOf = async (name: string): Promise<ContainerAddress> => ({ namespace: space, pod: (await podOf(name)).metadata.name, container: 'book' });
const customer = (name: string): Customer => {
  const found = customers.get(name);
  if (!found) throw new Error(`no customer ${name}`);
  return found;
};

async function bringCustomer(name: string): Promise<void> {
  const client = await createTailnetByHand(`itself-${name}`);
  await using control = new ControlClient(client);
  await control.setPolicy({
    tagOwners: { 'tag:gateway': [], 'tag:book': [] },
    grants: [{ src: ['tag:book'], dst: ['10.1.0.0/24'], ip: ['tcp:8000'] }],
  });
  const joined = await joinGateway(client, { name, routes: ['10.0.0.0/8'] });
  customers.set(name, joined);
  const { key } = await joined.control.createKey({ tags: ['tag:book'], ephemeral: true });
  const podSpec = sidecarByHand({ image: images['tailscale'] ?? '', key, hostname: `book-${name}` });
  await kubernetes.apply(book({ name: `book-${name}`, namespace: space, image: images['book'] ?? '', podSpec }));
}

const pageReached = async (name: string): Promise<boolean> =>
  (await requestFromBook(await bookOf(`book-${name}`), { url: customer(name).pageUrl })).status === 200;

beforeAll(async () => {
  images = await digests();
  await kubernetes.apply(namespace(space, 'the-lab'));
  await kubernetes.apply(book({ name: 'plain', namespace: space, image: images['book'] ?? '' }));
  await kubernetes.apply(service('plain', space));
  await Promise.all(['one', 'two'].map(bringCustomer));
  await Promise.all(['one', 'two'].map((name) => eventually(`book-${name} reaches its customer`, () => pageReached(name), { timeoutMs: 60_000 })));
}, 180_000);

afterAll(async () => {
  await kubernetes.deleteAndWait({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: space } }, { timeoutMs: 60_000 });
  for (const joined of customers.values()) {
    await joined.control.deleteTailnet();
    await joined[Symbol.asyncDispose]();
  }
  await kubernetes[Symbol.asyncDispose]();
}, 90_000);

describe('a container', () => {
  test('runs from an image named by digest, and a command in it gives output and exit code', async () => {
    const address = await bookOf('plain');
    expect((await podOf('plain')).spec['containers']).toMatchObject([
      { image: expect.stringMatching(/^docker\.io\/lab\/book@sha256:[0-9a-f]{64}$/) },
    ]);
    expect(await exec(address, ['/book', 'cat', '/nowhere'])).toMatchObject({ code: 1, stderr: expect.stringContaining('/nowhere') });
    expect(await exec(address, ['/book', 'cat', '/proc/self/status'])).toMatchObject({ code: 0, stdout: expect.stringContaining('Uid:\t65532') });
  });

  test('resolves a Service by name and reaches it', async () => {
    const address = await bookOf('plain');
    expect(await lookupFromBook(address, `plain.${space}.svc.cluster.local`)).toMatchObject({ addresses: [expect.stringMatching(/^10\.96\./)] });
    expect(await lookupFromBook(address, 'nothing.example')).toMatchObject({ kind: expect.stringMatching(/ENOTFOUND|ETIMEDOUT|EOTHER/) });
    await eventually(
      'the Service answers',
      async () => (await requestFromBook(address, { url: `http://plain.${space}.svc.cluster.local:8080/` })).body === 'book plain',
    );
  });
});

describe('two customers with the same private address', () => {
  test.each(['one', 'two'])('book of %s gets its own customer’s page, on the granted port only', async (name) => {
    const address = await bookOf(`book-${name}`);
    expect(await requestFromBook(address, { url: customer(name).pageUrl })).toMatchObject({ status: 200, body: `private network of ${name}` });
    expect(await requestFromBook(address, { url: customer(name).otherPortUrl, timeoutMs: 1_000 })).toMatchObject({ kind: 'ETIMEDOUT' });
  });

  test('a book without a sidecar reaches neither', async () => {
    expect((await requestFromBook(await bookOf('plain'), { url: 'http://10.1.0.10:8000/', timeoutMs: 1_000 })).status).toBeUndefined();
  });

  test('with 10/8 accepted, Services still answer, and so does the book to a caller in 10/8 outside the pods’ range only if its guard says so', async () => {
    expect(await requestFromBook(await bookOf('book-one'), { url: `http://plain.${space}.svc.cluster.local:8080/` })).toMatchObject({
      body: 'book plain',
    });
    const url = (pod: PodObject): string => `http://${pod.status.podIP}:8080/client`;
    expect(await requestFromCustomer('one', { url: url(await podOf('plain')) })).toMatchObject({
      status: 200,
      body: expect.stringMatching(/^10\.245\./),
    });
    expect(await requestFromCustomer('one', { url: url(await podOf('book-one')), timeoutMs: 1_000 })).toMatchObject({ kind: 'ETIMEDOUT' });
  });
});

describe('the wire', () => {
  test('shows WireGuard and never the request; a request that is in clear is seen', async () => {
    const sidecar = await bookOf('book-one');
    const secret = `page-${crypto.randomUUID()}`;
    const { result, capture: tunnelled } = await capture(() => requestFromBook(sidecar, { url: `${customer('one').pageUrl}client?${secret}` }));
    expect(result.status).toBe(200);
    expect(tunnelled.wireGuard.length).toBeGreaterThan(4);
    expect(tunnelled.contains(secret)).toBe(false);
    const plain = await podOf('plain');
    const { capture: clear } = await capture(() => requestFromBook(sidecar, { url: `http://${plain.status.podIP}:8080/client?${secret}` }));
    expect(clear.contains(secret)).toBe(true);
  });

  test('of one pod can be cut without its DNS, and mended', async () => {
    const address = await bookOf('book-one');
    {
      await using _cut = await cut(space, address.pod);
      expect((await requestFromBook(address, { url: customer('one').pageUrl })).status).toBeUndefined();
      expect(await requestFromBook(address, { url: `http://plain.${space}.svc.cluster.local:8080/` })).toMatchObject({ status: 200 });
      expect(await requestFromBook(address, { url: 'http://10.244.0.1:9911/key?v=130' })).toMatchObject({ status: 200 });
      expect(await pageReached('two')).toBe(true);
      await throughout('the pod stays ready', async () => (await podOf('book-one')).metadata.name === address.pod, { timeoutMs: 4_000 });
    }
    await eventually('the page is back', () => pageReached('one'), { timeoutMs: 60_000 });
  });

  test('carries nothing while tailscaled is dead: the request is refused at once; then it comes back', async () => {
    const address = await bookOf('book-two');
    const restarts = async () => (await podOf('book-two')).status.initContainerStatuses?.find(({ name }) => name === 'tailscale')?.restartCount ?? 0;
    const before = await restarts();
    await kill({ ...address, container: 'tailscale' }, 'tailscaled');
    expect(await requestFromBook(address, { url: customer('two').pageUrl, timeoutMs: 1_000 })).toMatchObject({ kind: 'EACCES' });
    await eventually('the page is back', () => pageReached('two'), { timeoutMs: 60_000 });
    expect(await restarts()).toBe(before + 1);
    expect(await logs({ ...address, container: 'tailscale' })).toContain('Startup complete');
    expect(await customer('two').control.devices()).toHaveLength(2);
  });
});
