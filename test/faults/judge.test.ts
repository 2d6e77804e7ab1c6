import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MERGE } from './support/admin.ts';
import { workloadPath } from './support/books.ts';
import { attachmentPath, judge, readLedger, tailnetPath } from './support/ledger.ts';
import { newLife } from './support/lives.ts';
import { playSteps } from './support/scenario.ts';
import type { Life } from './support/steps.ts';
import { BOOK_TAG, SYSTEM, World } from './support/world.ts';

const OURS = { 'app.kubernetes.io/managed-by': 'bifrost' };

let world: World;
let attached: Life;
let gone: Life;
beforeAll(async () => {
  world = await World.open({ name: 'j' });
  attached = await lived(['create', 'attach']);
  gone = await lived(['create', 'attach', 'detach', 'delete']);
  await world.manager.kill(); // it would put right what is planted here
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

async function lived(names: readonly string[]): Promise<Life> {
  const life = await newLife(world, 'organization');
  await playSteps(world, life, names);
  return life;
}

const verdict = async (life: Life): Promise<readonly string[]> => judge(await readLedger(world, life.customer), life.customer, life);
const tailnetOf = ({ customer }: Life) => {
  const found = world.control.tailnets().find(({ displayName }) => displayName.startsWith(customer.tailnetName));
  if (found === undefined) throw new RangeError('it has no tailnet');
  return found;
};
const keyOf = (tailnet: { readonly displayName: string }) => {
  const grant = world.control.signIn(world.control.organization, tailnetOf(attached).controlId);
  return world.control
    .open(grant, 'auth_keys', 'write')
    .createKey({ description: tailnet.displayName, tags: [BOOK_TAG], reusable: true, ephemeral: true, lifetimeSeconds: 600 }, grant.tags);
};

describe('the judge', () => {
  it('finds nothing wrong with what is right', async () => {
    expect(world.manager.adapters).toEqual({ cluster: 'kubernetes', store: 'kubernetes', controlPlane: 'tailscale' });
    expect(await verdict(attached)).toEqual([]);
    expect(await verdict(gone)).toEqual([]);
  });

  it('sees a second key, and which one is not on record', async () => {
    const { keyId } = keyOf(tailnetOf(attached));
    expect((await verdict(attached)).join()).toMatch(new RegExp(`2 valid keys instead of 1.*${keyId}`));
    world.control.open(world.control.signIn(world.control.organization, tailnetOf(attached).controlId), 'auth_keys', 'write').revokeKey(keyId);
    expect(await verdict(attached)).toEqual([]);
  });

  it('sees a second device', async () => {
    const { deviceId } = world.control.addDevice({
      controlId: tailnetOf(attached).controlId,
      hostname: attached.customer.hostname,
      tags: [BOOK_TAG],
    });
    expect((await verdict(attached)).join()).toMatch(/2 devices instead of 1/);
    world.control.leave(deviceId);
    expect(await verdict(attached)).toEqual([]);
  });

  it('sees a second tailnet, and one that outlives its object', async () => {
    const { customer } = gone;
    const grant = world.control.signIn(world.control.organization);
    const { controlId } = world.control.createTailnet(grant, `${customer.tailnetName}-0badc0de`);
    expect((await verdict(gone)).join()).toMatch(/1 tailnets made at the control plane instead of 0/);
    world.control.deleteTailnet(world.control.signIn(world.control.organization, controlId));
    expect(await verdict(gone)).toEqual([]);
  });

  it('sees a Secret beside a book that is left', async () => {
    const path = `/api/v1/namespaces/${gone.customer.id}/secrets`;
    await world.admin.must('POST', path, { metadata: { name: 'bifrost-left', labels: OURS } });
    expect((await verdict(gone)).join()).toMatch(/1 Secrets beside the book instead of 0/);
    await world.admin.must('DELETE', `${path}/bifrost-left`);
    expect(await verdict(gone)).toEqual([]);
  });

  it('sees the Secret of a tailnet that is gone', async () => {
    const { admin } = world;
    const tailnet = await admin.get(tailnetPath(attached.customer));
    const tailnetId = String(tailnet?.['spec'].tailnetId);
    const path = `/api/v1/namespaces/${SYSTEM}/secrets`;
    await admin.must('POST', path, { metadata: { name: 'bifrost-tailnet-left', labels: { ...OURS, 'bifrost.dev/tailnet-id': tailnetId } } });
    expect((await verdict(attached)).join()).toMatch(/2 Secrets of its tailnet/);
    await admin.must('DELETE', `${path}/bifrost-tailnet-left`);
    expect(await verdict(attached)).toEqual([]);
  });

  it('sees a template that differs by one word, and an attachment that has lost its finalizer', async () => {
    const { admin } = world;
    const annotate = (value: string | null) =>
      admin.must('PATCH', workloadPath(gone.customer), { spec: { template: { metadata: { annotations: { left: value } } } } }, MERGE);
    await annotate('behind');
    expect((await verdict(gone)).join()).toMatch(/the template is not as it was/);
    await annotate(null);
    await admin.must('PATCH', attachmentPath(attached.customer), { metadata: { finalizers: null } }, MERGE);
    expect((await verdict(attached)).join()).toMatch(/the attachment has lost its finalizer/);
  });

  it('sees an object that is not gone', async () => {
    expect(judge(await readLedger(world, attached.customer), attached.customer, { state: 'none', keys: 0 }).join()).toMatch(
      /1 tailnet objects instead of 0.*1 attachments instead of 0.*1 valid keys instead of 0.*1 devices instead of 0.*the template is not as it was/,
    );
  });
});
