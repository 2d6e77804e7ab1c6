import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { attach, clockOf, openServed } from './support.ts';

const NAME = 'acme-corp-production';
const CREATE = ['tailnet', 'create', 'acme-corp-staging', '--customer', 'acme-corp', '--allow', '10.0.0.0/8,192.168.0.0/16'];

describe('bifrost tailnet create', () => {
  it('asks for it, and answers as the service does', async () => {
    await using world = await openServed();
    const { code, out } = await world.bifrost([...CREATE, '--tag', 'staging', '--policy', 'standard', '--logging', '-o', 'json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      tailnet_id: expect.any(String),
      tailnet_name: 'acme-corp-staging',
      status: 'creating',
      created_at: expect.stringMatching(/Z$/),
    });
    const stored = await world.tailnet('acme-corp-staging');
    expect(stored?.spec).toMatchObject({
      config: { allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'], accessPolicy: 'standard', enableLogging: true },
      tags: ['staging'],
    });
    expect(world.audit.records.at(-1)).toMatchObject({ actor: expect.stringContaining('tester'), action: 'createTailnet', outcome: 'accepted' });
  });

  it('waits until it is active, with progress', async () => {
    await using world = await openServed();
    const { code, out, err } = await world.bifrost([...CREATE, '--wait', '-o', 'yaml'], { clock: clockOf(world) });
    expect(code).toBe(0);
    expect(parse(out)).toMatchObject({ tailnet_name: 'acme-corp-staging', status: 'active' });
    expect(err).toMatch(/^tailnet acme-corp-staging: active\n$/m);
  });

  it('says why it will not become active, and ends with 1', async () => {
    await using world = await openServed();
    await world.addCustomer('poor', { ownTailnet: false });
    const { code, err } = await world.bifrost(['tailnet', 'create', 'poor-net', '--customer', 'poor', '--allow', '10.0.0.0/8', '--wait'], {
      clock: clockOf(world),
    });
    expect(code).toBe(1);
    expect(err).toContain('CONTROL_CREDENTIALS_INVALID');
    expect(err).toContain('what to do: docs/runbooks/WAIT_FAILED.md');
  });

  it('waits no longer than it may: 4, and the work goes on', async () => {
    await using world = await openServed();
    world.guard.hook = ({ name }) => (name.startsWith('controlPlane.') ? 'before' : undefined);
    const { code, err } = await world.bifrost([...CREATE, '--wait', '--timeout', '3s'], { clock: clockOf(world) });
    expect(code).toBe(4);
    expect(err).toContain('not within 3s; the work goes on');
    expect(await world.tailnet('acme-corp-staging')).toBeDefined();
  });

  it('tells every wrong field with its path, and what to do: 1', async () => {
    await using world = await openServed();
    for (const dry of [[], ['--dry-run']]) {
      const { code, out, err } = await world.bifrost(['tailnet', 'create', 'Bad_Name', '--customer', 'acme-corp', '--allow', '10.0.0.1/8', ...dry]);
      expect({ code, out }).toEqual({ code: 1, out: '' });
      expect(err).toMatch(/^ {2}tailnet_name: /m);
      expect(err).toMatch(/^ {2}config\.allowed_networks\.0: /m);
      expect(err).toMatch(/^ {2}what to do: .*INVALID_ARGUMENT/m);
    }
  });
});

describe('bifrost tailnet create --dry-run', () => {
  it('says what would happen, and changes nothing', async () => {
    await using world = await openServed();
    const before = await world.snapshot([world.book]);
    const same = ['tailnet', 'create', NAME, '--customer', 'acme-corp', '--allow', '10.0.0.0/8', '--block', '10.99.0.0/16', '--logging'];
    const anew = await world.bifrost([...CREATE, '--dry-run', '-o', 'json']);
    const again = await world.bifrost([...same, '--tag', 'customer-acme,production', '--dry-run', '-o', 'json']);
    const other = await world.bifrost([...same, '--dry-run']);
    expect([anew.code, JSON.parse(anew.out)]).toEqual([0, { dry_run: true, would: 'create' }]);
    expect([again.code, JSON.parse(again.out)]).toEqual([0, { dry_run: true, would: 'nothing' }]);
    expect([other.code, other.err]).toEqual([1, expect.stringContaining('[TAILNET_EXISTS]')]);
    expect(await world.snapshot([world.book])).toEqual(before);
  });
});

describe('bifrost tailnet', () => {
  it('lists and gets as the wire has it', async () => {
    await using world = await openServed();
    const list = await world.bifrost(['tailnet', 'list', '-o', 'json']);
    const get = await world.bifrost(['tailnet', 'get', NAME, '-o', 'json']);
    expect(JSON.parse(list.out)).toEqual({ tailnets: [JSON.parse(get.out)] });
    expect(JSON.parse(get.out)).toMatchObject({
      tailnet_name: NAME,
      status: 'active',
      config: { access_policy: 'restrictive' },
      tenancy: 'customer_owned',
    });
    const table = await world.bifrost(['tailnet', 'list', '--status', 'active', '--tag', 'production']);
    expect(table.out).toMatch(/^TAILNET +CUSTOMER +STATUS/);
    expect(table.out).toMatch(/^acme-corp-production +acme-corp +active +restrictive +10\.0\.0\.0\/8/m);
    expect((await world.bifrost(['tailnet', 'list', '--status', 'failed'])).out).toBe('no tailnets\n');
  });

  it('updates what is given, and clears what is to be cleared', async () => {
    await using world = await openServed();
    const plan = await world.bifrost(['tailnet', 'update', NAME, '--allow', '10.1.0.0/16', '--dry-run']);
    expect(plan.out).toMatch(/^0 books lose on all ports: 10\.0\.0\.0\/16, /m);
    expect(plan.out).toMatch(/^guard:\n {2}- 5110 to 10\.0\.0\.0\/8 lookup 52\n/m);
    expect(plan.out).toMatch(/^ {2}\+ 5110 to 10\.1\.0\.0\/16 lookup 52\n/m);
    expect(plan).toMatchObject({ code: 0, out: expect.stringContaining('would change: config.allowed_networks') });
    expect((await world.tailnet())?.spec.config.allowedNetworks).toEqual(['10.0.0.0/8']);
    const updated = await world.bifrost(['tailnet', 'update', NAME, '--allow', '10.1.0.0/16', '--clear', 'block,tag', '--no-logging']);
    expect(updated).toMatchObject({ code: 0, err: '' });
    expect((await world.tailnet())?.spec).toMatchObject({
      config: { allowedNetworks: ['10.1.0.0/16'], blockedNetworks: [], enableLogging: false, accessPolicy: 'restrictive' },
      tags: [],
    });
    expect((await world.bifrost(['tailnet', 'update', NAME])).code).toBe(2);
    for (const unset of ['', ','])
      expect(await world.bifrost(['tailnet', 'update', NAME, '--allow', unset])).toMatchObject({
        code: 2,
        err: expect.stringContaining('at least one value'),
      });
    expect((await world.tailnet())?.spec.config.allowedNetworks).toEqual(['10.1.0.0/16']);
  });

  it('takes peers in use away only with --confirm, and says beforehand which', async () => {
    await using world = await openServed();
    await attach(world);
    const router = { id: 'n1', name: 'gateway', online: true, path: 'direct', rx_bytes: 9, tx_bytes: 0, routes: ['10.2.0.0/16'] };
    await world.agents.one.report('heartbeat', { peers: [{ ...router, last_handshake_at_ms: world.clock.nowMs() }] });
    const change = ['tailnet', 'update', NAME, '--allow', '10.1.0.0/16'];
    const plan = await world.bifrost([...change, '--dry-run']);
    expect(plan.out).toMatch(/^1 of 1 peer in use would be lost\n {2}gateway \(10\.2\.0\.0\/16\): lost, used by 1 instance$/m);
    const wire = JSON.parse((await world.bifrost([...change, '--dry-run', '-o', 'json'])).out);
    expect(wire.plan.live_peers).toMatchObject({ total: 1, lost: 1, losing: [{ peer_id: 'n1', loss: 'all', last_used_at: expect.any(String) }] });
    expect(await world.bifrost(change)).toMatchObject({ code: 1, err: expect.stringContaining('[CONFIRM_REQUIRED]') });
    expect(await world.bifrost([...change, '--confirm'])).toMatchObject({ code: 0 });
  });

  it('has its policy kept, and not any more', async () => {
    await using world = await openServed();
    const of = async (name: string) => JSON.parse((await world.bifrost(['tailnet', 'get', name, '-o', 'json'])).out) as Record<string, unknown>;
    expect(await world.bifrost([...CREATE, '--manage-policy'])).toMatchObject({ code: 0 });
    expect((await world.tailnet('acme-corp-staging'))?.spec.managePolicy).toBe(true);
    expect(await of('acme-corp-staging')).toMatchObject({ manage_policy: true });
    expect(await of(NAME)).not.toHaveProperty('manage_policy', true);
    const plan = await world.bifrost(['tailnet', 'update', NAME, '--manage-policy', '--dry-run']);
    expect(plan).toMatchObject({ code: 0, out: expect.stringContaining('would change: manage_policy') });
    for (const [flag, managePolicy] of [
      ['--manage-policy', true],
      ['--no-manage-policy', false],
    ] as const) {
      expect(await world.bifrost(['tailnet', 'update', NAME, flag])).toMatchObject({ code: 0, err: '' });
      expect((await world.tailnet())?.spec.managePolicy).toBe(managePolicy);
    }
  });

  it('pauses and resumes; a dry run says whether that would be news', async () => {
    await using world = await openServed();
    const dry = async (verb: string) => JSON.parse((await world.bifrost(['tailnet', verb, NAME, '--dry-run', '-o', 'json'])).out) as unknown;
    expect([await dry('pause'), await dry('resume')]).toEqual([
      { dry_run: true, would: 'pause' },
      { dry_run: true, would: 'nothing' },
    ]);
    expect((await world.bifrost(['tailnet', 'pause', NAME])).out).toBe(`tailnet ${NAME} is paused\n`);
    expect([await dry('pause'), await dry('resume')]).toEqual([
      { dry_run: true, would: 'nothing' },
      { dry_run: true, would: 'resume' },
    ]);
    expect((await world.bifrost(['status'])).out).toContain('active (paused)');
    expect((await world.bifrost(['tailnet', 'resume', NAME])).out).toBe(`tailnet ${NAME} is not paused\n`);
  });

  it('deletes, waits until it is gone, and says beforehand what that takes along', async () => {
    await using world = await openServed();
    const sidecarId = await attach(world);
    const refused = await world.bifrost(['tailnet', 'delete', NAME, '--dry-run']);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('[TAILNET_IN_USE]')]);
    const dry = await world.bifrost(['tailnet', 'delete', NAME, '--cascade', '--dry-run', '-o', 'json']);
    expect(JSON.parse(dry.out)).toEqual({ dry_run: true, would: 'delete', sidecars: [sidecarId] });
    expect(await world.tailnet()).toMatchObject({ deleting: false });
    const gone = await world.bifrost(['tailnet', 'delete', NAME, '--cascade', '--wait'], { clock: clockOf(world) });
    expect(gone).toMatchObject({ code: 0, out: `tailnet ${NAME} is gone\n` });
    expect(await world.tailnet()).toBeUndefined();
    expect((await world.bifrost(['tailnet', 'get', NAME])).code).toBe(1);
  });
});

