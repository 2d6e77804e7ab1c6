import { describe, expect, it } from 'vitest';
import { type Finding, lookAtAll } from '../../src/cli/doctor/check.ts';
import { checksOf } from '../../src/cli/doctor/checks.ts';
import type { Probe } from '../../src/cli/doctor/probe.ts';
import { Session } from '../../src/cli/session.ts';
import { certificateFor, deployment, type Inside, type InstalledCluster, installedCluster } from './installed-cluster.ts';
import { attach, bifrost, Captured, openServed } from './support.ts';

const NOW_MS = Date.now();
const MAP = JSON.stringify({
  Regions: { 1: { Nodes: [{ HostName: 'derp1.example' }] }, 2: { Nodes: [{ HostName: 'derp2.example', DERPPort: 8443 }] }, 3: { Nodes: null } },
});

/** The network beyond the cluster: each URL that is known, and nothing else. */
const network =
  (known: Readonly<Record<string, { status?: number; text?: string; dateMs?: number }>>): Probe =>
  async (url) => {
    const found = known[url];
    if (found === undefined) throw new DOMException('no such host', 'NetworkError');
    return { status: found.status ?? 200, text: found.text ?? '', dateMs: found.dateMs ?? NOW_MS };
  };
const OUTSIDE = {
  'https://login.example/key?v=100': {},
  'https://login.example/derpmap/default': { text: MAP },
  'https://derp1.example/derp/probe': {},
  'https://derp2.example:8443/derp/probe': {},
};

async function look(cluster: InstalledCluster, probe: Probe = network(OUTSIDE)): Promise<ReadonlyMap<string, Finding>> {
  const [stdout, stderr, signal] = [new Captured(), new Captured(), new AbortController().signal];
  const clock = { nowMs: () => NOW_MS, newId: () => crypto.randomUUID(), random: () => 0, sleep: () => new Promise<void>(() => {}) };
  const cli = { env: {}, stdin: (async function* () {})(), stdout, stderr, signal, clock, user: 'tester', openCluster: () => Promise.reject() };
  await using session = new Session(cli, {
    cluster: true,
    kubeconfig: cluster.kubeconfig,
    manager: 'bifrost/network-manager',
    output: 'table',
    requestTimeout: '30s',
  });
  await using checks = await checksOf(session, probe);
  return new Map((await lookAtAll(checks.checks, signal)).map((finding) => [finding.name, finding]));
}

