import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { attach, clockOf, openServed, serve } from './support.ts';

const BOOK = 'acme-corp/customer-support-book';
const ATTACH = ['sidecar', 'attach', 'customer-support-book', '--tailnet', 'acme-corp-production', '--hostname', 'book-customer-support'];

it('bifrost explain says that ICMP has no ports and that 0 is none, and that a sidecar has the network mode auto where none was asked for', async () => {
  await using world = await openServed();
  await attach(world);
  const explain = ['explain', BOOK, '10.1.0.10', '--protocol', 'icmp'];
  expect((await world.bifrost(explain)).code).toBe(0);
  expect(await world.bifrost([...explain, '--port', '443'])).toMatchObject({ code: 1, err: expect.stringContaining('port: must be left out: ICMP') });
  for (const port of ['0', '65536', 'https', '-1', ''])
    for (const argv of [explain, explain.slice(0, 3)])
      expect(await world.bifrost([...argv, '--port', port])).toMatchObject({ code: 2, err: expect.stringContaining('from 1 to 65535') });
  const { out } = await world.bifrost(['sidecar', 'get', BOOK, '-o', 'json']);
  expect(JSON.parse(out)).toMatchObject({ config: { network_mode: 'auto' } });
});

it('bifrost explain says how the agents last reached the router that the packet goes by', async () => {
  await using world = await openServed();
  await attach(world);
  const controlId = (await world.tailnet())?.state.controlId ?? '';
  const routes = ['10.1.0.0/16'];
  const { deviceId: id } = world.control.addDevice({ controlId, hostname: 'gateway', advertiseRoutes: routes, enabledRoutes: routes });
  const explain = ['explain', BOOK, '10.1.0.10'];
  expect((await world.bifrost(explain)).out).toMatch(/agents: 1 of 1 instance connected\n$/);
  const peer = { id, name: 'gateway', online: true, path: 'peer-relay', rx_bytes: 9, tx_bytes: 0, routes };
  await world.agents.one.report('heartbeat', { peers: [{ ...peer, last_handshake_at_ms: world.clock.nowMs() }] });
  const said = /^gateway\S+: online, by a peer relay, last used \S+ ago, last handshake \S+ ago, told by \S+ \S+ ago$/m;
  expect((await world.bifrost(explain)).out).toMatch(said);
  const { evidence } = JSON.parse((await world.bifrost([...explain, '-o', 'json'])).out);
  expect(evidence.carrier).toMatchObject({ device_id: id, path: 'peer_relay', online: true, last_used_at: expect.any(String) });
});

describe('bifrost sidecar attach', () => {
  it('plans without a trace, attaches, and waits until it is connected', async () => {
    await using world = await openServed();
    const before = await world.snapshot([world.book]);
    for (const argv of [
      ['sidecar', 'plan', ...ATTACH.slice(2)],
      [...ATTACH, '--dry-run'],
    ]) {
      const plan = await world.bifrost([...argv, '-o', 'json']);
      expect(JSON.parse(plan.out)).toMatchObject({
        form: 'apply',
        attached: false,
        workload: { name: 'customer-support-book' },
        fragment: expect.any(Object),
      });
      expect((await world.bifrost(argv)).out).toMatch(/^would attach: +Deployment acme-corp\/customer-support-book$/m);
    }
    expect(await world.snapshot([world.book])).toEqual(before);
    const attached = await world.bifrost([...ATTACH, '--accept-routes', '--wait'], { clock: clockOf(world) });
    expect(attached).toMatchObject({ code: 0, out: expect.stringMatching(/^sidecar \S+ is connected as 100\./) });
    expect(attached.err).toContain('connected, 1 of 1 pods connected');
    expect((await world.bifrost([...ATTACH, '--accept-routes', '--dry-run'])).out).toContain('would change nothing');
  });

  it('plans NetworkPolicies with what they would cut, over the wire and for people', async () => {
    await using world = await openServed({ settings: { networkPolicies: 'plan' } });
    const plan = JSON.parse((await world.bifrost([...ATTACH, '--dry-run', '-o', 'json'])).out);
    expect(plan.network_policies).toMatchObject({
      sidecar_id: plan.sidecar_id,
      manifests: [{ kind: 'NetworkPolicy', spec: { policyTypes: ['Egress'] } }],
      cuts: expect.arrayContaining([{ direction: 'egress', protocol: 'SCTP', cut: 'everything' }]),
    });
    const { out } = await world.bifrost([...ATTACH, '--dry-run']);
    expect(out).toContain(`NetworkPolicy of sidecar ${plan.sidecar_id} would cut:\n  egress TCP: everything but port 443 `);
    await attach(world);
    const update = ['tailnet', 'update', 'acme-corp-production', '--block', '169.254.169.254/32', '--dry-run'];
    expect((await world.bifrost(update)).out).toContain(`NetworkPolicy of sidecar ${plan.sidecar_id} would cut:\n  egress `);
  });

  it('is refused as the service refuses it', async () => {
    await using world = await openServed();
    const { code, err } = await world.bifrost(['sidecar', 'attach', 'no-such-book', ...ATTACH.slice(3)]);
    expect([code, err]).toEqual([1, expect.stringContaining('[WORKLOAD_NOT_FOUND]')]);
  });
});