describe('bifrost status', () => {
  it('shows all tailnets in one table, with bytes and devices', async () => {
    await using world = await openServed();
    await attach(world);
    world.agents.one.rxBytes = 2_048;
    world.agents.one.txBytes = 512;
    await world.run(20_000);
    const { code, out } = await world.bifrost(['status']);
    expect(code).toBe(0);
    const [head = '', row = ''] = out.split('\n');
    expect(head.split(/ {2,}/)).toEqual([
      'TAILNET',
      'CUSTOMER',
      'STATUS',
      'DEVICES',
      'SIDECARS',
      'SENT',
      'RECEIVED',
      'LATENCY',
      'LAST ACTIVITY',
      'REASON',
    ]);
    expect(row.split(/ {2,}/).slice(0, 7)).toEqual([NAME, 'acme-corp', 'active', '1', '1/1', '512 B', '2.0 KiB']);
  });

  it('shows one tailnet in full', async () => {
    await using world = await openServed();
    const sidecarId = await attach(world);
    const { out } = await world.bifrost(['status', NAME]);
    for (const part of ['1 connected device', sidecarId, 'Ready', 'customer-acme', '10.99.0.0/16']) expect(out).toContain(part);
    const json = JSON.parse((await world.bifrost(['status', NAME, '-o', 'json'])).out) as Record<string, unknown>;
    expect(json).toMatchObject({ tailnet: { tailnet_name: NAME }, status: { connected_devices: 1 }, sidecars: [{ sidecar_id: sidecarId }] });
  });
});

