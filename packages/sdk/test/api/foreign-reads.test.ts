// What a call does for an id of another customer's is, read by read, what it does for one that nobody has: so neither the answer nor the time tells.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { METHOD_RULES } from '../../src/server/auth/rules.ts';
import { BOOK } from '../support/world.ts';
import { type GrpcClient, ROLES, Served, TAILNET, toldBy } from './support/served.ts';

const config = { hostname: 'another', acceptRoutes: true };
const manifest = {
  ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { namespace: 'acme-corp', name: 'nightly' } },
  spec: { template: { spec: { containers: [{ name: 'book', image: 'book' }], restartPolicy: 'Never' } } },
};
type Call = (client: GrpcClient, id: string) => Promise<unknown>;
const first = async (stream: AsyncIterable<unknown>): Promise<unknown> => {
  for await (const item of stream) return item;
  return undefined;
};

const OF_TAILNETS: Readonly<Record<string, Call>> = {
  GetTailnet: (client, tailnetName) => client.getTailnet({ tailnetName }),
  UpdateTailnet: (client, tailnetName) => client.updateTailnet({ tailnetName, tags: ['x'] }),
  PlanUpdateTailnet: (client, tailnetName) => client.planUpdateTailnet({ tailnetName, tags: ['x'] }),
  DeleteTailnet: (client, tailnetName) => client.deleteTailnet({ tailnetName, cascade: true, abandon: true }),
  PauseTailnet: (client, tailnetName) => client.pauseTailnet({ tailnetName }),
  ResumeTailnet: (client, tailnetName) => client.resumeTailnet({ tailnetName }),
  GetNetworkStatus: (client, tailnetName) => client.getNetworkStatus({ tailnetName }),
  GetFirewallRequirements: (client, tailnetName) => client.getFirewallRequirements({ tailnetName }),
  UpgradeSidecars: (client, tailnetName) => client.upgradeSidecars({ tailnetName }),
  PlanUpgradeSidecars: (client, tailnetName) => client.planUpgradeSidecars({ tailnetName }),
  AttachSidecar: (client, tailnetName) => client.attachSidecar({ tailnetName, bookDeploymentId: BOOK.bookDeploymentId, config }),
  PlanAttachSidecar: (client, tailnetName) => client.planAttachSidecar({ tailnetName, bookDeploymentId: BOOK.bookDeploymentId, config }),
  InjectSidecar: (client, tailnetName) => client.injectSidecar({ tailnetName, manifest, config }),
  MonitorConnectivity: (client, tailnetName) => first(client.monitorConnectivity({ tailnetName })),
  GetConnectionMetrics: (client, tailnetName) => client.getConnectionMetrics({ tailnetName }),
};
const OF_SIDECARS: Readonly<Record<string, Call>> = {
  GetSidecar: (client, sidecarId) => client.getSidecar({ sidecarId }),
  UpdateSidecar: (client, sidecarId) => client.updateSidecar({ sidecarId, config: { enableSsh: true } }),
  PlanUpdateSidecar: (client, sidecarId) => client.planUpdateSidecar({ sidecarId, config: { enableSsh: true } }),
  ExplainPacket: (client, sidecarId) => client.explainPacket({ sidecarId, to: '10.1.0.10' }),
  RepairSidecar: (client, sidecarId) => client.repairSidecar({ sidecarId }),
  QuarantineSidecar: (client, sidecarId) => client.quarantineSidecar({ sidecarId }),
  ReadmitSidecar: (client, sidecarId) => client.readmitSidecar({ sidecarId }),
  DetachSidecar: (client, sidecarId) => client.detachSidecar({ sidecarId, abandon: true }),
};
const CALLS = [
  ...Object.entries(OF_TAILNETS).map(([name, call]) => ({ name, call, about: 'tailnet' as const })),
  ...Object.entries(OF_SIDECARS).map(([name, call]) => ({ name, call, about: 'sidecar' as const })),
  { name: 'MonitorConnectivity', about: 'sidecar' as const, call: ((client, sidecarId) => first(client.monitorConnectivity({ sidecarId }))) as Call },
];