describe('bifrost doctor --cluster', () => {
  it('finds nothing wrong in an installation that is right', async () => {
    await using cluster = await installedCluster();
    const findings = await look(cluster);
    expect([...findings.values()].filter(({ verdict }) => verdict !== 'ok' && verdict !== 'skipped')).toEqual([]);
    expect([...findings.keys()]).toEqual([
      ...['kubernetes', 'custom resources', 'rights', 'manager', 'settings', 'pod security', 'images', 'certificate', 'ingest'],
      ...['credentials', 'control plane', 'login server', 'clock', 'relays', 'tailnets', 'sidecars', 'leftovers'],
    ]);
    expect([...findings.values()].filter(({ verdict }) => verdict === 'skipped').map(({ name }) => name)).toEqual(['images']); // no pod yet
    expect(findings.get('relays')?.seen).toBe('3 regions; 2 of 2 tried relays answer here');
  });

  it('writes nothing', async () => {
    await using cluster = await installedCluster();
    await look(cluster);
    const writes = cluster.server.received.filter(({ method, path }) => method !== 'GET' && !path.endsWith('subjectaccessreviews'));
    expect(writes).toEqual([]);
    expect(cluster.api.requests.filter(({ method, path }) => method !== 'GET' && !path.startsWith('/oauth/token'))).toEqual([]);
  });

  const set =
    <Name extends keyof Inside>(name: Name, value: Inside[Name]) =>
    (inside: Inside): void => {
      inside[name] = value;
    };
  const member =
    (name: 'settings' | 'secrets', key: string, value: unknown) =>
    (inside: Inside): void => {
      Object.assign(inside[name], { [key]: value });
    };
  const definitionWith =
    (change: object) =>
    (inside: Inside): void => {
      const [first = {}, second = {}] = inside.definitions;
      inside.definitions = [{ ...first, ...change }, second];
    };
  const moreVersions = (inside: Inside): void => {
    const spec = inside.definitions[0]?.['spec'] as { versions: unknown[] };
    spec.versions.push({ name: 'v2' });
  };
  const pod = (reason: string) => ({
    metadata: { name: 'book-1', namespace: 'acme', uid: 'u', resourceVersion: '1' },
    status: { initContainerStatuses: [{ name: 'tailscale', image: 'tailscale@sha256:1', state: { waiting: { reason } } }] },
  });
  const certified = (host: string, days: number) => {
    const { cert, key } = certificateFor(host, days);
    return member('secrets', 'bifrost-tls', { 'tls.crt': cert, 'tls.key': key, 'ca.crt': cert });
  };
  const customer = { 'bifrost.dev/customer-id': 'acme' };
  const unready = [{ metadata: { name: 's', uid: 'u', resourceVersion: '1' }, endpoints: [{ conditions: { ready: false } }] }];
  const wrongClient = { client_id: 'x', client_secret: 'canary-secret' };

  it.each<[string, string, string, RegExp, (inside: Inside) => void]>([
    ['an old API server', 'kubernetes', 'fail', /v1\.30/, set('version', { major: '1', minor: '30', gitVersion: 'v1.30.0' })],
    ['an old one with a suffix', 'kubernetes', 'fail', /v1\.30/, set('version', { major: '1', minor: '30+', gitVersion: 'v1.30.2-eks' })],
    ['no custom resources', 'custom resources', 'fail', /tailnets\.network\.bifrost\.dev is absent/, set('definitions', [])],
    ['one that is not established', 'custom resources', 'fail', /not established/, definitionWith({ status: {} })],
    ['one of another version', 'custom resources', 'warn', /is another \(spec\.\w+\)/, definitionWith({ spec: { group: 'network.bifrost.dev' } })],
    ['one with a version more', 'custom resources', 'warn', /is another \(spec\.versions\)/, moreVersions],
    [
      'a right that lacks',
      'rights',
      'fail',
      /bifrost\/bifrost may not: patch tailnets\/status/,
      set('allowed', ({ resource }) => resource !== 'tailnets/status'),
    ],
    ['who may not ask about others', 'rights', 'ok', /^you/, set('mayAskAboutOthers', false)],
    ['no manager', 'manager', 'fail', /no Deployment bifrost\/network-manager/, set('deployment', undefined)],
    ['one that is not ready', 'manager', 'fail', /no ready pod/, set('deployment', deployment({ ready: 0 }))],
    ['two managers', 'manager', 'fail', /wants 2 replicas/, set('deployment', deployment({ replicas: 2 }))],
    ['an image by tag', 'manager', 'warn', /not pinned: manager:latest/, set('deployment', deployment({ image: 'manager:latest' }))],
    ['sidecar images by tag', 'settings', 'fail', /images\.agent/, member('settings', 'BIFROST_AGENT_IMAGE', 'agent:latest')],
    ['settings that lack', 'settings', 'fail', /BIFROST_INGEST_URL/, member('settings', 'BIFROST_INGEST_URL', '')],
    [
      ...(['a strict namespace', 'pod security', 'warn', /acme \(restricted\)/] as const),
      set('namespaces', [{ name: 'acme', labels: { ...customer, 'pod-security.kubernetes.io/enforce': 'restricted' } }]),
    ],
    ['no customer’s namespace', 'pod security', 'warn', /no namespace says/, set('namespaces', [])],
    ['an image that cannot be pulled', 'images', 'fail', /acme\/book-1 tailscale: ImagePullBackOff/, set('pods', [pod('ImagePullBackOff')])],
    ['a container that crashes', 'images', 'warn', /CrashLoopBackOff/, set('pods', [pod('CrashLoopBackOff')])],
    ['a pod that starts', 'images', 'ok', /1 pod/, set('pods', [pod('PodInitializing')])],
    ['no certificate', 'certificate', 'fail', /lacks tls\.crt, tls\.key, ca\.crt/, member('secrets', 'bifrost-tls', undefined)],
    ['a certificate for another host', 'certificate', 'fail', /not for bifrost\.bifrost\.svc/, certified('other.example', 90)],
    ['one that expires soon', 'certificate', 'warn', /good for [45]d/, certified('bifrost.bifrost.svc.cluster.local', 5)],
    ['no Service', 'ingest', 'fail', /no Service bifrost\/bifrost/, set('endpoints', [])],
    ['nobody behind it', 'ingest', 'fail', /no ready pod behind/, set('endpoints', unready)],
    ['no credentials', 'credentials', 'fail', /Secret bifrost\/bifrost-customer-acme/, member('secrets', 'bifrost-customer-acme', undefined)],
    ['wrong credentials', 'control plane', 'fail', /CONTROL_CREDENTIALS_INVALID/, member('secrets', 'bifrost-customer-acme', wrongClient)],
    [
      'no organization’s credentials',
      'control plane',
      'fail',
      /organization: Secret bifrost\/org/,
      member('settings', 'BIFROST_ORGANIZATION_SECRET', 'org'),
    ],
  ])('tells of %s', async (_, name, verdict, seen, change) => {
    await using cluster = await installedCluster();
    change(cluster.inside);
    const findings = await look(cluster);
    expect(findings.get(name)).toMatchObject({ verdict, seen: expect.stringMatching(seen) });
    if (verdict !== 'ok') expect(findings.get(name)?.todo).toMatch(/\w/);
    expect(JSON.stringify([...findings.values()])).not.toContain('canary');
  });

  it('tells which scope a client lacks', async () => {
    await using cluster = await installedCluster();
    // Two checks ask for keys, whichever comes first.
    for (const status of [403, 403]) cluster.api.failNext({ path: '/tailnet/-/keys', status, body: '{"message":"no"}' });
    expect((await look(cluster)).get('control plane')).toMatchObject({ verdict: 'fail', seen: expect.stringContaining('auth_keys') });
  });

  it.each([
    ['a login server that is away', {}, { 'login server': 'fail', clock: 'skipped', relays: 'skipped' }],
    [
      'one that is ahead',
      { ...OUTSIDE, 'https://login.example/key?v=100': { dateMs: NOW_MS + 90_000 } },
      { 'login server': 'ok', clock: 'fail', relays: 'ok' },
    ],
    [
      'one that has no relays',
      { ...OUTSIDE, 'https://login.example/derpmap/default': { status: 404 } },
      { 'login server': 'ok', clock: 'ok', relays: 'skipped' },
    ],
    [
      'relays that cannot be reached',
      { ...OUTSIDE, 'https://derp1.example/derp/probe': { status: 502 }, 'https://derp2.example:8443/derp/probe': { status: 502 } },
      { 'login server': 'ok', clock: 'ok', relays: 'warn' },
    ],
  ])('tells of %s', async (_, outside, wanted) => {
    await using cluster = await installedCluster();
    const findings = await look(cluster, network(outside));
    expect(Object.fromEntries(Object.keys(wanted).map((name) => [name, findings.get(name)?.verdict]))).toEqual(wanted);
  });

  it('asks no login server by chance: without settings that can be read nobody knows which', async () => {
    await using cluster = await installedCluster();
    cluster.inside.deployment = undefined;
    const asked: string[] = [];
    const findings = await look(cluster, async (url) => {
      asked.push(url);
      return { status: 200, text: '', dateMs: NOW_MS };
    });
    expect(asked).toEqual([]);
    expect(['login server', 'clock', 'relays'].map((name) => findings.get(name)?.verdict)).toEqual(['skipped', 'skipped', 'skipped']);
  });

  it('tells once of an API server that is away', async () => {
    const cluster = await installedCluster();
    await cluster[Symbol.asyncDispose]();
    const findings = [...(await look(cluster)).values()];
    expect(findings.filter(({ verdict }) => verdict !== 'skipped').map(({ name }) => name)).toEqual(['kubernetes']);
  });
});

