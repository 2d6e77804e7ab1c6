import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld, refusal, type WorldOptions } from './support/world.ts';

const TAILNET = 'acme-corp-production';
/** Leaves what the first router carries, and nothing of the others. */
const LESS = { tailnetName: TAILNET, config: { allowedNetworks: ['10.1.0.0/16'] } } as const;
const ROUTERS = ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'] as const;

interface Peer {
  readonly id: string;
  readonly bytes: number;
  readonly routes?: readonly string[];
  readonly fresh?: boolean;
}
const told = ({ id, bytes, routes = [], fresh = true }: Peer, nowMs: number) => ({
  ...{ id, name: `${id}.example.net`, online: true, path: 'direct', rx_bytes: bytes, tx_bytes: 0, routes },
  ...(fresh ? { last_handshake_at_ms: nowMs - 1_000 } : {}),
});
const routers = (bytes = 100): readonly Peer[] => ROUTERS.map((route, index) => ({ id: `n${index + 1}`, bytes, routes: [route] }));

async function connected(settings: NonNullable<WorldOptions['settings']> = {}, replicas = 1): Promise<Opened> {
  const world = await openWorld({ settings, book: { replicas } });
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => world.agents.all.length === replicas && (await world.sidecars())[0]?.state.phase === 'connected');
  await world.quiet();
  return world;
}
async function say(world: Opened, peers: readonly Peer[]): Promise<void> {
  for (const agent of world.agents.all) await agent.report('heartbeat', { peers: peers.map((peer) => told(peer, world.clock.nowMs())) });
}
const plan = async (world: Opened, change: Parameters<Opened['manager']['planUpdateTailnet']>[0] = LESS) =>
  (await world.manager.planUpdateTailnet(change)).livePeers;