describe('bifrost sidecar', () => {
  it('is named by id, by book, or by workload', async () => {
    await using world = await openServed();
    const sidecarId = await attach(world);
    for (const named of [sidecarId, 'customer-support-book', BOOK])
      expect(JSON.parse((await world.bifrost(['sidecar', 'get', named, '-o', 'json'])).out)).toMatchObject({
        sidecar_id: sidecarId,
        status: 'connected',
      });
    expect((await world.bifrost(['sidecar', 'get', BOOK])).out).toMatch(/^POD +STATUS/m);
    expect((await world.bifrost(['sidecar', 'list', '--status', 'connected'])).out).toContain(sidecarId);
    for (const named of ['nobody', '00000000-0000-4000-8000-000000000000'])
      expect(await world.bifrost(['sidecar', 'get', named])).toMatchObject({ code: 1, err: expect.stringContaining('[SIDECAR_NOT_FOUND]') });
  });

  it('updates with a plan before', async () => {
    await using world = await openServed();
    await attach(world);
    const plan = await world.bifrost(['sidecar', 'update', BOOK, '--no-accept-routes', '--dry-run']);
    expect(plan.out).toContain('would change: config.accept_routes');
    expect(plan.out).toMatch(/^1 book loses on all ports: 10\.0\.0\.0\/10, /m);
    expect((await world.bifrost(['tailnet', 'update', 'acme-corp-production', '--manage-policy'])).code).toBe(0);
    const ssh = ['sidecar', 'update', BOOK, '--ssh', '--dry-run'];
    expect((await world.bifrost(ssh)).out).toMatch(/^tag:bifrost-router-\S+ gains on tcp:22: tag:bifrost-book-/m);
    const way = { from: expect.stringMatching(/^tag:bifrost-router-/), to: expect.stringMatching(/^tag:bifrost-book-/), ports: ['tcp:22'] };
    expect(JSON.parse((await world.bifrost([...ssh, '-o', 'json'])).out).plan.callers).toMatchObject({ gained: [way] });
    expect(plan.out).toContain(BOOK);
    expect(await world.bifrost(['sidecar', 'update', BOOK, '--no-accept-routes'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('[ROLLOUT_REQUIRED]'),
    });
    expect((await world.bifrost(['sidecar', 'update', BOOK, '--no-accept-routes', '--allow-rollout'])).code).toBe(0);
    expect((await world.sidecars())[0]?.spec.config.acceptRoutes).toBe(false);
    expect((await world.bifrost(['sidecar', 'update', BOOK])).code).toBe(2);
  });

  it('upgrades in waves, and waits until it is finished', async () => {
    await using world = await openServed();
    await attach(world);
    const agent = `bifrost-agent@sha256:${'3'.repeat(64)}`;
    await world.restart({ images: { tailscale: `tailscale@sha256:${'1'.repeat(64)}`, agent } });
    await using server = await serve(world);
    const plan = await server.bifrost(['sidecar', 'upgrade', 'acme-corp-production', '--dry-run']);
    expect(plan.out).toContain(BOOK);
    const upgraded = await server.bifrost(['sidecar', 'upgrade', 'acme-corp-production', '--wave-size', '2', '--trial', '2m', '--wait'], {
      clock: clockOf(world),
    });
    expect(upgraded).toMatchObject({ code: 0, out: 'all sidecars of acme-corp-production run what is rendered now\n' });
    expect((await server.bifrost(['sidecar', 'upgrade', 'acme-corp-production', '--dry-run'])).out).toBe('nothing would change\n');
  });

  it('repairs, and says beforehand whether there is anything to repair', async () => {
    await using world = await openServed();
    const sidecarId = await attach(world);
    expect(JSON.parse((await world.bifrost(['sidecar', 'repair', BOOK, '--dry-run', '-o', 'json'])).out)).toEqual({
      dry_run: true,
      would: 'nothing',
    });
    expect(await world.bifrost(['sidecar', 'repair', sidecarId])).toMatchObject({ code: 0 });
  });

  it('is put into quarantine and let in again, said beforehand and shown', async () => {
    await using world = await openServed();
    const sidecarId = await attach(world);
    const dry = async (verb: string) => JSON.parse((await world.bifrost([verb, BOOK, '--dry-run', '-o', 'json'])).out);
    expect(await dry('readmit')).toMatchObject({ would: 'nothing' });
    expect(await dry('quarantine')).toEqual({ dry_run: true, would: 'quarantine', sidecar_id: sidecarId });
    expect((await world.sidecars())[0]?.spec).not.toHaveProperty('quarantine');
    const done = await world.bifrost(['quarantine', BOOK, '--reason', 'under suspicion']);
    expect(done).toMatchObject({ code: 0, out: expect.stringContaining('is in quarantine') });
    await world.quiet();
    const { out } = await world.bifrost(['sidecar', 'get', BOOK]);
    expect(out).toMatch(/^quarantine: +for .+: under suspicion$/m);
    expect(out).toMatch(/^Quarantined +True +CutOff/m);
    expect((await world.bifrost(['quarantine', BOOK, '--dry-run'])).out).toContain('would change nothing');
    expect((await world.bifrost(['quarantine', BOOK, '--reason', 'another'])).out).toContain('is in quarantine already, for the reason given first');
    expect(await world.bifrost(['sidecar', 'repair', BOOK])).toMatchObject({ code: 1, err: expect.stringContaining('[SIDECAR_QUARANTINED]') });
    expect(await dry('readmit')).toMatchObject({ would: 'readmit' });
    expect(await world.bifrost(['readmit', BOOK])).toMatchObject({ code: 0, out: expect.stringContaining('may join again') });
    expect(await world.bifrost(['readmit', BOOK])).toMatchObject({ code: 0, out: expect.stringContaining('is not in quarantine') });
    expect((await world.sidecars())[0]?.spec).not.toHaveProperty('quarantine');
  });

  it('detaches, and waits until it is gone', async () => {
    await using world = await openServed();
    const sidecarId = await attach(world);
    const dry = await world.bifrost(['sidecar', 'detach', BOOK, '--dry-run', '-o', 'json']);
    expect(JSON.parse(dry.out)).toEqual({ dry_run: true, would: 'detach', sidecar_id: sidecarId, pods: [expect.any(String)] });
    expect(await world.sidecars()).toHaveLength(1);
    expect(await world.bifrost(['sidecar', 'detach', BOOK, '--wait'], { clock: clockOf(world) })).toMatchObject({
      code: 0,
      out: `sidecar ${sidecarId} is gone\n`,
    });
    expect(await world.outside()).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });
});

describe('bifrost sidecar inject', () => {
  const manifest = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { namespace: 'acme-corp', name: 'nightly' },
    spec: { template: { spec: { containers: [{ name: 'job', image: 'job' }], restartPolicy: 'Never' } } },
  };
  const other = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'acme-corp', name: 'beside' } };
  const inject = ['sidecar', 'inject', '-f', '-', '--tailnet', 'acme-corp-production', '--hostname', 'nightly'];
  const names = (document: unknown): readonly string[] =>
    ((document as { spec: { template: { spec: { initContainers?: { name: string }[] } } } }).spec.template.spec.initContainers ?? []).map(
      ({ name }) => name,
    );

  it('gives the manifest back for kubectl, with what stands beside it', async () => {
    await using world = await openServed();
    const stdin = `${JSON.stringify(other)}\n---\n${JSON.stringify(manifest)}\n`;
    const dry = await world.bifrost([...inject, '--dry-run'], { stdin });
    expect(dry).toMatchObject({ code: 0, out: expect.stringContaining('would put a sidecar') });
    expect(await world.sidecars()).toHaveLength(0);
    const { code, out, err } = await world.bifrost(inject, { stdin });
    expect([code, err]).toEqual([0, expect.stringContaining('is registered')]);
    const [beside, job] = parseAllDocuments(out).map((document) => document.toJS() as unknown);
    expect(beside).toEqual(other);
    expect(names(job)).toEqual(['bifrost-guard', 'bifrost-agent', 'tailscale']);
    expect(parse((await world.bifrost([...inject, '-o', 'yaml'], { stdin })).out)).toMatchObject({
      sidecar_id: expect.any(String),
      manifest: { kind: 'Job' },
    });
  });

  it.each([
    ['no workload', JSON.stringify(other)],
    ['two workloads', `${JSON.stringify(manifest)}\n---\n${JSON.stringify(manifest)}`],
    ['no YAML', 'a: [canary-text'],
    ['nothing', ''],
    ['too much', `# ${'-'.repeat(1_048_576)}\n${JSON.stringify(manifest)}`],
  ])('refuses %s: 2, and does not repeat what it read', async (_, stdin) => {
    await using world = await openServed();
    const { code, err } = await world.bifrost(inject, { stdin });
    expect(code).toBe(2);
    expect(err).not.toContain('canary-text');
  });
});
