import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ControlClient } from './support/control.ts';
import { eventually } from './support/eventually.ts';
import type { Named } from './support/kubernetes.ts';
import { type ApiAnswer, putCredential } from './support/platform.ts';
import { snapshot } from './support/snapshot.ts';
import { Stage, sidecarWish, tailnetWish } from './support/stage.ts';

// What callers get wrong, through the manager's own door: a code, a path, and nothing written. Twins differ in one fact and are accepted.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'bad-input';
const TAILNET = 'bad-input';

let control: ControlClient;
let login: ControlClient;
const look = () => snapshot(kubernetes, [control, login]);

interface Refusal {
  readonly status: number;
  readonly code: string;
  /** As on the wire; one at least there is always. */
  readonly paths?: readonly string[];
}

/** Asks, and expects this refusal and that nothing was written: not in the cluster, not at the control plane. */
async function refused(call: readonly [method: string, path: string, body?: unknown], { status, code, paths }: Refusal): Promise<ApiAnswer['body']> {
  const before = await look();
  const answer = await platform.call(...call);
  expect(answer).toMatchObject({ status, body: { code, message: expect.stringMatching(/\w{3}/) } });
  const told = answer.body.issues.map(({ path }: { path: string }) => path);
  expect(told).toEqual(paths ?? [expect.any(String)]);
  expect(await look()).toEqual(before);
  return answer.body;
}
const attachRefused = (wish: unknown, refusal: Refusal) => refused(['POST', '/sidecars', wish], refusal);
/** The twin: the same wish but for one fact would be carried out. Nothing is written by it either. */
async function accepted(wish: unknown): Promise<void> {
  const before = await look();
  expect(await platform.call('POST', '/sidecars:plan', wish)).toMatchObject({ status: 200 });
  expect(await look()).toEqual(before);
}
/** A book without pods: what is refused or planned needs none. */
const addBook = (name: string, podSpec: Readonly<Record<string, unknown>> = {}, space = SPACE): Promise<Named> =>
  stage.book({ name, namespace: space, replicas: 0, podSpec });
const wish = (name: string, config: Readonly<Record<string, unknown>> = {}) => sidecarWish(`${SPACE}/${name}`, TAILNET, config);

