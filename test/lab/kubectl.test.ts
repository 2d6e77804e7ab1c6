import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requestFromBook } from './support/containers.ts';
import { ControlClient, type ControlDevice, plantFault } from './support/control.ts';
import { type Customer, clientOfSecret } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { kubectl, kubectlApply, kubectlTable } from './support/kubectl.ts';
import type { KubernetesObject, Named } from './support/kubernetes.ts';
import { putSecret } from './support/platform.ts';
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
const devices = async (book = 'web'): Promise<readonly ControlDevice[]> =>
  (await customer.control.devices()).filter(({ hostname }) => hostname === book);
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
    const own = {
      tailnet_id: expect.any(String),
      tailnet_name: expect.any(String),
      created_at: expect.any(String),
      conditions: expect.any(Array),
      etag: expect.any(String),
    };
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
      { NAME: TAILNET, CUSTOMER, STATUS: 'active', READY: 'True', AGE: expect.stringMatching(/^\d+s/) },
    ]);
  });
});

describe('a Tailnet that the API server lets in and a call would refuse', () => {
  interface Judged extends KubernetesObject {
    readonly status: { readonly conditions: readonly { readonly type: string; readonly observedGeneration: number }[] };
  }
  const name = 'refused';
  /** Applies these allowed networks, and gives the conditions that speak of what was applied. */
  const judged = async (allowedNetworks: readonly string[]) => {
    await applyTailnet(name, { config: { ...config, allowedNetworks } });
    const tailnet = { apiVersion: 'network.bifrost.dev/v1alpha1', kind: 'Tailnet', metadata: { name } };
    return kubernetes.waitFor<Judged, Readonly<Record<string, unknown>>>(tailnet, 'it is judged as it stands', ({ metadata, status }) => {
      const { Accepted, Ready } = Object.fromEntries(status.conditions.map((condition) => [condition.type, condition]));
      return [Accepted, Ready].every((each) => each?.observedGeneration === metadata.generation) && { Accepted, Ready, ...metadata };
    });
  };

  test('says so in its condition, of that generation, until it is corrected', async () => {
    // A range for the API server's isCIDR; a call also refuses bits beyond the prefix.
    const refused = await judged(['10.1.2.3/16']);
    expect(refused).toMatchObject({
      generation: 1,
      Accepted: { status: 'False', reason: 'INVALID_ARGUMENT', message: expect.stringContaining('config.allowedNetworks'), observedGeneration: 1 },
      Ready: { status: 'False', reason: 'INVALID_ARGUMENT' },
    });
    expect(await kubectlTable([`tailnet/${name}`])).toMatchObject([{ STATUS: 'failed', ACCEPTED: 'False', READY: 'False' }]);
    expect(await judged(['10.1.0.0/16'])).toMatchObject({ generation: 2, Accepted: { status: 'True', reason: 'Accepted', observedGeneration: 2 } });
    await platform.tailnetReaches(name, 'active');
    await deleted(`tailnet/${name}`);
  });
});