describe('peers in use', () => {
  it('that would be lost are told in the plan: what they carry, by how many, and when last', async () => {
    await using world = await connected({}, 2);
    await say(world, routers());
    const lost = { loss: 'all', instances: 2, lastUsedAt: new Date(world.clock.nowMs()) };
    expect(await plan(world)).toEqual({
      total: 3,
      lost: 2,
      losing: [
        { peerId: 'n2', name: 'n2.example.net', routes: ['10.2.0.0/16'], ...lost },
        { peerId: 'n3', name: 'n3.example.net', routes: ['10.3.0.0/16'], ...lost },
      ],
    });
  });

  it.each([
    ['a part of what it carries', { blockedNetworks: ['10.1.0.10/32'] }, [['n1', 'some']]],
    ['all that it carries, by a block', { blockedNetworks: ['10.1.0.0/16'] }, [['n1', 'all']]],
    ['nothing, though the configuration changes', { allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'] }, []],
  ])('lose %s', async (_, config, losing) => {
    await using world = await connected();
    await say(world, routers());
    const peers = await plan(world, { tailnetName: TAILNET, config });
    expect(peers?.losing.map(({ peerId, loss }) => [peerId, loss])).toEqual(losing);
    expect(peers?.lost).toBe(losing.filter(([, loss]) => loss === 'all').length);
  });

  it('a device without routes is lost when the tailnet’s own devices are', async () => {
    await using world = await connected();
    await world.manager.updateTailnet({ tailnetName: TAILNET, config: { accessPolicy: 'standard' } });
    await say(world, [{ id: 'device', bytes: 10 }]);
    expect(await plan(world, { tailnetName: TAILNET, config: { accessPolicy: 'restrictive' } })).toMatchObject({
      total: 1,
      lost: 1,
      losing: [{ peerId: 'device' }],
    });
  });

  it('are those that bytes moved to or from lately: not one that is only known, nor one whose bytes stand', async () => {
    await using world = await connected();
    await say(world, [
      { id: 'old', bytes: 5_000, routes: [ROUTERS[1]], fresh: false },
      { id: 'idle', bytes: 0, routes: [ROUTERS[2]] },
    ]);
    expect(await plan(world)).toBeUndefined();
    await say(world, [{ id: 'old', bytes: 5_001, routes: [ROUTERS[1]], fresh: false }]);
    expect(await plan(world)).toMatchObject({ total: 1, losing: [{ peerId: 'old' }] });
    await world.run(300_000);
    expect(await plan(world)).toMatchObject({ total: 1 }); // a report that leaves it out says nothing of it
    await world.run(300_000);
    expect(await plan(world)).toBeUndefined();
  });

  it('are bounded, whatever an agent tells', async () => {
    await using world = await connected();
    for (let round = 0; round < 5; round += 1) {
      const names = Array.from({ length: 64 }, (_, index) => ({ id: `r${round}-${index}`, bytes: 10, routes: [ROUTERS[1]] }));
      await say(world, names);
    }
    expect(await plan(world)).toMatchObject({ total: 16 });
  });

  it('of another tailnet, and of pods that are gone, do not count', async () => {
    await using world = await connected();
    await say(world, routers());
    await world.cluster.scale(world.book, 0);
    await world.run(10_000);
    expect(await plan(world)).toBeUndefined();
  });
});

describe('confirm', () => {
  it('is needed above the share: nothing is written without, and it goes through with', async () => {
    await using world = await connected();
    await say(world, routers());
    const before = await world.tailnet();
    expect(await refusal(world.manager.updateTailnet(LESS))).toMatchObject({
      code: 'CONFIRM_REQUIRED',
      retry: 'never',
      issues: [{ path: 'confirm' }],
      details: { lost: '2', total: '3', peerIds: 'n2,n3' },
    });
    expect(await world.tailnet()).toEqual(before);
    expect(world.audit.records.at(-1)).toMatchObject({ action: 'updateTailnet', outcome: 'CONFIRM_REQUIRED' });
    expect(await world.manager.updateTailnet({ ...LESS, confirm: true })).toMatchObject({ config: LESS.config });
  });

  it.each([
    ['the half of them', { tailnetName: TAILNET, config: { allowedNetworks: ['10.1.0.0/16', '10.2.0.0/16'] } }, {}, 4],
    ['parts of all of them', { tailnetName: TAILNET, config: { blockedNetworks: ['10.1.0.1/32', '10.2.0.1/32', '10.3.0.1/32'] } }, {}, 3],
    ['most, where the option says never', LESS, { confirmLossShare: 1 }, 3],
  ])('is not needed for %s', async (_, change, settings, count) => {
    await using world = await connected(settings);
    const more = count === 4 ? [{ id: 'n4', bytes: 1, routes: ['10.4.0.0/16'] }] : [];
    await say(world, [...routers(), ...more]);
    await expect(world.manager.updateTailnet(change)).resolves.toMatchObject({ config: change.config });
  });

  it.each(['true', 'false', 1, null])('is said by true alone, not by %j', async (confirm) => {
    await using world = await connected();
    await say(world, routers());
    const before = await world.tailnet();
    expect(await refusal(world.manager.updateTailnet({ ...LESS, confirm } as never))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      issues: [{ path: 'confirm', message: 'must be true or false' }],
    });
    expect(await world.tailnet()).toEqual(before);
  });

  it('and so are the other consents', async () => {
    await using world = await connected();
    const { manager } = world;
    const [sidecar] = await world.sidecars();
    const sidecarId = sidecar?.spec.sidecarId ?? '';
    const no = 'false' as unknown as boolean;
    const refused = (path: string) => ({ code: 'INVALID_ARGUMENT', issues: [{ path }] });
    expect(await refusal(manager.updateTailnet({ ...LESS, allowRollout: no }))).toMatchObject(refused('allowRollout'));
    expect(await refusal(manager.updateSidecar({ sidecarId, config: { acceptRoutes: true }, allowRollout: no }))).toMatchObject(
      refused('allowRollout'),
    );
    expect(await refusal(manager.detachSidecar(sidecarId, { abandon: no }))).toMatchObject(refused('abandon'));
    expect(await refusal(manager.deleteTailnet(TAILNET, { cascade: no }))).toMatchObject(refused('cascade'));
    expect(await world.sidecars()).toEqual([sidecar]);
  });

  it('is needed for a single one, where the option says always', async () => {
    await using world = await connected({ confirmLossShare: 0 });
    await say(world, routers());
    const change = { tailnetName: TAILNET, config: { blockedNetworks: ['10.2.0.0/16'] } } as const;
    expect(await refusal(world.manager.updateTailnet(change))).toMatchObject({ code: 'CONFIRM_REQUIRED', details: { lost: '1' } });
  });

  it('is not asked for by a manager that has heard of no peer yet', async () => {
    await using world = await connected();
    await say(world, routers());
    await world.restart();
    await expect(world.manager.updateTailnet(LESS)).resolves.toMatchObject({ config: LESS.config });
  });
});
