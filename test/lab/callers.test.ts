// Callers outside of the platform, at the Envoy in the manager's pod: gRPC, client certificates, and the command `bifrost`; and that command without a
// service. `gateway.test.ts` asks the same Envoy over REST. Tests build on each other.
import type { ConnectivityEvent } from '@bifrost/types/proto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bifrost, CLUSTER, SERVICE } from './support/bifrost.ts';
import { Certificates, type ClientIdentity } from './support/certificates.ts';
import type { Output } from './support/command.ts';
import { kill, logs } from './support/containers.ts';
import { eventually } from './support/eventually.ts';
import { bearer } from './support/issuer.ts';
import { Outside, type OutsideOptions, refusalOf } from './support/outside.ts';
import type { WireEvent } from './support/platform.ts';
import { Stage } from './support/stage.ts';

const NAME = 'callers'; // of customer, tailnet and namespace
const BOOK = `${NAME}/book`;
const ADMINISTRATOR = 'spiffe://lab/administrator'; // lib/manager.sh says what these two may do
const READER = 'spiffe://lab/reader';
const ADAPTERS = { cluster: 'kubernetes', store: 'kubernetes', controlPlane: 'tailscale' };
// The issuer's key is there once the manager is.
const own = () => ({ headers: bearer([`viewer:${NAME}`]) });
const stranger = () => ({ headers: bearer(['admin:customer-other']) });
const unsigned = { headers: { authorization: 'Bearer nothing' } };

const stage = new Stage();
const { platform } = stage;
const certificates = new Certificates();
const bifrost = new Bifrost();
const connections = new AsyncDisposableStack();
let reader: ClientIdentity;
let administrator: ClientIdentity;
/** The token of a stream before the book was attached. */
let beforeAttach = '';

const outside = async (options: OutsideOptions = {}): Promise<Outside> => connections.use(new Outside(await platform.address(), options));
const followed = (events: AsyncIterable<ConnectivityEvent>): { readonly events: ConnectivityEvent[]; readonly ended: Promise<unknown> } => {
  const kept: ConnectivityEvent[] = [];
  const read = async (): Promise<void> => {
    for await (const event of events) kept.push(event);
  };
  return { events: kept, ended: read().catch((error: unknown) => error) };
};

beforeAll(async () => {
  await stage.open();
  [reader, administrator] = [certificates.issue(READER), certificates.issue(ADMINISTRATOR)];
  await stage.customer({ name: NAME });
  await stage.space(NAME, NAME);
  await stage.tailnet({ customer_id: NAME, tailnet_name: NAME });
  await stage.book({ name: 'book', namespace: NAME });
  await stage.pod(NAME, 'book');
});
afterAll(async () => {
  await connections.disposeAsync();
  bifrost[Symbol.dispose]();
  certificates[Symbol.dispose]();
  await stage[Symbol.asyncDispose]();
});

describe('gRPC with a token', () => {
  test('the deployed service answers, and the call is in Envoy’s access log', async () => {
    const { client } = await outside();
    let requestId = '';
    const info = await client.getServiceInfo(
      {},
      { headers: bearer(['admin:*']), onHeader: (header) => (requestId = header.get('x-request-id') ?? '') },
    );
    expect(info).toMatchObject({ adapters: ADAPTERS, readOnly: false, caller: { via: 'jwt', roles: ['admin:*'] } });
    expect(requestId).not.toBe('');
    const [pod] = await platform.managerPods();
    const address = { namespace: 'bifrost', pod: pod?.metadata.name ?? '', container: 'envoy' };
    const line = await eventually('the line is written', async () => (await logs(address)).split('\n').find((text) => text.includes(requestId)));
    expect(line).toContain('"path":"/bifrost.network.v1.NetworkManager/GetServiceInfo"');
  });

  test('a customer’s token lists its own; what is foreign is NOT_FOUND, in the words for what is unknown', async () => {
    const { client } = await outside();
    expect((await client.listTailnets({}, own())).tailnets).toMatchObject([{ tailnetName: NAME, customerId: NAME }]);
    expect((await client.listTailnets({}, stranger())).tailnets).toEqual([]);
    const foreign = await refusalOf(client.getTailnet({ tailnetName: NAME }, stranger()));
    expect(foreign).toMatchObject({ code: 'NotFound', reason: 'TAILNET_NOT_FOUND' });
    expect(foreign).toEqual(await refusalOf(client.getTailnet({ tailnetName: 'never' }, stranger())));
  });

  test('without a token, or with one that is none, every call is UNAUTHENTICATED', async () => {
    const { client } = await outside();
    for (const options of [{}, unsigned]) {
      expect(await refusalOf(client.getServiceInfo({}, options))).toMatchObject({ code: 'Unauthenticated' });
      expect(await followed(client.monitorConnectivity({ heartbeatSeconds: 1 }, options)).ended).toMatchObject({ code: 16 });
    }
  });

  test('a stream tells of a real attach, and a stranger’s stream does not', async () => {
    const { client } = await outside();
    const reading = new AbortController();
    const follow = (options: ReturnType<typeof own>) =>
      followed(client.monitorConnectivity({ heartbeatSeconds: 1 }, { ...options, signal: reading.signal }));
    const [ours, theirs] = [follow(own()), follow(stranger())];
    await eventually('both streams are alive', () => ours.events.length > 0 && theirs.events.length > 0);
    beforeAttach = ours.events.at(-1)?.resumeToken ?? '';
    const sidecarId = await stage.attach(BOOK, NAME);
    const connected = await eventually('the event', () => ours.events.find(({ eventType }) => eventType === 'connected'), { timeoutMs: 60_000 });
    expect(connected).toMatchObject({ tailnetName: NAME, details: { sidecar_id: sidecarId, book_deployment_id: BOOK } });
    const heard = theirs.events.length;
    await eventually('a heartbeat to the stranger', () => theirs.events.length > heard);
    expect(theirs.events.filter(({ eventType }) => eventType !== '')).toEqual([]);
    reading.abort();
    await Promise.all([ours.ended, theirs.ended]);
    await platform.sidecarReaches(sidecarId, 'connected');
  });
});