describe('a sidecar', () => {
  test('is shown with its tailnet, its workload and how it stands', async () => {
    sidecarId = await stage.attach(`${SPACE}/web`, TAILNET);
    await platform.sidecarReaches(sidecarId, 'connected', 80_000);
    // What is shown is the record, which is written a moment after the manager has heard.
    await kubectl(['wait', 'sidecarattachment/deployment-web', '-n', SPACE, '--for=condition=Ready', '--timeout=30s']);
    expect(await kubectlTable(['sidecarattachments', '-n', SPACE])).toMatchObject([{ TAILNET, WORKLOAD: 'web', STATUS: 'connected', READY: 'True' }]);
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

  test('follows an edit of its tailnet in the pods that run, which is said', async () => {
    const blocking = { ...config, blockedNetworks: [...config.blockedNetworks, '10.1.0.0/24'] };
    const [before, template] = [await stage.pod(SPACE, 'web'), await stage.specOf(web)];
    const answer = async () => (await requestFromBook(await stage.inBook(SPACE, 'web'), { url: customer.pageUrl })).kind;
    await applyTailnet(TAILNET, { config: blocking });
    await eventually('the page is refused', async () => (await answer()) === 'EACCES');
    await kubectl(['wait', `tailnet/${TAILNET}`, '--for=condition=GuardsCurrent', '--timeout=60s'], { timeoutMs: 65_000 });
    await applyTailnet(TAILNET, { config });
    await stage.reaches(await stage.inBook(SPACE, 'web'), customer);
    expect([(await stage.pod(SPACE, 'web')).metadata.uid, await stage.specOf(web)]).toEqual([before.metadata.uid, template]);
    expect(await kubectl(['get', `tailnet/${TAILNET}`, '-o', 'jsonpath={.status.conditions[*].type}'])).not.toContain('RolloutPending');
  }, 180_000);

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

describe('a Deployment', () => {
  test('that is deleted while it is attached takes its sidecar along: nothing is left of it', async () => {
    const before = await look();
    await stage.book({ name: 'brief', namespace: SPACE });
    await stage.pod(SPACE, 'brief');
    const brief = await stage.attach(`${SPACE}/brief`, TAILNET);
    await platform.sidecarReaches(brief, 'connected', 80_000);
    expect(await devices('brief')).toHaveLength(1);
    expect(await look()).not.toEqual(before);
    await deleted('deployment/brief', '-n', SPACE);
    await platform.sidecarReaches(brief, 'gone');
    expect(await look()).toEqual(before);
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  }, 180_000);
});

// With credentials that work each goes by itself: 'a Tailnet that is applied ...' above and 'a namespace' below.
describe('dead credentials', () => {
  const OURS = 'kubectl-ours';
  const LOST = 'kubectl-lost';
  const SECRET = { namespace: 'bifrost', name: `bifrost-customer-${CUSTOMER}` };
  const reasonOf = (...object: string[]): Promise<string> => kubectl(['get', ...object, '-o', 'jsonpath={.status.phase} {.status.reason.code}']);
  const waits = (...object: string[]) =>
    eventually(`${object[0]} says why it waits`, async () => /^(deleting|detaching) CONTROL_CREDENTIALS_INVALID$/.test(await reasonOf(...object)));
  const abandon = (...object: string[]) => kubectl(['patch', ...object, '--type=merge', '-p', '{"spec":{"abandon":true}}']);

  test('hold up the namespace of an attached book, until that is abandoned; then it goes, and what nobody could take away is left', async () => {
    await stage.space(LOST, CUSTOMER);
    await stage.book({ name: 'lost', namespace: LOST });
    await stage.pod(LOST, 'lost');
    const lost = await stage.attach(`${LOST}/lost`, TAILNET);
    await platform.sidecarReaches(lost, 'connected', 80_000);
    const client = await clientOfSecret(kubernetes, SECRET.name);
    const [device] = await devices('lost');
    await putSecret(kubernetes, SECRET, { ...client, secret: 'tskey-client-gone' });
    try {
      const object = ['sidecarattachment/deployment-lost', '-n', LOST];
      await kubectl(['delete', `namespace/${LOST}`, '--wait=false']);
      await waits(...object);
      expect(await kubectl(['get', ...object, '-o', 'jsonpath={.metadata.finalizers}'])).toContain('bifrost');
      await abandon(...object);
      await platform.sidecarReaches(lost, 'gone');
      // Before the namespace is, which takes its time: the control server itself collects a device half a minute after its pod has ended.
      expect(await devices('lost')).toMatchObject([{ nodeId: device?.nodeId }]);
      await customer.control.deleteDevice(device?.nodeId ?? '');
      await kubectl(['wait', `namespace/${LOST}`, '--for=delete', '--timeout=60s'], { timeoutMs: 70_000 });
    } finally {
      await putSecret(kubernetes, SECRET, client);
    }
    const [key] = (await customer.control.keys()).filter(({ description }) => description === `bifrost-${lost}`);
    expect(key).toBeDefined();
    await customer.control.must('DELETE', `/tailnet/-/keys/${key?.id}`);
  }, 180_000);

  /** A tailnet that Bifrost made, whose own client is dead; gives the one that it had. */
  const madeAndLost = async (): Promise<ControlClient> => {
    await applyTailnet(OURS, { tenancy: 'organization' });
    await platform.tailnetReaches(OURS, 'active');
    const secret = { namespace: 'bifrost', name: `bifrost-tailnet-${(await platform.must('GET', `/tailnets/${OURS}`)).tailnet_id}` };
    const made = stage.use(new ControlClient(await clientOfSecret(kubernetes, secret.name)));
    await made.devices(); // while its client works
    await putSecret(kubernetes, secret, { ...made.client, secret: 'tskey-client-gone' });
    return made;
  };

  test('of a Tailnet in our organization harm nobody: the organization takes it away', async () => {
    const made = await madeAndLost();
    await deleted(`tailnet/${OURS}`);
    expect((await made.call('GET', '/tailnet/-/devices')).status).not.toBe(200);
  });

  test('hold it up when the organization is refused too, until it is abandoned', async () => {
    const made = await madeAndLost();
    {
      await using _refused = await plantFault({ method: 'DELETE', path: '/tailnet/', status: 401, count: 10_000 });
      await kubectl(['delete', `tailnet/${OURS}`, '--wait=false']);
      await waits(`tailnet/${OURS}`);
      await abandon(`tailnet/${OURS}`);
      await platform.tailnetReaches(OURS, 'gone');
    }
    expect(await made.devices()).toEqual([]); // it is still there
    await made.deleteTailnet();
  });
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