describe('an id of another customer’s', () => {
  let served: Served;
  let sidecarId = '';
  beforeAll(async () => {
    served = await Served.open();
    sidecarId = await served.connected();
    // Its owner has just used it: whatever is remembered of it is.
    await served.grpc('admin:acme-corp').getSidecar({ sidecarId });
    await served.grpc('admin:acme-corp').getTailnet({ tailnetName: TAILNET });
  });
  afterAll(() => served[Symbol.asyncDispose]());

  it('is tried with every call that names an object', () => {
    const named = Object.entries(METHOD_RULES).filter(([, { about }]) => about === 'tailnet' || about === 'sidecar' || about === 'workload');
    expect(named.map(([name]) => name).filter((name) => !CALLS.some((call) => call.name === name))).toEqual([]);
  });

  it.each(ROLES.flatMap((role) => CALLS.map((call) => ({ role, ...call }))))(
    'costs $name of a $role the very reads of an unknown $about',
    async ({ role, call, about }) => {
      const { guard } = served.world;
      const reads: (readonly string[])[] = [];
      const answers: unknown[] = [];
      const before = await served.world.snapshot([served.world.book]);
      for (const id of about === 'tailnet' ? [TAILNET, 'nobodys'] : [sidecarId, '00000000-0000-4000-8000-000000000000']) {
        const from = guard.names.length;
        answers.push(await toldBy(() => call(served.grpc(`${role}:other-corp`), id)));
        reads.push(guard.names.slice(from));
      }
      expect(reads[0]).toEqual(reads[1]);
      expect(answers[0]).toEqual(answers[1]);
      expect(answers[0]).toMatchObject({ reason: about === 'tailnet' ? 'TAILNET_NOT_FOUND' : 'SIDECAR_NOT_FOUND' });
      expect(await served.world.snapshot([served.world.book])).toEqual(before);
    },
  );

  it('holds up no attach of its owner: a stranger waits at another lock', async () => {
    const { world } = served;
    const { promise, resolve } = Promise.withResolvers<void>();
    world.guard.hook = async ({ name }) => {
      if (name === 'store.tailnets.get') await promise;
      return undefined;
    };
    const strange = toldBy(() => OF_TAILNETS['AttachSidecar']?.(served.grpc('admin:other-corp'), TAILNET) ?? Promise.resolve());
    world.guard.hook = () => undefined;
    const own = await toldBy(() => served.grpc('admin:acme-corp').attachSidecar({ ...BOOK, config: { hostname: 'another' } }));
    expect(own).toMatchObject({ reason: 'SIDECAR_EXISTS' });
    resolve();
    expect(await strange).toMatchObject({ reason: 'TAILNET_NOT_FOUND' });
  });
});

describe('a book of another customer’s, in a tailnet of one’s own', () => {
  let served: Served;
  let jobUid = '';
  beforeAll(async () => {
    served = await Served.open();
    await served.world.manager.createTailnet({ customerId: 'other-corp', tailnetName: 'other', config: { allowedNetworks: ['10.0.0.0/8'] } });
    const job = { kind: 'Job' as const, name: 'nightly-job', labels: { 'bifrost.dev/book-deployment-id': 'nightly-job' } };
    jobUid = (await served.world.addBook({ ...job, namespace: 'acme-corp' })).uid;
    await served.world.addBook({ namespace: 'other-corp', name: 'own-book' });
    await served.world.until(async () => (await served.world.tailnet('other'))?.state.phase === 'active');
  });
  afterAll(() => served[Symbol.asyncDispose]());
  const attach = (bookDeploymentId: string) =>
    toldBy(() => served.grpc('admin:other-corp').planAttachSidecar({ tailnetName: 'other', bookDeploymentId, config }));

  it('is unknown, however it is named and whatever its kind', async () => {
    const none = await attach('nobodys');
    expect(none).toMatchObject({ reason: 'WORKLOAD_NOT_FOUND' });
    const book = served.world.book;
    for (const id of [BOOK.bookDeploymentId, book.uid, `acme-corp/${book.name}`, jobUid, 'acme-corp/nightly-job', 'nightly-job', 'acme-corp/none'])
      expect([id, await attach(id)]).toEqual([id, none]);
  });

  it('while one’s own Job is refused for what it is, whatever label others put onto theirs', async () => {
    const labels = { 'bifrost.dev/book-deployment-id': 'nightly-job' };
    const { uid } = await served.world.addBook({ kind: 'CronJob', name: 'own-job', namespace: 'other-corp', labels });
    for (const id of ['nightly-job', uid, 'other-corp/own-job']) {
      expect([id, await attach(id)]).toEqual([id, expect.objectContaining({ code: 9, reason: 'WORKLOAD_UNSUPPORTED' })]);
      await expect(
        toldBy(() => served.grpc('admin:*').planAttachSidecar({ tailnetName: 'other', bookDeploymentId: id, config })),
      ).resolves.toMatchObject({
        reason: 'WORKLOAD_UNSUPPORTED',
      });
    }
    expect(await attach(jobUid)).toMatchObject({ reason: 'WORKLOAD_NOT_FOUND' });
  });

  it('while one’s own is attached', async () => {
    for (const id of ['own-book', 'other-corp/own-book']) expect(await attach(id)).toHaveProperty('answer.sidecarId');
  });

  it('cannot be injected into another’s namespace, which is as unknown as none', async () => {
    const inject = (namespace: string) =>
      toldBy(() =>
        served
          .grpc('admin:other-corp')
          .injectSidecar({ tailnetName: 'other', manifest: { ...manifest, metadata: { namespace, name: 'job' } }, config }),
      );
    expect(await inject('acme-corp')).toMatchObject({ reason: 'WORKLOAD_NOT_FOUND' });
    expect(await inject('acme-corp')).toEqual(await inject('nobodys'));
    expect(await inject('other-corp')).toHaveProperty('answer.sidecarId');
  });
});

