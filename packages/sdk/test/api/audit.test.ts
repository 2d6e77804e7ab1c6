// Every call that changes something, every question that shows what is allowed, and every denial, is recorded once; what only reads is not.
import { NetworkManager } from '@bifrost/types/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/ports/index.ts';
import { METHOD_RULES, type MethodName } from '../../src/server/auth/rules.ts';
import { printed } from '../server/support/caught.ts';
import { BOOK } from '../support/world.ts';
import { type GrpcClient, PLENTY, reasonOf, Served, TAILNET, toldBy } from './support/served.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const config = { hostname: 'another', acceptRoutes: true };
const manifest = {
  ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { namespace: 'acme-corp', name: 'nightly' } },
  spec: { template: { spec: { containers: [{ name: 'book', image: 'book' }], restartPolicy: 'Never' } } },
};

/** In an order in which each goes through; the id is of the sidecar that is there. */
const CHANGES: Readonly<Partial<Record<MethodName, (client: GrpcClient, sidecarId: string) => Promise<unknown>>>> = {
  CreateTailnet: (client) => client.createTailnet({ customerId: 'acme-corp', tailnetName: 'second', config: { allowedNetworks: ['10.0.0.0/8'] } }),
  UpdateTailnet: (client) => client.updateTailnet({ tailnetName: TAILNET, tags: ['x'] }),
  PauseTailnet: (client) => client.pauseTailnet({ tailnetName: TAILNET }),
  ResumeTailnet: (client) => client.resumeTailnet({ tailnetName: TAILNET }),
  AttachSidecar: (client) => client.attachSidecar({ tailnetName: TAILNET, bookDeploymentId: BOOK.bookDeploymentId, config: BOOK.config as never }),
  InjectSidecar: (client) => client.injectSidecar({ tailnetName: TAILNET, manifest, config }),
  UpgradeSidecars: (client) => client.upgradeSidecars({ tailnetName: TAILNET }),
  UpdateSidecar: (client, sidecarId) => client.updateSidecar({ sidecarId, config: { enableSsh: true }, allowRollout: true }),
  RepairSidecar: (client, sidecarId) => client.repairSidecar({ sidecarId }),
  QuarantineSidecar: (client, sidecarId) => client.quarantineSidecar({ sidecarId }),
  ReadmitSidecar: (client, sidecarId) => client.readmitSidecar({ sidecarId }),
  DetachSidecar: (client, sidecarId) => client.detachSidecar({ sidecarId }),
  DeleteTailnet: (client) => client.deleteTailnet({ tailnetName: 'second' }),
  SetReadOnly: (client) => client.setReadOnly({ readOnly: false }),
};

/** They change nothing, and are recorded all the same. */
const QUESTIONS: Readonly<Partial<Record<MethodName, (client: GrpcClient, sidecarId: string) => Promise<unknown>>>> = {
  PlanUpdateTailnet: (client) => client.planUpdateTailnet({ tailnetName: TAILNET, tags: ['x'] }),
  GetFirewallRequirements: (client) => client.getFirewallRequirements({ tailnetName: TAILNET }),
  PlanUpgradeSidecars: (client) => client.planUpgradeSidecars({ tailnetName: TAILNET }),
  PlanAttachSidecar: (client) =>
    client.planAttachSidecar({ tailnetName: TAILNET, bookDeploymentId: BOOK.bookDeploymentId, config: BOOK.config as never }),
  PlanUpdateSidecar: (client, sidecarId) => client.planUpdateSidecar({ sidecarId, config: { enableSsh: true } }),
  ExplainPacket: (client, sidecarId) => client.explainPacket({ sidecarId, to: '10.1.0.10' }),
};

/** Records of callers that came meanwhile; the manager's own are about its work. */
async function recorded(served: Served, act: () => Promise<unknown>): Promise<readonly AuditRecord[]> {
  const before = served.world.audit.records.length;
  await act();
  return served.world.audit.records.slice(before).filter(({ actor }) => actor !== 'manager');
}

