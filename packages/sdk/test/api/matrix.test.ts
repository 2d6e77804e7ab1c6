// Every call of the service with an object of another customer's, and with one that nobody has: nobody can tell them apart.

import { ErrorInfoSchema, NetworkManager } from '@bifrost/types/proto';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { METHOD_RULES, type MethodName } from '../../src/server/auth/rules.ts';
import { type ApiServer, apiKeyAuthenticator, createApiKey, createApiServer } from '../../src/server/index.ts';
import { World } from '../support/world.ts';

const ROLES = ['viewer', 'operator', 'admin'] as const;
type Role = (typeof ROLES)[number];
type Call = (client: Client<typeof NetworkManager>, id: Ids) => Promise<unknown>;
interface Ids {
  readonly tailnet: string;
  readonly sidecar: string;
  readonly book: string;
}

const config = { hostname: 'other-host', acceptRoutes: true };
const job = {
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { namespace: 'acme-corp', name: 'nightly' },
  spec: { template: { spec: { containers: [] } } },
};

/** One row per call that names an object. */
const CALLS: Readonly<Partial<Record<MethodName, Call>>> = {
  GetTailnet: (client, { tailnet }) => client.getTailnet({ tailnetName: tailnet }),
  UpdateTailnet: (client, { tailnet }) => client.updateTailnet({ tailnetName: tailnet, tags: ['x'] }),
  PlanUpdateTailnet: (client, { tailnet }) => client.planUpdateTailnet({ tailnetName: tailnet, tags: ['x'] }),
  DeleteTailnet: (client, { tailnet }) => client.deleteTailnet({ tailnetName: tailnet, cascade: true }),
  PauseTailnet: (client, { tailnet }) => client.pauseTailnet({ tailnetName: tailnet }),
  ResumeTailnet: (client, { tailnet }) => client.resumeTailnet({ tailnetName: tailnet }),
  GetNetworkStatus: (client, { tailnet }) => client.getNetworkStatus({ tailnetName: tailnet }),
  GetFirewallRequirements: (client, { tailnet }) => client.getFirewallRequirements({ tailnetName: tailnet }),
  UpgradeSidecars: (client, { tailnet }) => client.upgradeSidecars({ tailnetName: tailnet }),
  PlanUpgradeSidecars: (client, { tailnet }) => client.planUpgradeSidecars({ tailnetName: tailnet }),
  GetConnectionMetrics: (client, { tailnet }) => client.getConnectionMetrics({ tailnetName: tailnet }),
  AttachSidecar: (client, { tailnet, book }) => client.attachSidecar({ tailnetName: tailnet, bookDeploymentId: book, config }),
  PlanAttachSidecar: (client, { tailnet, book }) => client.planAttachSidecar({ tailnetName: tailnet, bookDeploymentId: book, config }),
  InjectSidecar: (client, { tailnet }) => client.injectSidecar({ tailnetName: tailnet, manifest: job, config }),
  GetSidecar: (client, { sidecar }) => client.getSidecar({ sidecarId: sidecar }),
  UpdateSidecar: (client, { sidecar }) => client.updateSidecar({ sidecarId: sidecar, config: { enableSsh: true } }),
  PlanUpdateSidecar: (client, { sidecar }) => client.planUpdateSidecar({ sidecarId: sidecar, config: { enableSsh: true } }),
  ExplainPacket: (client, { sidecar }) => client.explainPacket({ sidecarId: sidecar, to: '10.1.0.10' }),
  RepairSidecar: (client, { sidecar }) => client.repairSidecar({ sidecarId: sidecar }),
  QuarantineSidecar: (client, { sidecar }) => client.quarantineSidecar({ sidecarId: sidecar }),
  ReadmitSidecar: (client, { sidecar }) => client.readmitSidecar({ sidecarId: sidecar }),
  DetachSidecar: (client, { sidecar }) => client.detachSidecar({ sidecarId: sidecar }),
  MonitorConnectivity: async (client, { tailnet }) => {
    for await (const event of client.monitorConnectivity({ tailnetName: tailnet, heartbeatSeconds: 1 })) return event;
    return undefined;
  },
};

const TAILNET = 'acme-corp-production';
const BOOK = 'customer-support-book';