it('metrics of one customer take one list of tailnets; of a tailnet that is not theirs there are none, which is no error', async () => {
  await using served = await Served.open();
  const { guard } = served.world;
  const from = guard.names.length;
  const tailnets = async (request: { readonly tailnetName?: string; readonly customerId: string }): Promise<readonly string[]> =>
    (await served.grpc('admin:*').getConnectionMetrics(request)).metrics.map(({ tailnetName }) => tailnetName);
  expect(await tailnets({ customerId: 'acme-corp' })).toEqual([TAILNET]);
  expect(guard.names.slice(from)).toEqual(['store.tailnets.list', 'store.sidecars.list']);
  expect(await tailnets({ tailnetName: TAILNET, customerId: 'acme-corp' })).toEqual([TAILNET]);
  for (const filter of [{}, { tailnetName: TAILNET }]) expect(await tailnets({ ...filter, customerId: 'other-corp' })).toEqual([]);
  expect(await toldBy(() => tailnets({ tailnetName: 'none', customerId: 'acme-corp' }))).toMatchObject({ reason: 'TAILNET_NOT_FOUND' });
});

describe('cursors', () => {
  it('of another customer’s, page tokens and resume tokens, show nothing of it', async () => {
    await using served = await Served.open();
    const { world } = served;
    const create = (customerId: string, tailnetName: string) =>
      world.manager.createTailnet({ customerId, tailnetName, config: { allowedNetworks: [] } });
    for (const name of ['a-one', 'm-two', 'z-three']) await create('other-corp', name);
    const own = await served.grpc('admin:acme-corp').listTailnets({ pageSize: 0 });
    expect(own.tailnets.map(({ tailnetName }) => tailnetName)).toEqual([TAILNET]);
    const all = await served.grpc('admin:*').listTailnets({ pageSize: 1 });
    expect(all.tailnets.map(({ tailnetName }) => tailnetName)).toEqual(['a-one']);
    const second = await served.grpc('admin:acme-corp').listTailnets({ pageSize: 1, pageToken: all.nextPageToken });
    expect(second.tailnets.map(({ tailnetName }) => tailnetName)).toEqual([TAILNET]);
    expect(second.nextPageToken).toBe('');

    const ends = new AbortController();
    const stream = served.grpc('admin:*').monitorConnectivity({ heartbeatSeconds: 1 }, { signal: ends.signal })[Symbol.asyncIterator]();
    const { value } = await served.beating(stream.next());
    ends.abort();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const resumed = (who: string) => first(served.grpc(who).monitorConnectivity({ resumeToken: value?.resumeToken ?? '', heartbeatSeconds: 1 }));
    expect(await resumed('viewer:acme-corp')).toMatchObject({ eventType: 'connected', tailnetName: TAILNET });
    expect(await served.beating(resumed('viewer:other-corp'))).toMatchObject({ eventType: '', tailnetName: '' });
  });
});