describe('the record of a call', () => {
  let served: Served;
  let sidecarId = '';
  beforeAll(async () => {
    served = await Served.open();
    sidecarId = await served.connected();
  });
  afterAll(() => served[Symbol.asyncDispose]());

  it('is tried with every call that changes something', () => {
    const changing = Object.entries(METHOD_RULES).filter(([, { changes }]) => changes);
    expect(changing.map(([name]) => name).sort()).toEqual(Object.keys(CHANGES).sort());
    const asking = Object.entries(METHOD_RULES).filter(([, { changes, recorded }]) => recorded && !changes);
    expect(asking.map(([name]) => name).sort()).toEqual([...Object.keys(QUESTIONS), 'ProveIsolation'].sort());
  });

  it.each(Object.entries({ ...QUESTIONS, ...CHANGES }))('of %s says who, whose, what and how it ended, once', async (name, call) => {
    const headers = { 'x-request-id': `request-${name}`, traceparent: TRACEPARENT };
    const records = await recorded(served, async () => {
      expect(await toldBy(() => call(served.grpc('admin:*', headers), sidecarId))).toHaveProperty('answer');
    });
    expect(records).toEqual([
      {
        atMs: expect.any(Number),
        actor: 'api-key:admin:*',
        action: `${name.charAt(0).toLowerCase()}${name.slice(1)}`,
        ...(name === 'SetReadOnly' ? {} : { customerId: 'acme-corp' }),
        subject: expect.any(String),
        outcome: 'accepted',
        request: { requestId: `request-${name}`, traceparent: TRACEPARENT, method: name, requestSha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    ]);
  });

  it('does not come of reading', async () => {
    const client = served.grpc('admin:*');
    const records = await recorded(served, async () => {
      await client.listTailnets({});
      await client.listSidecars({});
      await client.getTailnet({ tailnetName: TAILNET });
      await client.getNetworkStatus({ tailnetName: TAILNET });
      await client.getConnectionMetrics({});
      await client.getServiceInfo({});
      await client.listLeftovers({});
    });
    expect(records).toEqual([]);
  });

  it('comes of a proof, since somebody will ask when there was one, and of one that is refused', async () => {
    const prove = (who: string) => recorded(served, () => toldBy(() => served.grpc(who, { 'x-request-id': 'proof' }).proveIsolation({})));
    const about = { action: 'proveIsolation', request: expect.objectContaining({ requestId: 'proof', method: 'ProveIsolation' }) };
    expect(await prove('admin:*')).toEqual([expect.objectContaining({ ...about, actor: 'api-key:admin:*', outcome: 'accepted' })]);
    expect(await prove('admin:acme-corp')).toEqual([expect.objectContaining({ ...about, outcome: 'PERMISSION_DENIED' })]);
    expect(await prove('viewer:acme-corp')).toEqual([expect.objectContaining({ ...about, outcome: 'PERMISSION_DENIED' })]);
  });

  const path = `/api/v1/networks/tailnets/${TAILNET}`;
  it.each<[string, string, Parameters<Served['rest']>[1], Partial<AuditRecord>]>([
    ['nobody', 'bfk_none_none', { path }, { actor: 'peer:127.0.0.1', action: 'authenticate', outcome: 'UNAUTHENTICATED' }],
    [
      'a reader, of others’',
      'viewer:other-corp',
      { path },
      { actor: 'api-key:viewer:other-corp', action: 'getTailnet', outcome: 'TAILNET_NOT_FOUND' },
    ],
    [
      'a changer, of others’',
      'admin:other-corp',
      { method: 'DELETE', path },
      { action: 'deleteTailnet', outcome: 'TAILNET_NOT_FOUND', subject: TAILNET },
    ],
    [
      'too small a role',
      'viewer:acme-corp',
      { method: 'DELETE', path },
      { action: 'deleteTailnet', outcome: 'PERMISSION_DENIED', customerId: 'acme-corp' },
    ],
    [
      'a plan by a viewer',
      'viewer:acme-corp',
      { method: 'POST', path: '/api/v1/networks/sidecars:plan', body: { tailnet_name: TAILNET, book_deployment_id: 'x', config } },
      { action: 'planAttachSidecar', outcome: 'PERMISSION_DENIED', customerId: 'acme-corp', subject: TAILNET },
    ],
    [
      'a question, of others’',
      'viewer:other-corp',
      { path: `${path}/firewall-requirements` },
      { action: 'getFirewallRequirements', outcome: 'TAILNET_NOT_FOUND', subject: TAILNET },
    ],
    ['the whole installation', 'admin:acme-corp', { path: '/api/v1/networks/leftovers' }, { action: 'listLeftovers', outcome: 'PERMISSION_DENIED' }],
    [
      'a stream of others’',
      'viewer:other-corp',
      { path: `${path}/events` },
      { action: 'monitorConnectivity', outcome: 'TAILNET_NOT_FOUND', subject: TAILNET },
    ],
  ])('of a denial comes once: %s', async (_, who, sent, expected) => {
    const records = await recorded(served, async () => {
      expect((await served.rest(who, { ...sent, headers: { 'x-request-id': 'denied', traceparent: TRACEPARENT } })).status).toBeGreaterThan(400);
    });
    expect(records).toHaveLength(1);
    expect(records[0]).toMatchObject({
      ...expected,
      request: { requestId: 'denied', traceparent: TRACEPARENT, method: expect.stringMatching(/^[A-Z]/) },
    });
    if (expected.action !== 'authenticate') expect(records[0]?.request?.requestSha256).toMatch(/^[0-9a-f]{64}$/);
    if (expected.customerId === undefined) expect(records[0]).not.toHaveProperty('customerId');
  });

  it('says of nobody which call it was, through either door', async () => {
    const grpc = await recorded(served, () => toldBy(() => served.grpc('nobody').pauseTailnet({ tailnetName: TAILNET })));
    const rest = await recorded(served, () => served.rest('nobody', { method: 'POST', path: `${path}:pause` }));
    expect([grpc, rest].map(([record]) => record?.request?.method)).toEqual(['PauseTailnet', 'PauseTailnet']);
  });

  it('of one wish has one hash, and of another another', async () => {
    const read = (tailnetName: string) => recorded(served, () => toldBy(() => served.grpc('viewer:other-corp').getTailnet({ tailnetName })));
    const [one, same, other] = [await read('a'), await read('a'), await read('b')].map(([record]) => record?.request?.requestSha256);
    expect(same).toBe(one);
    expect(other).not.toBe(one);
  });

  it('that cannot be kept refuses what changes something, and what is recorded else; denials are logged', async () => {
    const { world } = served;
    for (const [name, call] of Object.entries({ ...QUESTIONS, ...CHANGES })) {
      const before = await world.snapshot([world.book]);
      world.audit.failNext('STORE_UNAVAILABLE');
      expect([name, await toldBy(() => call(served.grpc('admin:*'), sidecarId))]).not.toHaveProperty('1.answer');
      expect([name, await world.snapshot([world.book])]).toEqual([name, before]);
    }
    world.audit.failNext('STORE_UNAVAILABLE');
    expect(reasonOf(await served.rest('viewer:acme-corp', { path: '/api/v1/networks/leftovers' })).reason).toBe('PERMISSION_DENIED');
    expect(world.logger.lines.at(-1)).toMatchObject({ level: 'error', message: 'a denial could not be recorded' });
  });

  it('comes of limits too: calls, guesses, streams', async () => {
    await using limited = await Served.open({
      maxStreamsPerCaller: 1,
      rateLimits: { caller: { pointsPerSecond: 1, burst: 10 }, customer: PLENTY, attempt: { pointsPerSecond: 1, burst: 2 } },
    });
    const guess = () => limited.rest('nobody', { path });
    const outcomes = await recorded(limited, async () => {
      for (let times = 0; times < 3; times += 1) await guess();
    });
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['UNAUTHENTICATED', 'UNAUTHENTICATED', 'RATE_LIMITED']);
  });

  it('has no secret in it, nor has any log or error', async () => {
    const { world } = served;
    const shown = [served.key('admin:*'), served.key('viewer:other-corp'), 'bfk_canary_CANARYCANARYCANARYCANARYCANARYCANARYCANARYC'];
    const answers: unknown[] = [];
    for (const key of shown) {
      answers.push(await served.rest('', { path, headers: { authorization: `Bearer ${key}` } }));
      answers.push(await served.rest('', { path: `${path}x?page_token=${key}`, headers: { 'x-api-key': key } }));
      answers.push(await served.rest('', { method: 'PATCH', path, headers: { 'x-api-key': key }, body: { [key]: key, tags: [key] } }));
      answers.push(await toldBy(() => served.grpc('', { 'x-api-key': key }).getTailnet({ tailnetName: key })));
      answers.push(await toldBy(() => served.grpc('', { authorization: `Bearer ${key}` }).detachSidecar({ sidecarId: key })));
    }
    const everything = printed([world.audit.records, world.logger.lines, answers]);
    for (const key of shown) expect(everything.includes(key.slice(-43))).toBe(false);
  });
});

it('every method of the service has its rule', () => {
  expect(Object.keys(METHOD_RULES).sort()).toEqual(NetworkManager.methods.map(({ name }) => name).sort());
});