describe('bifrost doctor', () => {
  it('looks at a service, and says what is wrong there', async () => {
    await using world = await openServed();
    await attach(world);
    const right = await world.bifrost(['doctor'], {
      clock: { ...world.clock, nowMs: () => Date.now(), newId: () => 'id', random: () => 0, sleep: async () => {} },
    });
    expect(right.code).toBe(0);
    for (const line of [
      /^ok +reachable /m,
      /^ok +signed in +as tester/m,
      /^ok +clock +this machine and the service agree/m,
      /^ok +version/m,
      /^warn +adapters .*store memory/m,
      /^ok +leftovers/m,
    ])
      expect(right.out).toMatch(line);
    world.manager.setReadOnly(true);
    const { checks } = JSON.parse((await world.bifrost(['doctor', '-o', 'json'])).out) as { checks: Finding[] };
    expect(checks.find(({ name }) => name === 'read-only')).toEqual({
      name: 'read-only',
      verdict: 'warn',
      seen: expect.any(String),
      todo: expect.stringContaining('MANAGER_READ_ONLY'),
    });
    const ahead = await world.bifrost(['doctor'], {
      clock: { nowMs: () => Date.now() + 120_000, newId: () => 'id', random: () => 0, sleep: async () => {} },
    });
    expect([ahead.code, ahead.out]).toEqual([3, expect.stringMatching(/^fail +clock +this machine is 2m/m)]);
  });

  it('tells of a caller whom the service does not know, and skips what it cannot see', async () => {
    await using world = await openServed();
    const { code, out } = await bifrost(['doctor', '--server', world.url]);
    expect(code).toBe(3);
    expect(out).toMatch(/^ok +reachable/m);
    expect(out).toMatch(/^fail +signed in +\[UNAUTHENTICATED\]/m);
    expect(out).toMatch(/^skipped +tailnets/m);
  });

  it('tells of a tailnet that has failed, by its code', async () => {
    await using world = await openServed();
    await world.addCustomer('poor', { ownTailnet: false });
    await world.manager.createTailnet({ customerId: 'poor', tailnetName: 'poor-net', config: { allowedNetworks: ['10.0.0.0/8'] } });
    await world.until(async () => (await world.tailnet('poor-net'))?.state.phase === 'failed');
    const { code, out } = await world.bifrost(['doctor']);
    expect([code, out]).toEqual([3, expect.stringMatching(/^fail +tailnets +poor-net is failed \(CONTROL_CREDENTIALS_INVALID/m)]);
  });
});