describe('a client certificate', () => {
  test('lets its owner in, with the roles of its identity and no more', async () => {
    const byReader = await outside({ identity: reader });
    const { client } = byReader;
    const { client: byAdministrator } = await outside({ identity: administrator });
    expect(await client.getServiceInfo({})).toMatchObject({
      adapters: ADAPTERS,
      caller: { subject: 'reader', via: 'mtls', roles: [`viewer:${NAME}`] },
    });
    expect([await byReader.get(`/tailnets/${NAME}`), await byReader.get('/leftovers')]).toEqual([200, 403]);
    expect(await refusalOf(client.pauseTailnet({ tailnetName: NAME }))).toMatchObject({ code: 'PermissionDenied' });
    expect(await byAdministrator.getServiceInfo({})).toMatchObject({ caller: { subject: 'administrator', via: 'mtls', roles: ['admin:*'] } });
    expect((await byAdministrator.listLeftovers({})).leftovers).toEqual([]);
  });

  test('of another authority ends the handshake, whatever name it has', async () => {
    const forged = await outside({ identity: certificates.issue(ADMINISTRATOR, { trusted: false }) });
    const refused = { code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA' };
    await expect(forged.get('/info')).rejects.toMatchObject(refused);
    await expect(forged.client.getServiceInfo({})).rejects.toMatchObject({ cause: refused });
  });

  test('of the right authority and for nobody that the service knows is worth nothing', async () => {
    const { client } = await outside({ identity: certificates.issue('spiffe://lab/nobody') });
    expect(await refusalOf(client.getServiceInfo({}))).toMatchObject({ code: 'Unauthenticated', reason: 'UNAUTHENTICATED' });
  });

  test('cannot be claimed by a header, and does not mend a token that is bad', async () => {
    const claim = { 'x-forwarded-client-cert': `Hash=${administrator.fingerprintSha256};URI=${ADMINISTRATOR}` };
    for (const port of [8080, 8444]) {
      const nobody = await outside({ port });
      expect(await nobody.get('/info', claim)).toBe(401);
      expect(await refusalOf(nobody.client.getServiceInfo({}, { headers: claim }))).toMatchObject({ code: 'Unauthenticated' });
    }
    const { client } = await outside({ identity: reader });
    expect(await client.getServiceInfo({}, { headers: claim })).toMatchObject({ caller: { subject: 'reader' } });
    expect(await refusalOf(client.getServiceInfo({}, unsigned))).toMatchObject({ code: 'Unauthenticated' });
  });
});

describe('the command through Envoy', () => {
  const token = () => ({ BIFROST_TOKEN: bearer(['admin:*']).authorization.slice('Bearer '.length) });
  const run = (...args: readonly string[]): Promise<Output> => bifrost.run([...SERVICE, ...args], token());

  test('status, lists and doctor say how things stand', async () => {
    const [status, tailnets, sidecars] = [await run('status', NAME), await run('tailnet', 'list'), await run('sidecar', 'list', '-o', 'json')];
    expect([status.code, tailnets.code, sidecars.code]).toEqual([0, 0, 0]);
    expect(status.stdout).toContain('1 connected device');
    expect(tailnets.stdout).toMatch(/^callers +callers +active/m);
    expect(JSON.parse(sidecars.stdout).sidecars).toMatchObject([{ book_deployment_id: BOOK, tailnet_name: NAME, status: 'connected' }]);
    const doctor = await run('doctor', '-o', 'json');
    expect(JSON.parse(doctor.stdout).checks).toEqual(
      expect.arrayContaining([
        { name: 'signed in', verdict: 'ok', seen: 'as admin:* by jwt, with admin:*' },
        { name: 'adapters', verdict: 'ok', seen: 'cluster kubernetes, store kubernetes, control plane tailscale' },
        { name: 'reports', verdict: 'ok', seen: expect.stringContaining('1 of 1 pod report') },
      ]),
    );
    expect(doctor.code).toBe(0);
  });

  test('a token that is wrong is refused with 1, doctor finds it with 3, and a key of nobody’s authority reaches nobody: 4', async () => {
    const wrong = ['--token-file', bifrost.file('token', 'a.wrong.token\n')];
    const refused = await bifrost.run([...SERVICE, ...wrong, 'status']);
    expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^error: unauthenticated/i) });
    expect(refused.stderr).not.toContain('a.wrong.token');
    const doctor = await bifrost.run([...SERVICE, ...wrong, 'doctor']);
    expect(doctor).toMatchObject({ code: 3, stdout: expect.stringMatching(/^fail +signed in/m) });
    const forged = certificates.issue(ADMINISTRATOR, { trusted: false });
    expect(await bifrost.run([...SERVICE, '--cert', forged.certFile, '--key', forged.keyFile, 'status'])).toMatchObject({ code: 4, stdout: '' });
  });

  test('a certificate is enough', async () => {
    const known = [...SERVICE, '--cert', reader.certFile, '--key', reader.keyFile];
    expect(await bifrost.run([...known, 'status'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^callers +callers +active +1 +1\/1/m) });
    expect(await bifrost.run([...known, 'leftovers'])).toMatchObject({ code: 1, stderr: expect.stringContaining('PERMISSION_DENIED') });
  });

  test('watch goes on where another reader’s stream stood, and follows', async () => {
    const watch = connections.use(bifrost.start([...SERVICE, 'watch', NAME, '--resume', beforeAttach, '-o', 'json'], token()));
    const connected = await watch.line<WireEvent>('the attach', ({ event_type }) => event_type === 'connected');
    expect(connected).toMatchObject({ tailnet_name: NAME, details: { book_deployment_id: BOOK } });
    await kill(await stage.inBook(NAME, 'book', 'tailscale'), 'tailscaled');
    const lost = await watch.line<WireEvent>('the loss', ({ event_type }) => event_type === 'disconnected');
    await watch.line<WireEvent>('its end', ({ event_type, timestamp }) => event_type === 'connected' && timestamp > lost.timestamp);
    watch.interrupt();
    expect(await watch.ended).toMatchObject({ code: 0 });
  });

  test('a book is taken off the tailnet and put on it again, each waited for', async () => {
    expect(await run('sidecar', 'detach', BOOK, '--wait')).toMatchObject({ code: 0 });
    expect(await run('sidecar', 'get', BOOK)).toMatchObject({ code: 1, stdout: '' });
    const attached = await run('sidecar', 'attach', BOOK, '--tailnet', NAME, '--hostname', 'book', '--wait', '-o', 'json');
    expect([attached.code, JSON.parse(attached.stdout)]).toMatchObject([0, { book_deployment_id: BOOK, status: 'connected' }]);
  });
});

