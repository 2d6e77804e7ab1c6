import type { NetworkPolicyManifest } from '@bifrost/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lab } from './support/command.ts';
import { type ContainerAddress, exec, lookupFromBook, requestFromBook } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { eventually, throughout } from './support/eventually.ts';
import { isReady, type KubernetesObject } from './support/kubernetes.ts';
import { service } from './support/manifests.ts';
import { enforcing, metadataServer, NODE, networkPolicy as object, policiesOf } from './support/network-policies.ts';
import { Stage } from './support/stage.ts';

// NetworkPolicies, judged with packets by the lab's own enforcer (modules/netpol): first raw ones, which judge the enforcer, then those that Bifrost writes.
const stage = new Stage();
const { kubernetes, platform } = stage;
const [A, B, OWN, NAME] = ['policy-a', 'policy-b', 'policy-own', 'own-book'];
const urls = new Map<string, string>();
const addressOf = async (space: string, app: string): Promise<string> => (await stage.pod(space, app)).status.podIP ?? '';

/** In force until disposed; what that means for packets is waited for. */
async function inForce(...policies: readonly KubernetesObject[]): Promise<AsyncDisposable> {
  for (const policy of policies) await kubernetes.apply(policy);
  return { [Symbol.asyncDispose]: async () => void (await Promise.all(policies.map((policy) => kubernetes.delete(policy)))) };
}

/** One packet there and back: to a page, or to DNS. */
async function passes(from: ContainerAddress, target: string): Promise<boolean> {
  if (target === 'dns') return (await lookupFromBook(from, `near.${A}.svc.cluster.local`, 1_500)).addresses?.length === 1;
  return (await requestFromBook(from, { url: urls.get(target) ?? '', timeoutMs: 800 })).status === 200;
}
const sources = new Map<string, ContainerAddress>();
/** `sender near:8080` */
const isOpen = (way: string): Promise<boolean> => {
  const [from = '', target = ''] = way.split(' ');
  return passes(sources.get(from) as ContainerAddress, target);
};
const areAll = async (open: boolean, ways: readonly string[]): Promise<boolean> =>
  (await Promise.all(ways.map(isOpen))).every((each) => each === open);
/** Waits for one look that finds just this of them: what is written, or taken away, is in force a moment later, one policy after the other. */
const finds = (ways: readonly string[], open: readonly boolean[], ask = isOpen): Promise<true> =>
  eventually(`${ways.join(', ')}: ${open.join(', ')}`, async () => {
    expect(await Promise.all(ways.map(ask))).toEqual(open);
    return true;
  });