describe('bifrost read-only', () => {
  it('says how it is, what it would be, and turns it', async () => {
    await using world = await openServed();
    expect((await world.bifrost(['read-only'])).out).toBe('off\n');
    expect(JSON.parse((await world.bifrost(['read-only', 'on', '--dry-run', '-o', 'json'])).out)).toEqual({ dry_run: true, would: 'turn on' });
    expect(world.manager.readOnly).toBe(false);
    expect(JSON.parse((await world.bifrost(['read-only', 'on', '-o', 'json'])).out)).toEqual({ read_only: true });
    expect(await world.bifrost(CREATE)).toMatchObject({ code: 1, err: expect.stringContaining('[MANAGER_READ_ONLY]') });
    expect((await world.bifrost(['read-only', 'off'])).out).toBe('read-only mode is off\n');
  });
});

describe('bifrost metrics, leftovers, version', () => {
  it('give tables and wire documents', async () => {
    await using world = await openServed();
    const metrics = JSON.parse((await world.bifrost(['metrics', '-o', 'json'])).out) as { metrics: unknown[] };
    expect(metrics.metrics).toEqual([expect.objectContaining({ tailnet_name: NAME, bytes_sent: '0', is_connected: false })]);
    expect((await world.bifrost(['metrics', NAME])).out).toMatch(/^acme-corp-production +no +0 B/m);
    expect(await world.bifrost(['leftovers'])).toMatchObject({ code: 0, out: 'nothing is left over\n' });
    expect(JSON.parse((await world.bifrost(['version', '-o', 'json'])).out)).toMatchObject({ client: '0.1.0', service: { version: '0.1.0' } });
  });

  it('end with 3 when something is left over', async () => {
    await using world = await openServed();
    const labels = { 'app.kubernetes.io/managed-by': 'bifrost', 'bifrost.dev/sidecar-id': 'gone' };
    await world.cluster.secrets.put(
      { namespace: 'acme-corp', name: 'bifrost-gone', labels, data: new Map() },
      { signal: AbortSignal.timeout(5_000) },
    );
    const { code, out } = await world.bifrost(['leftovers']);
    expect([code, out]).toEqual([3, expect.stringMatching(/^secret +bifrost-gone +acme-corp$/m)]);
    expect(JSON.parse((await world.bifrost(['leftovers', '-o', 'json'])).out)).toEqual({
      leftovers: [{ kind: 'secret', id: 'bifrost-gone', place: 'acme-corp' }],
    });
    expect((await world.bifrost(['doctor', '--strict'])).code).toBe(3);
  });
});
