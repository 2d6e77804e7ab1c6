import { getEventListeners } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { UnixLocalApi } from '../src/adapters/http/local-api.ts';
import { systemClock } from '../src/adapters/system/clock.ts';
import { BusFollower } from '../src/bus-follower.ts';
import { type BusHint, busMasks } from '../src/domain/bus.ts';
import { fakeDaemon, json } from './support/fake-daemon.ts';

async function following(version = '1.102.5') {
  const stack = new AsyncDisposableStack();
  onTestFinished(() => stack.disposeAsync());
  const daemon = stack.use(await fakeDaemon());
  const localApi = stack.use(new UnixLocalApi(daemon.socketPath));
  const state = { reachable: true, version, hints: [] as BusHint[], ends: 0 };
  const follower = new BusFollower({
    localApi,
    clock: { ...systemClock, random: () => 0 },
    daemon: () => state,
    onHint: (hint) => void state.hints.push(hint),
    onEnd: () => {
      state.ends += 1;
    },
  });
  const stop = new AbortController();
  const running = follower.run({ signal: stop.signal });
  running.catch(() => {});
  stack.defer(async () => {
    const reason = new Error('left');
    stop.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });
  const masks = () => daemon.asked.map(({ url }) => Number(new URL(url, 'http://x').searchParams.get('mask')));
  return { daemon, follower, state, masks };
}
const until = (holds: () => void) => vi.waitFor(holds, { timeout: 5_000, interval: 5 });

describe('BusFollower', () => {
  it('opens the best stream for the daemon, and another after each end', async () => {
    const { daemon, follower, state, masks } = await following();
    await until(() => expect(daemon.streams.size).toBe(1));
    daemon.say('{"State":6,"Health":{"Warnings":{"a":{}}}}');
    await until(() => expect(state.hints).toMatchObject([{ warnings: [{ code: 'a' }] }]));
    expect([follower.mask, follower.streams]).toEqual([busMasks('1.102.5')[0], 1]);
    // As the daemon does with a reader that falls behind.
    for (const stream of daemon.streams) stream.end('{"ErrMessage":"consumer of notifications fell behind"}\n');
    await until(() => expect([state.ends, daemon.streams.size]).toEqual([1, 1]));
    expect(follower.mask).toBeUndefined(); // nothing heard yet on the new one
    daemon.say('{"State":6,"Health":{"Warnings":null}}');
    await until(() => expect(state.hints.at(-1)).toEqual({ warnings: [] }));
    expect([follower.streams, new Set(masks())]).toEqual([2, new Set([busMasks('1.102.5')[0]])]);
  });
  it('400: takes the next smaller mask at once, and stays with it', async () => {
    const { daemon, masks } = await following();
    const [best, ...smaller] = busMasks('1.102.5');
    const answer = daemon.answers['watch-ipn-bus'];
    daemon.answers['watch-ipn-bus'] = (response, incoming) => {
      const mask = Number(new URL(incoming.url ?? '', 'http://x').searchParams.get('mask'));
      if (mask === best || mask === smaller[0]) json({}, 400)(response, incoming);
      else answer?.(response, incoming);
    };
    for (const stream of daemon.streams) stream.end();
    await until(() => expect(daemon.streams.size).toBe(1));
    const accepted = masks().at(-1);
    expect(accepted).toBe(smaller[1]);
    for (const stream of daemon.streams) stream.end();
    await until(() => expect(masks().filter((mask) => mask === accepted)).toHaveLength(2));
    expect(masks().filter((mask) => mask === smaller[0])).toHaveLength(1);
  });
  it('another version begins with its best mask again', async () => {
    const { daemon, state, masks } = await following('1.98.0');
    await until(() => expect(daemon.streams.size).toBe(1));
    expect(masks()).toEqual([busMasks('1.98.0')[0]]);
    state.version = '1.100.0';
    for (const stream of daemon.streams) stream.end();
    await until(() => expect(masks()).toHaveLength(2));
    expect(masks()[1]).toBe(busMasks('1.100.0')[0]);
  });
  it('a stream without health does not keep old warnings alive', async () => {
    const { daemon, state } = await following();
    const answer = daemon.answers['watch-ipn-bus'];
    daemon.answers['watch-ipn-bus'] = (response, incoming) =>
      incoming.url?.endsWith('mask=2') ? answer?.(response, incoming) : json({}, 400)(response, incoming);
    for (const stream of daemon.streams) stream.end();
    await until(() => expect(daemon.streams.size).toBe(1));
    daemon.say('{"State":6}');
    await until(() => expect(state.hints).toEqual([{ warnings: [] }, {}]));
  });
  it('refused even the least: waits before it begins anew; without a bus: until the daemon comes back', async () => {
    const { daemon, follower, masks, state } = await following();
    daemon.answers['watch-ipn-bus'] = json({}, 400);
    for (const stream of daemon.streams) stream.end();
    const all = busMasks('1.102.5').length;
    await until(() => expect(masks().length).toBeGreaterThan(all));
    let without = 0;
    daemon.answers['watch-ipn-bus'] = (response, incoming) => {
      without += 1;
      json({}, 404)(response, incoming);
    };
    for (const attempts of [1, 2, 3]) {
      await until(() => expect([without, state.ends]).toEqual([attempts, masks().length])); // one attempt for each ring
      follower.ring();
    }
  });
});
