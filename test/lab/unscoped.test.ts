import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requestFromBook } from './support/containers.ts';
import { ControlClient } from './support/control.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import type { PodObject } from './support/kubernetes.ts';
import { putCredential } from './support/platform.ts';
import { Stage } from './support/stage.ts';

// A customer who asks for our entries in their policy by a client that may not write it: the guard holds alone. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'unscoped';
const SCOPES = ['auth_keys', 'devices:core', 'devices:routes'];
const REFUSED = { status: 403, body: { message: 'calling actor does not have enough permissions to perform this function' } };
const REACHED = '10.1.0.10';
const BLOCKED = '10.1.0.11';
/** Allowed, and left out of the customer's own policy. */
const UNGRANTED = '10.1.0.12';
const OWN_POLICY = {
  tagOwners: { 'tag:gateway': [], 'tag:bifrost-book': [] },
  grants: [{ src: ['tag:bifrost-book'], dst: [REACHED, BLOCKED], ip: ['tcp:8000'] }],
};

let customer: Customer;
let ours: ControlClient;
let pod: PodObject;

const answerOf = async (address: string): Promise<unknown> => {
  const container = { namespace: SPACE, pod: pod.metadata.name, container: 'book' };
  const { status, kind } = await requestFromBook(container, { url: `http://${address}:8000/`, timeoutMs: 2_000 });
  return status ?? kind;
};
const answers = async (): Promise<readonly unknown[]> => [await answerOf(REACHED), await answerOf(BLOCKED), await answerOf(UNGRANTED)];
const managed = async () => {
  const { conditions } = await platform.must('GET', `/tailnets/${SPACE}`);
  return conditions.find(({ type }: { type: string }) => type === 'PolicyManaged');
};

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: SPACE, routes: ['10.0.0.0/8'], otherAddresses: [BLOCKED, UNGRANTED] });
  await customer.control.setPolicy(OWN_POLICY);
  const client = await customer.control.createClient(SCOPES);
  ours = stage.use(new ControlClient(client));
  await putCredential(kubernetes, SPACE, client);
  await stage.space(SPACE, SPACE);
  const config = { allowed_networks: ['10.1.0.0/24'], blocked_networks: [`${BLOCKED}/32`] };
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE, config, manage_policy: true });
  await stage.book({ name: 'book', namespace: SPACE });
  await stage.pod(SPACE, 'book');
  await platform.sidecarReaches(await stage.attach(`${SPACE}/book`, SPACE), 'connected');
  pod = await stage.pod(SPACE, 'book');
  await eventually('the book reaches its customer', async () => (await answerOf(REACHED)) === 200);
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('without the scope policy_file', () => {
  test('the client is refused the policy, which stays the customer’s to the last byte, and the condition says what it lacks', async () => {
    expect(await ours.call('GET', '/tailnet/-/acl')).toMatchObject(REFUSED);
    expect(await ours.call('POST', '/tailnet/-/acl', OWN_POLICY)).toMatchObject(REFUSED);
    expect((await customer.control.policy()).text).toBe(JSON.stringify(OWN_POLICY));
    expect(await managed()).toMatchObject({ status: 'False', reason: 'CONTROL_DENIED', message: expect.stringContaining('policy_file') });
    const book = (await ours.devices()).find(({ hostname }) => hostname === 'book');
    expect(book?.tags).toEqual(['tag:bifrost-book']);
  });

  test('the guard alone keeps out what is blocked, which the customer’s policy lets through; what that leaves out nobody opens', async () => {
    expect(await answers()).toEqual([200, 'EACCES', 'ETIMEDOUT']);
    await platform.must('PATCH', `/tailnets/${SPACE}`, { config: { blocked_networks: [] }, update_mask: 'config.blocked_networks' });
    await eventually('what was blocked is reached', async () => (await answerOf(BLOCKED)) === 200);
    expect(await answers()).toEqual([200, 200, 'ETIMEDOUT']);
    expect((await customer.control.policy()).text).toBe(JSON.stringify(OWN_POLICY));
  });
});

describe('the twin: a client that has it', () => {
  test('lets our entries in beside the customer’s own, and the same pod reaches all that is allowed', async () => {
    await putCredential(kubernetes, SPACE, await customer.control.createClient([...SCOPES, 'policy_file']));
    await eventually('our entries are there', async () => (await managed()).status === 'True', { timeoutMs: 100_000 });
    await eventually('what is allowed is reached', async () => (await answerOf(UNGRANTED)) === 200);
    const { text } = await customer.control.policy();
    expect(text).toContain(JSON.stringify(OWN_POLICY.grants[0]));
    expect((await stage.pod(SPACE, 'book')).metadata.uid).toBe(pod.metadata.uid);
  }, 150_000);
});