beforeAll(async () => {
  await stage.open();
  control = await stage.bareCustomer('bad-input');
  await stage.space(SPACE, 'bad-input');
  await stage.space('bad-other', 'bad-other');
  const [held] = await Promise.all([addBook('held'), addBook('clean'), addBook('clean', {}, 'bad-other')]);
  login = await stage.bareCustomer('bad-login');
  await putCredential(kubernetes, 'bad-login', { ...login.client, secret: 'tskey-client-wrong' });
  await stage.createTailnet({ customer_id: 'bad-login', tailnet_name: 'bad-login' });
  for (const name of [TAILNET, 'bad-input-2']) await stage.tailnet({ customer_id: 'bad-input', tailnet_name: name });
  await stage.attach(`${SPACE}/held`, TAILNET);
  await eventually('the sidecar is in the workload', async () => (await stage.specOf(held)).includes('bifrost-guard'));
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('wrong credentials', () => {
  test('make a tailnet fail with the code that says so', async () => {
    await platform.tailnetReaches('bad-login', 'failed');
    const { reason } = await platform.must('GET', '/tailnets/bad-login');
    expect(reason).toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID', path: 'credential.secret_name' });
    expect(JSON.stringify(reason)).not.toContain('tskey');
    // Its owner mends it now; the last test sees what comes of it.
    await putCredential(kubernetes, 'bad-login', login.client);
  });
});

describe('a tailnet', () => {
  const request = tailnetWish({ customer_id: 'bad-input', tailnet_name: TAILNET });

  test('asked for again is the same one', async () => {
    const { tailnet_id, created_at } = await platform.must('GET', `/tailnets/${TAILNET}`);
    const before = await look();
    expect(await platform.call('POST', '/tailnets', request)).toMatchObject({ status: 200, body: { tailnet_id, created_at, status: 'active' } });
    expect(await look()).toEqual(before);
  });

  test.each([
    ['with another configuration', { config: { allowed_networks: ['10.1.0.0/16'] } }],
    ['for another customer', { customer_id: 'bad-other' }],
  ])('of a name that is taken, %s, is refused', async (_, change) => {
    const body = await refused(['POST', '/tailnets', { ...request, ...change }], { status: 409, code: 'TAILNET_EXISTS', paths: ['tailnet_name'] });
    expect(body.message).not.toContain('bad-input'); // whose it is, is nobody's business
  });

  test('with a bad range is refused, with the path of each', async () => {
    const config = { allowed_networks: ['10.0.0.300/8', '10.0.0.0/8', '10.0.0.1/8'], blocked_networks: ['169.254.0.0'] };
    const paths = ['config.allowed_networks.0', 'config.allowed_networks.2', 'config.blocked_networks.0'];
    await refused(['POST', '/tailnets', { ...request, tailnet_name: 'bad-range', config }], { status: 400, code: 'INVALID_ARGUMENT', paths });
  });

  test('that is not known has no status and cannot be deleted', async () => {
    const refusal = { status: 404, code: 'TAILNET_NOT_FOUND', paths: ['tailnet_name'] };
    await refused(['GET', '/tailnets/nobodys/status'], refusal);
    await refused(['DELETE', '/tailnets/nobodys?cascade=true'], refusal);
  });
});

describe('an attach is refused', () => {
  test('to an unknown tailnet', () =>
    attachRefused(sidecarWish(`${SPACE}/clean`, 'nobodys'), { status: 404, code: 'TAILNET_NOT_FOUND', paths: ['tailnet_name'] }));

  test.each([
    ['quotes', 'book"; reboot; "'],
    ['a line break', 'book\nbook'],
    ['letters beyond ASCII', 'bücher'],
    ['an emoji', '📚'],
  ])('with a hostname that has %s; the twin without is accepted', async (_, hostname) => {
    await attachRefused(wish('clean', { hostname }), { status: 400, code: 'INVALID_ARGUMENT', paths: ['config.hostname'] });
    await accepted(wish('clean', { hostname: 'books' }));
  });

  test('of a Deployment that is missing; the twin that is there is accepted', async () => {
    await attachRefused(wish('missing'), { status: 404, code: 'WORKLOAD_NOT_FOUND', paths: ['book_deployment_id'] });
    await accepted(wish('clean'));
  });

  test('in another customer’s namespace; the twin in the customer’s own is accepted', async () => {
    const refusal = { status: 403, code: 'CUSTOMER_MISMATCH', paths: ['book_deployment_id'] };
    await attachRefused(sidecarWish('bad-other/clean', TAILNET), refusal);
    await accepted(sidecarWish(`${SPACE}/clean`, TAILNET));
  });

  test('when it is attached otherwise; the same again is the same sidecar', async () => {
    await attachRefused({ ...wish('held'), tailnet_name: 'bad-input-2' }, { status: 409, code: 'SIDECAR_EXISTS', paths: ['tailnet_name'] });
    await attachRefused(wish('held', { enable_ssh: true }), { status: 409, code: 'SIDECAR_EXISTS', paths: ['config'] });
    const before = await look();
    const { sidecar_id, created_at } = (await platform.must('GET', '/sidecars')).sidecars.find(
      ({ workload }: { workload: { namespace: string; name: string } }) => workload.namespace === SPACE && workload.name === 'held',
    );
    expect(await platform.call('POST', '/sidecars', wish('held'))).toMatchObject({ status: 200, body: { sidecar_id, created_at } });
    expect(await look()).toEqual(before);
  });

  test('where another field manager owns what the sidecar needs, which is told; the twin without is accepted', async () => {
    const volume = await addBook('volume', { volumes: [{ name: 'bifrost-key', emptyDir: {} }] });
    await attachRefused(wish('volume'), { status: 409, code: 'FIELD_CONFLICT', paths: ['spec.template.spec.volumes.0.name'] });
    await kubernetes.mergePatch(volume, { spec: { template: { spec: { volumes: null } } } });
    await accepted(wish('volume'));

    const note = await addBook('note');
    const annotate = (value: string | null) =>
      kubernetes.must('PATCH', `/apis/apps/v1/namespaces/${SPACE}/deployments/${note.metadata.name}?fieldManager=argocd`, {
        body: { spec: { template: { metadata: { annotations: { 'bifrost.dev/tailnet-name': value } } } } },
        contentType: 'application/merge-patch+json',
      });
    await annotate('theirs');
    const body = await attachRefused(wish('note'), { status: 409, code: 'FIELD_CONFLICT' });
    expect(body.issues).toEqual([{ path: expect.stringContaining('bifrost.dev/tailnet-name'), message: expect.stringContaining('argocd') }]);
    await annotate(null);
    await accepted(wish('note'));
  });

  test('where pod security forbids NET_ADMIN; the twin in a privileged namespace is accepted', async () => {
    for (const level of ['baseline', 'privileged']) {
      await stage.space(`bad-${level}`, 'bad-input', { 'pod-security.kubernetes.io/enforce': level });
      await addBook('book', {}, `bad-${level}`);
    }
    const body = await attachRefused(sidecarWish('bad-baseline/book', TAILNET), {
      status: 422,
      code: 'POD_SECURITY_FORBIDDEN',
      paths: ['book_deployment_id'],
    });
    expect(body.message).toContain('NET_ADMIN');
    await accepted(sidecarWish('bad-privileged/book', TAILNET));
  });

  test('where the pod has a hand-made tailscale container; the twin without is accepted', async () => {
    const handMade = { name: 'tailscale', image: 'docker.io/tailscale/tailscale:v1', env: [{ name: 'TS_KUBE_SECRET', value: 'state' }] };
    const workload = await addBook('handmade');
    const { spec } = (await kubernetes.get<{ spec: { template: { spec: { containers: object[] } } } }>(workload)) ?? {};
    const containers = spec?.template.spec.containers ?? [];
    await kubernetes.mergePatch(workload, { spec: { template: { spec: { containers: [...containers, handMade] } } } });
    await attachRefused(wish('handmade'), { status: 409, code: 'SIDECAR_EXISTS', paths: ['spec.template.spec.containers.1'] });
    await kubernetes.mergePatch(workload, { spec: { template: { spec: { containers } } } });
    await accepted(wish('handmade'));
  });

  test('with an option that does not exist', () =>
    attachRefused(wish('clean', { accept_route: true }), { status: 400, code: 'INVALID_ARGUMENT', paths: ['config.accept_route'] }));
});

test('a detach of a sidecar that is not known is refused', () =>
  refused(['DELETE', '/sidecars/0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1'], { status: 404, code: 'SIDECAR_NOT_FOUND', paths: ['sidecar_id'] }));

test('after its Secret was corrected, the tailnet with the wrong credentials becomes active by itself', async () => {
  await platform.tailnetReaches('bad-login', 'active', 100_000);
  expect((await platform.must('GET', '/tailnets/bad-login')).reason).toBeUndefined();
}, 120_000);
