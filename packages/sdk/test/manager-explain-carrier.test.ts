import { describe, expect, it } from 'vitest';
import { BOOK, type Opened, openWorld } from './support/world.ts';

const TO = '10.1.0.10';

interface Told {
  readonly bytes?: number;
  readonly online?: boolean;
  readonly path?: string;
  readonly handshakeAtMs?: number;
}

/** A book of so many pods, and a router that carries what is asked about. */
async function opened(replicas = 1) {
  const world = await openWorld({ book: { replicas } });
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(async () => world.agents.all.length === replicas && (await world.sidecars())[0]?.state.phase === 'connected');
  await world.quiet();
  const controlId = (await world.tailnet())?.state.controlId ?? '';
  const routes = ['10.1.0.0/16'];
  const { deviceId } = world.control.addDevice({ controlId, hostname: 'gateway', advertiseRoutes: routes, enabledRoutes: routes, tags: ['tag:r'] });
  const peerOf = (id: string, { bytes = 0, online = true, path = 'direct', handshakeAtMs }: Told = {}) => ({
    ...{ id, name: `${id}.example.net`, online, path, rx_bytes: bytes, tx_bytes: 0, routes },
    ...(handshakeAtMs === undefined ? {} : { last_handshake_at_ms: handshakeAtMs }),
  });
  const carrier = async (to = TO) => (await world.manager.explain({ sidecarId, to })).evidence.carrier;
  const say = async (told: Told, agent = world.agents.one) => agent.report('heartbeat', { peers: [peerOf(deviceId, told)] });
  return { world, sidecarId, deviceId, carrier, say, peerOf };
}
const past = (world: Opened, ms: number): Date => new Date(world.clock.nowMs() - ms);

describe('what the agents said last of the router that a packet goes by', () => {
  it('is told: its path, whether it is online, and when it was used; nothing before they have told of it', async () => {
    const { world, deviceId, carrier, say } = await opened();
    await using _ = world;
    expect(await carrier()).toBeUndefined();
    await say({ bytes: 10, handshakeAtMs: world.clock.nowMs() - 5_000 });
    const podName = world.agents.one.pod.name;
    const now = past(world, 0);
    const device = { deviceId, name: expect.stringMatching(/^gateway\./), podName };
    expect(await carrier()).toEqual({ ...device, path: 'direct', online: true, toldAt: now, lastUsedAt: now, lastHandshakeAt: past(world, 5_000) });
    await world.run(1_000);
    // A brief heartbeat leaves the handshake out, and its bytes stand.
    await say({ bytes: 10, path: 'none', online: false });
    expect(await carrier()).toMatchObject({
      path: 'none',
      online: false,
      toldAt: past(world, 0),
      lastUsedAt: now,
      lastHandshakeAt: past(world, 6_000),
    });
  });

  it('is of the pod that used it last', async () => {
    const { world, carrier, say } = await opened(2);
    await using _ = world;
    const [one, other] = world.agents.all;
    await say({ bytes: 10, path: 'derp', handshakeAtMs: world.clock.nowMs() }, one);
    await world.run(1_000);
    await say({}, other);
    expect(await carrier()).toMatchObject({ podName: one?.pod.name, path: 'derp' });
    await say({ bytes: 1 }, other);
    expect(await carrier()).toMatchObject({ podName: other?.pod.name, path: 'direct' });
  });

  it('is of the one that was used, where two offer the same network', async () => {
    const { world, deviceId, carrier, peerOf } = await opened();
    await using _ = world;
    const controlId = (await world.tailnet())?.state.controlId ?? '';
    const routes = ['10.1.0.0/16'];
    const spare = world.control.addDevice({ controlId, hostname: 'spare', advertiseRoutes: routes, enabledRoutes: routes }).deviceId;
    const used = { bytes: 10, handshakeAtMs: world.clock.nowMs() };
    await world.agents.one.report('heartbeat', { peers: [peerOf(deviceId), peerOf(spare, used)] });
    expect(await carrier()).toMatchObject({ deviceId: spare, name: expect.stringMatching(/^spare\./) });
    await world.agents.one.report('heartbeat', { peers: [peerOf(deviceId), peerOf('another', used)] });
    expect(await carrier()).toMatchObject({ deviceId: spare });
  });

  it('is known of a router beside the busiest peers, too', async () => {
    const { world, deviceId, carrier, peerOf } = await opened();
    await using _ = world;
    const busier = Array.from({ length: 30 }, (__, index) => peerOf(`n${index}`, { bytes: 100, handshakeAtMs: world.clock.nowMs() }));
    await world.agents.one.report('heartbeat', { peers: [...busier, peerOf(deviceId, { path: 'peer-relay' })] });
    const found = await carrier();
    expect(found).toMatchObject({ deviceId, path: 'peer-relay', online: true, toldAt: past(world, 0) });
    expect(found).not.toHaveProperty('lastUsedAt');
  });

  it('is not told of a packet that goes by no route: one that the guard stops, or that leaves the pod in clear', async () => {
    const { world, carrier, say } = await opened();
    await using _ = world;
    await say({ bytes: 10, handshakeAtMs: world.clock.nowMs() });
    expect(await carrier('203.0.113.9')).toBeUndefined();
    expect(await carrier('10.2.0.1')).toBeUndefined();
    await world.manager.updateTailnet({ tailnetName: BOOK.tailnetName, config: { blockedNetworks: [`${TO}/32`] }, confirm: true });
    await world.run(30_000);
    expect(await carrier()).toBeUndefined();
  });

  it.each([0, Number.MAX_SAFE_INTEGER])('is a time, whatever an agent takes for one: a handshake at %d', async (handshakeAtMs) => {
    const { world, carrier, say } = await opened();
    await using _ = world;
    await say({ handshakeAtMs });
    const atMs = (await carrier())?.lastHandshakeAt?.getTime() ?? Number.NaN;
    expect(atMs).toBeGreaterThanOrEqual(0);
    expect(atMs).toBeLessThanOrEqual(world.clock.nowMs());
  });
});
