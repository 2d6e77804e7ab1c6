import type { AttachSidecarInput } from '@bifrost/types';
import { Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { expectRefused } from './support/refused.ts';
import { ACME, BOOK, type Opened, openWorld, refusal } from './support/world.ts';

const attach = (change: Partial<AttachSidecarInput>) => (world: Opened) => world.manager.attachSidecar({ ...BOOK, ...change });

describe('ingestReport refuses', () => {
  type Fake = Opened['agents']['one'];
  const ingest = (world: Opened, token: Secret, document: unknown) => world.manager.ingestReport({ token, document });
  const deep = (): unknown => JSON.parse(`${'['.repeat(30_000)}${']'.repeat(30_000)}`);
  const cases: readonly [string, (world: Opened, agent: Fake) => Promise<unknown>, string, (readonly string[])?][] = [
    [
      'a token that nobody issued',
      async (world, agent) => ingest(world, new Secret('nobody'), agent.document('change')),
      'REPORT_UNAUTHENTICATED',
      ['authorization'],
    ],
    [
      'a token for another audience',
      async (world, agent) => ingest(world, await world.cluster.issuePodToken(agent.pod.uid, 'vault'), agent.document('change')),
      'REPORT_UNAUTHENTICATED',
      ['authorization'],
    ],
    [
      'a pod without a sidecar',
      async (world, agent) => {
        const other = await world.addBook({ name: 'other' });
        await world.run(1_000);
        return ingest(world, await world.token(world.cluster.podsOf(other)[0]?.uid ?? ''), agent.document('change'));
      },
      'REPORT_FORBIDDEN',
      ['podUid'],
    ],
    [
      'a wrong sidecar id',
      async (_, agent) => agent.report('change', { sidecar_id: '0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1' }),
      'REPORT_FORBIDDEN',
      ['sidecarId'],
    ],
    [
      'a wrong pod uid',
      async (_, agent) => agent.report('change', { pod_uid: '0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1' }),
      'REPORT_FORBIDDEN',
      ['podUid'],
    ],
    ['no object', async (world, agent) => ingest(world, agent.pod.serviceAccountToken, 'x'), 'REPORT_INVALID', ['']],
    ['an unknown version', async (_, agent) => agent.report('change', { v: 2 }), 'REPORT_INVALID', ['v']],
    ['counters below nothing', async (_, agent) => agent.report('change', { rx_bytes: -1, tx_bytes: 1.5 }), 'REPORT_INVALID', ['rxBytes', 'txBytes']],
    ['too many peers', async (_, agent) => agent.report('change', { peers: Array(65).fill({}) }), 'REPORT_INVALID'],
    [
      'text with control characters',
      async (_, agent) => agent.report('change', { node: { backend_state: 'Run\u001b[31mning' } }),
      'REPORT_INVALID',
      ['node.backendState'],
    ],
    ['deep JSON', async (world, agent) => ingest(world, agent.pod.serviceAccountToken, deep()), 'REPORT_INVALID', ['']],
  ];
  it.each(cases)('%s', async (_, call, code, paths) => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const { one } = world.agents;
    await expectRefused(world, () => call(world, one), { code, ...(paths === undefined ? {} : { paths }), audited: false });
  });

  it('the token of a pod that is gone, and of a pod of another customer', async () => {
    await using world = await openWorld();
    await world.addCustomer('globex');
    await world.addBook({ namespace: 'globex', name: 'theirs' });
    await world.manager.createTailnet({ ...ACME, customerId: 'globex', tailnetName: 'globex-production' });
    await world.until(async () => (await world.tailnet('globex-production'))?.state.phase === 'active');
    await world.manager.attachSidecar(BOOK);
    await attach({ bookDeploymentId: 'theirs', tailnetName: 'globex-production' })(world);
    await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
    const [ours, theirs] = world.agents.all;
    const document = ours?.document('change', { node: { usable: false } });
    await expectRefused(world, () => ingest(world, theirs?.pod.serviceAccountToken ?? new Secret(''), document), {
      code: 'REPORT_FORBIDDEN',
      paths: ['podUid', 'sidecarId'],
      audited: false,
    });
    await world.cluster.deletePod(ours?.pod.uid ?? '');
    await world.until(async () => world.agents.all.length === 2 && !world.agents.all.includes(ours as never));
    await expectRefused(world, () => ingest(world, ours?.pod.serviceAccountToken ?? new Secret(''), document), {
      code: 'REPORT_UNAUTHENTICATED',
      paths: ['authorization'],
      audited: false,
    });
  });

  it('nothing of __proto__: it is not there', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const { one } = world.agents;
    const document = JSON.parse(
      JSON.stringify(one.document('change')).replace('{', '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},'),
    );
    await expect(ingest(world, one.pod.serviceAccountToken, document)).resolves.toMatchObject({ v: 1 });
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('what the cluster cannot vouch for now, with the advice to come again', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    world.cluster.failNext('CLUSTER_UNAVAILABLE');
    expect(await refusal(world.agents.one.report('change'))).toMatchObject({ code: 'CLUSTER_UNAVAILABLE', retry: 'backoff' });
  });
});
