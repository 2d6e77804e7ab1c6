import { getEventListeners } from 'node:events';
import type { CONNECTIVITY_WORDS, ConnectivityEvent, ConnectivityHeartbeat, ManagerEventName, ManagerEvents } from '@bifrost/types/core';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { NetworkManager } from '../src/manager/network-manager.ts';
import { ACME, BOOK, type Opened, openWorld, World } from './support/world.ts';

const TAILNET = 'acme-corp-production';
const open = async (): Promise<Opened> => {
  const world = await openWorld();
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  return world;
};
/** Makes `count` events, one after another. */
async function flap(world: World, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await world.agents.one.report('change', { node: { usable: index % 2 === 1 } });
}

describe('events', () => {
  it('have names noun:past-verb and one payload with atMs, held by types', () => {
    type Listener<Name extends ManagerEventName> = Parameters<typeof NetworkManager.prototype.on<Name>>[1];
    expectTypeOf<Parameters<Listener<'tailnet:failed'>>[0]>().toEqualTypeOf<ManagerEvents['tailnet:failed']>();
    expectTypeOf<ManagerEvents[ManagerEventName]>().toExtend<{ readonly atMs: number }>();
    expectTypeOf<'sidecar:attachd'>().not.toExtend<ManagerEventName>();
    expectTypeOf<keyof typeof CONNECTIVITY_WORDS>().toExtend<ManagerEventName>();
  });

  it('carry whom they are about; a disposed listener hears nothing more', async () => {
    await using world = await open();
    const [created, , attached, connected] = world.events;
    expect(created).toMatchObject({ name: 'tailnet:created', event: { tailnetName: TAILNET, customerId: 'acme-corp', atMs: expect.any(Number) } });
    expect(attached).toMatchObject({
      name: 'sidecar:attached',
      event: { tailnetName: TAILNET, bookDeploymentId: 'customer-support-book', sidecarId: expect.any(String) },
    });
    expect(connected).toMatchObject({
      name: 'instance:connected',
      event: { state: 'connected', previousState: 'attaching', podUid: world.agents.one.pod.uid, ipAddress: world.agents.one.ip },
    });
    const heard: number[] = [];
    const subscription = world.manager.on('instance:disconnected', ({ atMs }) => void heard.push(atMs));
    await flap(world, 2);
    subscription[Symbol.dispose]();
    subscription[Symbol.dispose]();
    await flap(world, 2);
    expect(heard).toHaveLength(1);
  });

  it('a listener that throws, or whose promise rejects (bug: it ended the process), is logged and stops nobody', async () => {
    await using world = await open();
    const heard: string[] = [];
    world.manager.on('instance:disconnected', () => {
      throw new RangeError('thrown');
    });
    world.manager.on('instance:disconnected', async () => {
      throw new RangeError('rejected');
    });
    world.manager.on('instance:disconnected', ({ podName }) => void heard.push(podName));
    await expect(flap(world, 1)).resolves.toBeUndefined();
    await world.run(0);
    expect(heard).toEqual([world.agents.one.pod.name]);
    const told = world.logger.lines.filter(({ message }) => message === 'a listener threw');
    expect(told.map(({ level, fields }) => `${level} ${String(fields['error']).split(' ')[0]}`)).toEqual(['error RangeError', 'error RangeError']);
  });

  it('one listener may leave, or another come, while an event is told', async () => {
    await using world = await open();
    const heard: string[] = [];
    const first = world.manager.on('instance:disconnected', () => {
      heard.push('first');
      first[Symbol.dispose]();
      world.manager.on('instance:disconnected', () => void heard.push('third'));
    });
    world.manager.on('instance:disconnected', () => void heard.push('second'));
    await flap(world, 2);
    expect(heard).toEqual(['first', 'second']);
  });
});