describe('the command without a service', () => {
  const run = (...args: readonly string[]): Promise<Output> => bifrost.run([...CLUSTER, ...args]);

  test('status and doctor read the cluster’s own objects', async () => {
    const status = await eventually('the record says what the service has heard', async () => {
      const said = await run('status');
      return said.stdout.includes('1/1') && said;
    });
    expect(status).toMatchObject({ code: 0, stdout: expect.stringMatching(/^callers +callers +active +1 +1\/1/m) });
    const doctor = await run('doctor', '-o', 'json');
    const checks: readonly { readonly name: string; readonly verdict: string }[] = JSON.parse(doctor.stdout).checks;
    expect(checks.filter(({ verdict }) => verdict === 'fail')).toEqual([]);
    expect(checks.filter(({ verdict }) => verdict === 'ok').map(({ name }) => name)).toEqual(
      expect.arrayContaining(['kubernetes', 'custom resources', 'rights', 'manager', 'images', 'ingest', 'credentials', 'control plane', 'sidecars']),
    );
    expect(doctor.code).toBe(0);
  });

  test('leftovers finds nothing while a book is attached, and with 3 the Secret of a sidecar that is no more', async () => {
    expect(await run('leftovers')).toMatchObject({ code: 0, stdout: 'nothing is left over\n' });
    const labels = { 'app.kubernetes.io/managed-by': 'bifrost', 'bifrost.dev/sidecar-id': '00000000-0000-4000-8000-000000000000' };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'bifrost-planted', namespace: NAME, labels } } as const;
    await platform.kubernetes.apply(secret);
    const found = await run('leftovers', '-o', 'json');
    await platform.kubernetes.delete(secret);
    expect([found.code, JSON.parse(found.stdout).leftovers]).toEqual([3, [{ kind: 'secret', id: 'bifrost-planted', place: NAME }]]);
  });

  test('a kubeconfig that the API server does not take is refused', async () => {
    const kubeconfig = bifrost.file(
      'kubeconfig',
      `apiVersion: v1
kind: Config
clusters: [{ name: lab, cluster: { server: "https://10.244.0.1:6443", insecure-skip-tls-verify: true } }]
users: [{ name: nobody, user: { token: nothing } }]
contexts: [{ name: lab, context: { cluster: lab, user: nobody } }]
current-context: lab
`,
    );
    const refused = await bifrost.run(['--cluster', '--kubeconfig', kubeconfig, 'leftovers']);
    expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('CLUSTER_DENIED') });
  });
});
