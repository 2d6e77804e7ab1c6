import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lab } from './support/command.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import type { Named } from './support/kubernetes.ts';
import { Stage } from './support/stage.ts';

// Books that ask for their sidecar themselves, and an attach that never connects. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'annotated';
let customer: Customer;
let book: Named;

const annotate = (workload: Named, annotations: Readonly<Record<string, string | null>>) =>
  kubernetes.mergePatch(workload, { metadata: { annotations } });
const ofBook = async (name: string) =>
  (await platform.must('GET', '/sidecars')).sidecars.find((each: { workload: { name: string } }) => each.workload.name === name);
const statusOf = async (name: string): Promise<string> => (await ofBook(name))?.status ?? 'gone';

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: SPACE });
  await stage.space(SPACE, SPACE);
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE });
  book = await stage.book({ name: 'self', namespace: SPACE });
  await stage.pod(SPACE, 'self');
});
afterAll(async () => {
  await lab(['manager'], { timeoutMs: 120_000 });
  await stage[Symbol.asyncDispose]();
});

describe('an annotated Deployment', () => {
  let before = '';

  test('is attached by itself and reaches its customer’s page', async () => {
    before = await stage.specOf(book);
    await annotate(book, { 'bifrost.dev/tailnet': SPACE, 'bifrost.dev/hostname': 'named-by-itself', 'bifrost.dev/accept-routes': 'true' });
    await eventually('it is connected', async () => (await statusOf('self')) === 'connected', { timeoutMs: 80_000 });
    await stage.reaches(await stage.inBook(SPACE, 'self'), customer);
    expect((await customer.control.devices()).map(({ hostname }) => hostname)).toContain('named-by-itself');
  });

  test('is not detached by call; without its annotation it is, byte for byte', async () => {
    const { sidecar_id } = await ofBook('self');
    expect(await platform.call('DELETE', `/sidecars/${sidecar_id}`)).toMatchObject({ status: 409, body: { code: 'ATTACHED_BY_ANNOTATION' } });
    await annotate(book, { 'bifrost.dev/tailnet': null });
    await eventually('it is gone', async () => (await statusOf('self')) === 'gone', { timeoutMs: 80_000 });
    expect(await stage.specOf(book)).toBe(before);
    expect((await customer.control.devices()).map(({ hostname }) => hostname)).not.toContain('named-by-itself');
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  });

  test('of another customer is not attached', async () => {
    await stage.space('annotated-foreign', 'somebody-else');
    const foreign = await stage.book({ name: 'foreign', namespace: 'annotated-foreign' });
    await annotate(foreign, { 'bifrost.dev/tailnet': SPACE });
    await annotate(book, { 'bifrost.dev/tailnet': SPACE, 'bifrost.dev/hostname': null });
    await eventually('its twin of the right customer is', async () => (await statusOf('self')) === 'connected', { timeoutMs: 80_000 });
    expect(await statusOf('foreign')).toBe('gone');
    expect(await stage.specOf(foreign)).not.toContain('tailscale');
  });
});

describe('an attach that never connects', () => {
  test('is taken back at its deadline: the pods that ran go on, the Deployment is what it was, nothing is left; the status says why', async () => {
    await lab(['manager', 'ATTACH_DEADLINE_MS=20000', 'LOGIN_SERVER=http://10.244.0.1:1'], { timeoutMs: 120_000 });
    await platform.answers();
    const failing = await stage.book({ name: 'failing', namespace: SPACE });
    const pod = await stage.pod(SPACE, 'failing');
    const before = await stage.specOf(failing);
    const sidecarId = await stage.attach(`${SPACE}/failing`, SPACE);
    await eventually('the sidecar was put in', async () => (await stage.specOf(failing)) !== before);
    await platform.sidecarReaches(sidecarId, 'failed', 90_000);
    await eventually('the Deployment is what it was', async () => (await stage.specOf(failing)) === before, { timeoutMs: 30_000 });
    expect((await platform.sidecar(sidecarId)).reason.code).toBe('ATTACH_TIMEOUT');
    expect((await stage.pod(SPACE, 'failing')).metadata.uid).toBe(pod.metadata.uid);
    // Last, once the pod that carried it has ended.
    const keys = async () => (await customer.control.keys()).filter(({ description }) => description === `bifrost-${sidecarId}`);
    await eventually('its key is revoked', async () => (await keys()).length === 0);
    await lab(['manager'], { timeoutMs: 120_000 });
    await platform.answers();
    await stage.attach(`${SPACE}/failing`, SPACE);
    await platform.sidecarReaches(sidecarId, 'connected', 80_000);
    await stage.reaches(await stage.inBook(SPACE, 'failing'), customer);
  }, 300_000);
});