describe('monitorConnectivity', () => {
  const listening = (world: World, tailnetName?: string) => {
    const stop = new AbortController();
    const stream = world.manager.monitorConnectivity({ signal: stop.signal, ...(tailnetName === undefined ? {} : { tailnetName }) });
    return { stop, events: stream[Symbol.asyncIterator]() };
  };

  it('break and throw leave nothing behind', async () => {
    await using world = await open();
    for (const way of ['break', 'throw']) {
      const stop = new AbortController();
      const read = async (): Promise<void> => {
        for await (const event of world.manager.monitorConnectivity({ signal: stop.signal })) {
          if (way === 'break') break;
          throw new RangeError(event.eventType);
        }
      };
      const reading = read().catch((error: unknown) => error);
      await world.quiet();
      await flap(world, 2);
      expect((await reading) instanceof RangeError).toBe(way === 'throw');
      expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
    }
  });

  it('a reader that falls 1024 events behind gets STREAM_OVERFLOW after what was kept', async () => {
    await using world = await open();
    const { events, stop } = listening(world);
    const first = events.next();
    await flap(world, 1_030);
    let got = Number(!(await first).done);
    const rest = (async () => {
      for (;;) {
        await events.next();
        got += 1;
      }
    })();
    await expect(rest).rejects.toMatchObject({ code: 'STREAM_OVERFLOW' });
    expect(got).toBe(1_025); // the one that was waited for, and the capacity
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });

  it('gives one tailnet’s events only, when asked', async () => {
    await using world = await open();
    await world.addCustomer('globex');
    await world.addBook({ namespace: 'globex', name: 'theirs' });
    await world.manager.createTailnet({ ...ACME, customerId: 'globex', tailnetName: 'globex-production' });
    const { events, stop } = listening(world, 'globex-production');
    const first = events.next() as Promise<IteratorResult<ConnectivityEvent>>;
    await flap(world, 2);
    await world.manager.attachSidecar({ bookDeploymentId: 'theirs', tailnetName: 'globex-production', config: { hostname: 'theirs' } });
    await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
    expect((await first).value).toMatchObject({ tailnetName: 'globex-production', eventType: 'connected' });
    stop.abort();
  });

  it('goes on where a stream broke, from a token of this manager; another has a history of its own', async () => {
    await using world = await open();
    const { events, stop } = listening(world);
    await flap(world, 2);
    const first = (await events.next()).value as ConnectivityEvent;
    stop.abort();
    await expect(events.next()).rejects.toBe(stop.signal.reason);
    await flap(world, 1);
    const resumeToken = first.resumeToken ?? '';
    const rest: ConnectivityEvent[] = [];
    for await (const event of world.manager.monitorConnectivity({ resumeToken, customerIds: ['acme-corp'] })) {
      rest.push(event);
      if (rest.length === 2) break;
    }
    expect([first, ...rest].map(({ eventType }) => eventType)).toEqual(['disconnected', 'connected', 'disconnected']);
    const theirs = world.newManager();
    expect(() => theirs.monitorConnectivity({ resumeToken })).toThrow(expect.objectContaining({ code: 'RESUME_TOKEN_EXPIRED' }));
  });

  it('keeps as many events as the option says', async () => {
    await using world = await openWorld({ settings: { retainedEvents: 2 } });
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    const beats = world.manager.monitorConnectivity({ heartbeatMs: 1_000 })[Symbol.asyncIterator]();
    const { resumeToken } = (await beats.next()).value as ConnectivityHeartbeat;
    await flap(world, 2);
    expect(() => world.manager.monitorConnectivity({ resumeToken })).not.toThrow();
    await flap(world, 1);
    expect(() => world.manager.monitorConnectivity({ resumeToken })).toThrow(expect.objectContaining({ code: 'RESUME_TOKEN_EXPIRED' }));
    await beats.return?.();
  });

  it('gives heartbeats to those only who ask for them, held by types', async () => {
    await using world = await open();
    expectTypeOf(world.manager.monitorConnectivity({ tailnetName: TAILNET })).toEqualTypeOf<AsyncIterable<ConnectivityEvent>>();
    expectTypeOf(world.manager.monitorConnectivity({ heartbeatMs: 1_000 })).toEqualTypeOf<AsyncIterable<ConnectivityEvent | ConnectivityHeartbeat>>();
  });
});

describe('waitFor', () => {
  it('comes back with what is there: at once, when it is so, and when it is gone', async () => {
    await using world = new World();
    await world.manager.start();
    await world.addCustomer('acme-corp');
    await world.addBook();
    await world.manager.createTailnet(ACME);
    const active = world.manager.waitFor({ tailnetName: TAILNET, status: 'active' });
    await world.run(1_000);
    expect(await active).toMatchObject({ tailnetName: TAILNET, status: 'active' });
    expect(await world.manager.waitFor({ tailnetName: TAILNET, status: 'active' })).toMatchObject({ status: 'active' });
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    const connected = world.manager.waitFor({ sidecarId, status: 'connected' });
    await world.run(20_000);
    expect(await connected).toMatchObject({ sidecarId, status: 'connected', ipAddress: world.agents.one.ip });
    await world.manager.deleteTailnet(TAILNET, { cascade: true });
    const gone = [world.manager.waitFor({ sidecarId, status: 'gone' }), world.manager.waitFor({ tailnetName: TAILNET, status: 'gone' })];
    await world.run(30_000);
    expect(await Promise.all(gone)).toEqual([undefined, undefined]);
    expect(await world.manager.waitFor({ sidecarId, status: 'gone' })).toBeUndefined();
  });

  it('bug: comes back with the change itself, not at its next look a second later', async () => {
    await using world = await openWorld();
    world.agents.speak = false;
    const { sidecarId } = await world.manager.attachSidecar(BOOK);
    await world.until(() => world.agents.all.length === 1);
    const connected = world.manager.waitFor({ sidecarId, status: 'connected' });
    await world.quiet();
    const since = world.clock.nowMs();
    await world.agents.one.report('start');
    await connected;
    expect(world.clock.nowMs()).toBe(since);
  });

  it('fails with the code when it failed instead, or never was', async () => {
    await using world = new World();
    await world.manager.start();
    await world.addCustomer('acme-corp', { ownTailnet: false });
    await world.manager.createTailnet(ACME);
    const waiting = world.manager.waitFor({ tailnetName: TAILNET, status: 'active' }).catch((error: unknown) => error);
    await world.run(5_000);
    expect(await waiting).toMatchObject({
      code: 'WAIT_FAILED',
      details: { wanted: 'active', status: 'failed', reason: 'CONTROL_CREDENTIALS_INVALID' },
    });
    await expect(world.manager.waitFor({ tailnetName: 'nobody', status: 'active' })).rejects.toMatchObject({
      code: 'WAIT_FAILED',
      details: { status: 'gone' },
    });
    await expect(world.manager.waitFor({ sidecarId: 'nobody', status: 'connected' })).rejects.toMatchObject({ code: 'WAIT_FAILED' });
    expect(await world.manager.waitFor({ tailnetName: TAILNET, status: 'failed' })).toMatchObject({ status: 'failed' });
  });

  it('leaves no sleeper and no listener, however it ends', async () => {
    await using world = await openWorld();
    const sleepers = world.clock.sleepers;
    const stop = new AbortController();
    const waiting = world.manager.waitFor({ tailnetName: TAILNET, status: 'failed' }, stop).catch((error: unknown) => error);
    await world.run(3_500);
    expect(world.clock.sleepers).toBe(sleepers + 1);
    stop.abort(new RangeError('enough'));
    expect(await waiting).toBe(stop.signal.reason);
    expect(world.clock.sleepers).toBe(sleepers);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });
});