beforeAll(async () => {
  await stage.open();
  await Promise.all([A, B].map((space) => stage.space(space, space)));
  await Promise.all([
    stage.book({ name: 'sender', namespace: A }),
    stage.book({ name: 'near', namespace: A }),
    stage.book({ name: 'far', namespace: B }),
  ]);
  await kubernetes.apply(service('near', A));
  const near = await addressOf(A, 'near');
  const far = await addressOf(B, 'far');
  const { spec } = (await kubernetes.get<{ spec: { clusterIP: string } }>(service('near', A))) ?? {};
  for (const port of [8080, 8081]) urls.set(`near:${port}`, `http://${near}:${port}/`).set(`far:${port}`, `http://${far}:${port}/`);
  urls.set('service', `http://${spec?.clusterIP}:8080/`).set('node', `http://${NODE}:9911/key?v=130`);
  for (const app of ['sender', 'near', 'far']) sources.set(app, await stage.inBook(app === 'far' ? B : A, app));
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('the enforcer: what a policy cuts was open before, and is again after', () => {
  const open = [
    'sender near:8080',
    'sender near:8081',
    'sender far:8080',
    'sender service',
    'sender node',
    'sender dns',
    'near far:8080',
    'far near:8080',
  ];
  const sent = open.filter((way) => way.startsWith('sender'));
  const egress = (...rules: readonly object[]) => ({ podSelector: { matchLabels: { app: 'sender' } }, policyTypes: ['Egress'], egress: rules });
  const pods = (app: string) => ({ podSelector: { matchLabels: { app } } });
  const space = (name: string) => ({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } });
  const notIn = (name: string) => ({
    namespaceSelector: { matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: [name] }] },
  });
  const block = (cidr: string, ...except: readonly string[]) => ({ ipBlock: { cidr, except } });

  /** While these are in force, of `concerned` only `kept` is open, and all else as before. */
  async function keeps(specs: readonly object[], kept: readonly string[], concerned = sent): Promise<void> {
    const isKept = (way: string): boolean => kept.includes(way) || !concerned.includes(way);
    expect(open.every(isKept)).toBe(false);
    {
      await using _inForce = await inForce(...specs.map((spec, index) => object(`case-${index}`, A, spec)));
      await finds(open, open.map(isKept));
    }
    await eventually('all is open again', () => areAll(true, open));
  }

  beforeAll(() => eventually('all is open', () => areAll(true, open)));

  /** Rules by the address of `near`. */
  const cases: readonly [string, (near: string) => readonly object[], readonly string[]][] = [
    ['no rule: nothing leaves the pod', () => [egress()], []],
    ['pods by label, behind their Service too', () => [egress({ to: [pods('near')] })], ['sender near:8080', 'sender near:8081', 'sender service']],
    ['a label that only pods of another namespace have', () => [egress({ to: [pods('far')] })], []],
    [
      'pods of a namespace by label',
      () => [
        egress({
          to: [
            { ...space(B), ...pods('far') },
            { ...space(A), ...pods('far') },
          ],
        }),
      ],
      ['sender far:8080'],
    ],
    ['a namespace by expression', () => [egress({ to: [notIn(A)] })], ['sender far:8080']],
    ['addresses, some excepted', (near) => [egress({ to: [block('10.244.0.0/24', `${near}/32`, `${NODE}/32`)] })], ['sender far:8080']],
    ['the node, by protocol and port', () => [egress({ to: [block(`${NODE}/32`)], ports: [{ protocol: 'UDP', port: 53 }] })], ['sender dns']],
    ['a range of ports', () => [egress({ ports: [{ port: 8081, endPort: 9911 }] })], ['sender near:8081', 'sender node']],
    ['a port by name', () => [egress({ to: [pods('near')], ports: [{ port: 'http' }] })], ['sender near:8080', 'sender service']],
    ['two policies add up', () => [egress({ to: [space(B)] }), egress({ ports: [{ port: 9911 }] })], ['sender far:8080', 'sender node']],
  ];
  test.each(cases)('%s', async (_, specs, kept) => keeps(specs(await addressOf(A, 'near')), kept));

  test('an empty rule lets everything, whatever other policies say', async () => {
    await using _closed = await inForce(object('closed', A, egress()));
    await eventually('nothing leaves', () => areAll(false, sent));
    await using _open = await inForce(object('open', A, egress({})));
    await eventually('all leaves', () => areAll(true, sent));
  });

  test('ingress: from one pod on one port, and the kubelet’s probes, which come from the node', async () => {
    const spec = { ...pods('near'), policyTypes: ['Ingress'], ingress: [{ from: [pods('sender')], ports: [{ port: 'http' }] }] };
    const kept = ['sender near:8080', 'sender service'];
    await keeps([spec], kept, [...kept, 'sender near:8081', 'far near:8080']);
    await using _inForce = await inForce(object('closed', A, { ...pods('near'), policyTypes: ['Ingress'] }));
    await eventually('nobody gets in', () => areAll(false, kept));
    const [name] = (await stage.pods(A, 'near')).map(({ metadata }) => metadata.name);
    // A probe each second, three of which may fail.
    await throughout('it stays ready', async () => (await kubernetes.pods(A, 'app=near')).some((pod) => pod.metadata.name === name && isReady(pod)), {
      timeoutMs: 5_000,
    });
  });
});