describe('another customer’s objects', () => {
  let world: World;
  let server: ApiServer;
  let foreign: Ids;
  const unknown: Ids = { tailnet: 'nobodys', sidecar: '00000000-0000-4000-8000-000000000000', book: 'nobodys' };
  const clients = new Map<string, Client<typeof NetworkManager>>();
  const keys = ROLES.flatMap((role) =>
    ['other-corp', 'acme-corp'].map((customer) => ({ role, customer, ...createApiKey({ id: `${role}-${customer}` }) })),
  );
  const ends = new AbortController();
  const clientOf = (role: Role, customer: string): Client<typeof NetworkManager> =>
    clients.get(`${role}:${customer}`) as Client<typeof NetworkManager>;

  beforeAll(async () => {
    world = new World();
    await world.addCustomer('acme-corp');
    await world.addCustomer('other-corp');
    await world.addBook({ name: BOOK, labels: { 'bifrost.dev/book-deployment-id': BOOK } });
    await world.manager.start();
    await world.manager.createTailnet({ customerId: 'acme-corp', tailnetName: TAILNET, config: { allowedNetworks: ['10.0.0.0/8'] } });
    await world.manager.createTailnet({ customerId: 'other-corp', tailnetName: 'other', config: { allowedNetworks: ['10.0.0.0/8'] } });
    const { sidecarId } = await world.manager.attachSidecar({ bookDeploymentId: BOOK, tailnetName: TAILNET, config: { hostname: 'book' } });
    foreign = { tailnet: TAILNET, sidecar: sidecarId, book: BOOK };
    await world.quiet();
    const plenty = { pointsPerSecond: 100_000, burst: 1_000_000 };
    server = createApiServer({
      manager: world.manager,
      authenticator: apiKeyAuthenticator({
        keys: keys.map(({ id, sha256, role, customer }) => ({ id, sha256, subject: id, roles: [`${role}:${customer}`] })),
      }),
      rateLimits: { caller: plenty, customer: plenty, attempt: plenty },
    });
    const { port } = await server.listen(0);
    for (const { role, customer, key } of keys) {
      const transport = createGrpcTransport({
        baseUrl: `http://127.0.0.1:${port}`,
        interceptors: [
          (next) => (request) => {
            request.header.set('x-api-key', key.reveal());
            return next(request);
          },
        ],
      });
      clients.set(`${role}:${customer}`, createClient(NetworkManager, transport));
    }
  });
  afterAll(async () => {
    ends.abort();
    await server.close({ graceMs: 0 });
    await world[Symbol.asyncDispose]();
  });

  /** Everything that a caller is told, but for what tells one call from another. */
  async function told(call: Call, role: Role, { customer, ids }: { readonly customer: string; readonly ids: Ids }): Promise<unknown> {
    try {
      return await call(clientOf(role, customer), ids);
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      const [info] = error.findDetails(ErrorInfoSchema);
      const { request_id: _, ...metadata } = info?.metadata ?? {};
      return { code: error.code, message: error.rawMessage, reason: info?.reason, metadata };
    }
  }

  it('every call that names an object has a row', () => {
    const named = Object.entries(METHOD_RULES).filter(([, { about }]) => about === 'tailnet' || about === 'sidecar');
    expect(named.map(([name]) => name).filter((name) => !(name in CALLS))).toEqual([]);
    expect(NetworkManager.methods.map(({ name }) => name).filter((name) => !(name in METHOD_RULES))).toEqual([]);
  });

  it.each(ROLES.flatMap((role) => Object.entries(CALLS).map(([name, call]) => ({ role, name, call }))))(
    '$name as $role',
    async ({ role, name, call }) => {
      const before = await world.snapshot();
      const stranger = { role, customer: 'other-corp' };
      const answers = [await told(call, role, { ...stranger, ids: foreign }), await told(call, role, { ...stranger, ids: unknown })];
      expect(answers[0]).toEqual(answers[1]);
      expect(answers[0]).toMatchObject({ reason: expect.stringMatching(/_NOT_FOUND$/) });
      expect(await world.snapshot()).toEqual(before);
      // Its twin: the same call of the same role of the right customer is not refused so.
      if (METHOD_RULES[name as MethodName].changes) return;
      expect(await told(call, role, { customer: 'acme-corp', ids: foreign })).not.toMatchObject({ reason: expect.stringMatching(/_NOT_FOUND$/) });
    },
  );

  it('a foreign book in a tailnet of one’s own is as unknown as one that nobody has', async () => {
    const own = (book: string): Ids => ({ ...unknown, tailnet: 'other', book });
    const attach = CALLS.AttachSidecar as Call;
    const tell = (book: string) => told(attach, 'admin', { customer: 'other-corp', ids: own(book) });
    const none = await tell('nobodys');
    expect(none).toMatchObject({ reason: 'WORKLOAD_NOT_FOUND' });
    for (const book of [BOOK, `acme-corp/${BOOK}`]) expect(await tell(book)).toEqual(none);
  });

  it('lists and metrics show one’s own and nothing else', async () => {
    const client = clientOf('admin', 'other-corp');
    expect((await client.listTailnets({})).tailnets.map(({ tailnetName }) => tailnetName)).toEqual(['other']);
    expect((await client.listTailnets({ customerId: 'acme-corp' })).tailnets).toEqual([]);
    expect((await client.listSidecars({})).sidecars).toEqual([]);
    expect((await client.getConnectionMetrics({})).metrics.map(({ tailnetName }) => tailnetName)).toEqual(['other']);
    expect((await clientOf('viewer', 'acme-corp').listSidecars({})).sidecars).toHaveLength(1);
  });

  it('an own object and too small a role is denied, not hidden', async () => {
    for (const name of ['PauseTailnet', 'DetachSidecar', 'UpdateTailnet'] as const)
      expect(await told(CALLS[name] as Call, 'viewer', { customer: 'acme-corp', ids: foreign })).toMatchObject({ reason: 'PERMISSION_DENIED' });
    expect(await told(CALLS.DeleteTailnet as Call, 'operator', { customer: 'acme-corp', ids: foreign })).toMatchObject({
      reason: 'PERMISSION_DENIED',
    });
  });

  it('making a tailnet for another customer is denied, whether there is one or not', async () => {
    const create =
      (customerId: string): Call =>
      (client) =>
        client.createTailnet({ customerId, tailnetName: 'new', config: { allowedNetworks: [] } });
    const ids = { customer: 'other-corp', ids: unknown };
    expect(await told(create('acme-corp'), 'admin', ids)).toEqual(await told(create('nobody'), 'admin', ids));
  });
});