let customer: Customer;
let sidecarId = '';
let ours: NetworkPolicyManifest;
let oursIn: NetworkPolicyManifest;
const book = (container = 'book'): Promise<ContainerAddress> => stage.inBook(OWN, NAME, container);
const passesTo = async (target: string): Promise<boolean> => passes(await book(), target);
/** Another customer's pods, and DNS. */
const passesEverywhere = (): Promise<true> => finds(['far:8080', 'near:8081', 'service', 'dns'], [true, true, true, true], passesTo);
/** Nothing comes in by UDP: a path that is direct was opened by the sidecar itself, as behind NAT. */
const noUdpIn = object('no-udp-in', OWN, { podSelector: {}, policyTypes: ['Ingress'], ingress: [{ ports: [{ protocol: 'TCP' }] }] });
const whole = (): KubernetesObject => object(ours.metadata.name, OWN, ours.spec);
type Rule = NonNullable<NetworkPolicyManifest['spec']['egress']>[number];
const without = (drop: (rule: Rule) => boolean): KubernetesObject => {
  const egress = ours.spec.egress?.filter((rule) => !drop(rule)) ?? [];
  expect(egress).toHaveLength((ours.spec.egress?.length ?? 0) - 1);
  return object(ours.metadata.name, OWN, { ...ours.spec, egress });
};

async function newPod(): Promise<void> {
  await kubernetes.deleteAndWait({ apiVersion: 'v1', kind: 'Pod', metadata: (await stage.pod(OWN, NAME)).metadata });
  await stage.reaches(await book(), customer);
}
/** By which way the router answers the sidecar: an address and port, or `DERP(lab)`. */
async function wayToRouter(): Promise<string | undefined> {
  const ping = ['tailscale', 'ping', '--c=3', '--timeout=1s', customer.gateway.addresses[0] ?? ''];
  const { stdout } = await exec(await book('tailscale'), ping);
  return [...stdout.matchAll(/ via (\S+) in /g)].at(-1)?.[1];
}
async function sinceReportMs(): Promise<number> {
  const { instances } = await platform.sidecar(sidecarId);
  return Date.now() - Math.max(...instances.map(({ last_report_at }: { last_report_at: string }) => Date.parse(last_report_at)));
}

describe('what Bifrost writes for a book with a sidecar', () => {
  beforeAll(async () => {
    customer = await stage.customer({ name: 'policy' });
    await stage.space(OWN, 'policy');
    await stage.book({ name: NAME, namespace: OWN });
    await stage.tailnet({ customer_id: 'policy', tailnet_name: OWN });
    sidecarId = await stage.attach(`${OWN}/${NAME}`, OWN);
    await platform.sidecarReaches(sidecarId, 'connected', 120_000);
    await stage.reaches(await book(), customer);
    [ours, oursIn] = (await policiesOf(kubernetes, { sidecarId, namespace: OWN, customer: 'policy' })) as [
      NetworkPolicyManifest,
      NetworkPolicyManifest,
    ];
  });

  test('without it the book reaches another customer’s pod', passesEverywhere);

  test('without its rule for DNS no name is known: its UDP goes to nothing that is the cluster’s', async () => {
    await using _ours = await inForce(without(({ ports = [] }) => ports.some(({ port }) => port === 53)));
    await eventually('no answer of DNS', async () => !(await passesTo('dns')));
    await stage.reaches(await book(), customer);
  });

  test('without its rule for ingest there are no reports', async () => {
    await using _ours = await inForce(without(({ ports = [] }) => ports.some(({ port }) => port === 8443)));
    await eventually('no report for four heartbeats', async () => (await sinceReportMs()) > 4_000);
  });

  test('without its rule for UDP the same pod would have none: all goes by relay', async () => {
    await using _policies = await inForce(
      without(({ ports = [] }) => ports.some(({ protocol, port }) => protocol === 'UDP' && port === undefined)),
      noUdpIn,
    );
    await newPod();
    expect([await wayToRouter(), await wayToRouter()]).toEqual(['DERP(lab)', 'DERP(lab)']);
    await stage.reaches(await book(), customer);
  });

  test('with ingress asked for, the book answers on the port that it serves, to whoever asks, and on no other', async () => {
    const { podIP } = (await stage.pod(OWN, NAME)).status;
    for (const port of [8080, 8081]) urls.set(`own:${port}`, `http://${podIP}:${port}/`);
    const ways = ['far own:8080', 'far own:8081'];
    await eventually('both are open', () => areAll(true, ways));
    await using _policies = await inForce(whole(), object(oursIn.metadata.name, OWN, oursIn.spec));
    await finds(ways, [true, false]);
    await stage.reaches(await book(), customer);
    await platform.sidecarReaches(sidecarId, 'connected');
  });
});

// The manager itself writes it, for the same book. Tests build on each other.
describe('a manager that is told to enforce', () => {
  const policies = () => kubernetes.list<KubernetesObject>('networking.k8s.io/v1', 'NetworkPolicy', { namespace: OWN });
  const isCut = (target: string) => eventually(`${target} is cut`, async () => !(await passesTo(target)));

  beforeAll(async () => {
    expect(await policies()).toEqual([]);
    await passesEverywhere();
    await lab(['manager', ...enforcing], { timeoutMs: 120_000 });
  });
  afterAll(() => lab(['manager'], { timeoutMs: 120_000 }));

  test('writes it for the running book: no other pod, but DNS, its customer, and its reports', async () => {
    await finds(['far:8080', 'far:8081', 'near:8081', 'service', 'dns'], [false, false, false, false, true], passesTo);
    expect((await policies()).map(({ metadata }) => metadata.name)).toEqual([`bifrost-${sidecarId}-egress`]);
    await stage.reaches(await book(), customer);
    const from = Date.now();
    await eventually('a report comes', async () => Date.now() - (await sinceReportMs()) > from);
    await eventually('it is on record', async () => {
      expect((await platform.sidecar(sidecarId)).conditions).toContainEqual(expect.objectContaining({ type: 'NetworkPolicies', status: 'True' }));
      return true;
    });
    const packet = { to: await addressOf(B, 'far'), port: 9999, protocol: 'udp' };
    const { explanation } = await platform.must('POST', `/sidecars/${sidecarId}:explain`, packet);
    expect(explanation).toMatchObject({ verdict: 'denied', layer: 'network_policy', by: `${OWN}/bifrost-${sidecarId}-egress` });
  });

  test('a new pod joins under it and has a direct path to its router', async () => {
    await using _noUdpIn = await inForce(noUdpIn);
    await newPod();
    await eventually('the way is direct', async () => /^10\.245\.\d+\.2:41641$/.test((await wayToRouter()) ?? ''));
    expect(await passesTo('far:8080')).toBe(false);
    await platform.sidecarReaches(sidecarId, 'connected');
  });

  test('puts it right when somebody has opened or deleted it', async () => {
    const [policy] = await policies();
    if (policy === undefined) throw new Error('there is no policy');
    const { name } = policy.metadata;
    await kubernetes.delete(object(name, OWN, {}));
    await eventually('it is there again', async () => (await policies()).some(({ metadata }) => metadata.name === name));
    await kubernetes.apply(object(name, OWN, { podSelector: {}, policyTypes: ['Egress'], egress: [{}] }));
    await eventually('it is as it was', async () => (await policies()).some(({ spec }) => JSON.stringify(spec) === JSON.stringify(policy['spec'])));
    await isCut('far:8080');
  });

  test('the metadata address: reached while it is not blocked; blocked, the policy alone keeps a pod from it, and the guard the book', async () => {
    await using metadata = await metadataServer();
    urls.set('metadata', metadata.url);
    // No sidecar, so no guard: nothing but the policy selects it.
    await stage.book({ name: 'bare', namespace: OWN }, (spec) => {
      spec.template.metadata.labels['bifrost.dev/sidecar-id'] = sidecarId;
      return spec;
    });
    sources.set('bare', await stage.inBook(OWN, 'bare')).set('book', await book());
    const ways = ['bare metadata', 'book metadata'];
    await eventually('both reach it', () => areAll(true, ways));
    await eventually('the policy is in force', async () => !(await isOpen('bare far:8080')));
    await platform.taken('PATCH', `/tailnets/${OWN}`, { config: { blocked_networks: [`${metadata.address}/32`] } });
    await eventually('neither does', () => areAll(false, ways));
    // Dropped on the way; prohibited in the pod, once its guard has taken the order.
    const kindOf = async (app: string) => (await requestFromBook(sources.get(app) as ContainerAddress, { url: metadata.url })).kind;
    expect(await kindOf('bare')).toBe('ETIMEDOUT');
    await eventually('the guard refuses it', async () => (await kindOf('book')) === 'EACCES');
    await stage.reaches(await book(), customer);
  });

  test('takes it away with the sidecar, and the book is what it was', async () => {
    await platform.must('DELETE', `/sidecars/${sidecarId}`);
    await platform.sidecarReaches(sidecarId, 'gone');
    expect(await policies()).toEqual([]);
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
    await passesEverywhere();
  });
});
