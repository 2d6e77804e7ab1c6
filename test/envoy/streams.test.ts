import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../lab/support/eventually.ts';
import type { CallOptions, Headers, Json, Opened, Told, Verdict } from './support/door.ts';
import { StreamEnd } from './support/door.ts';
import { type DoorName, Service } from './support/service.ts';

let service: Service;
let admin: Headers;
let sidecars: readonly string[];

/** Six ways to the same events. */
const WAYS = ['sse', 'sse by Envoy', 'lines', 'lines by Envoy', 'gRPC', 'gRPC by Envoy'] as const;
type Way = (typeof WAYS)[number];

beforeAll(async () => {
  service = await Service.open({ settings: { retainedEvents: 5_000 } });
  admin = service.issuer.bearer(['admin:*']);
  sidecars = [(await service.world.connected('events-a')).sidecarId, (await service.world.connected('events-b', 'customer-b')).sidecarId];
});
afterAll(() => service[Symbol.asyncDispose]());

function open(way: Way, request: Json = {}, { on = service, ...options }: CallOptions & { readonly on?: Service } = {}): Promise<Opened> {
  const given = { headers: admin, ...options };
  if (way === 'gRPC') return on.doors.grpc.open(request, given);
  if (way === 'gRPC by Envoy') return on.doors.grpcByEnvoy.open(request, given);
  const door: DoorName = way.endsWith('Envoy') ? 'restByEnvoy' : 'rest';
  return on.doors[door].open(request, { ...given, form: way.startsWith('sse') ? 'sse' : 'ndjson' });
}

async function next({ events }: Opened): Promise<Told> {
  const { value, done } = await events.next();
  if (done) throw new Error('the stream ended without a word');
  return value;
}

/** Its connection breaks and comes back. */
async function flap(index = 0, on = service, ids = sidecars): Promise<void> {
  const agent = on.world.agents.of(ids[index] ?? '');
  for (const usable of [false, true]) await agent.report({ usable });
  await on.world.quiet();
}

/** The next heartbeat of a stream: time goes on until it comes. */
async function heartbeat(stream: Promise<Opened>, on: Service, { everyMs = 1_000 } = {}): Promise<Told> {
  let told: Told | undefined;
  let failure: unknown;
  const beat = stream.then(next);
  beat.then(
    (each) => (told = each),
    (error: unknown) => (failure = error),
  );
  const heard = async (): Promise<boolean> => {
    await on.world.clock.advance(everyMs);
    return told !== undefined || failure !== undefined;
  };
  await eventually('the stream says something', heard, { timeoutMs: 10_000, intervalMs: 5 });
  return beat;
}

/** A position that is now: both are connected, and a heartbeat says where that is. */
async function tokenNow(): Promise<string> {
  for (const sidecarId of sidecars) await service.world.agents.of(sidecarId).report({ reason: 'heartbeat' });
  using leaving = leave();
  return (await heartbeat(open('lines', { heartbeat_seconds: 1 }, { signal: leaving.signal }), service)).resume_token;
}

describe.each(WAYS)('events by %s', (way) => {
  it('come in order, each with a token, of what was asked for', async () => {
    const from = await tokenNow();
    await flap(0);
    await flap(1);
    using leaving = leave();
    const stream = await open(way, { resume_token: from }, { signal: leaving.signal });
    const all = [await next(stream), await next(stream), await next(stream), await next(stream)];
    expect(all.map(({ tailnet_name, event_type }) => [tailnet_name, event_type])).toEqual([
      ['events-a', 'disconnected'],
      ['events-a', 'connected'],
      ['events-b', 'disconnected'],
      ['events-b', 'connected'],
    ]);
    expect(new Set(all.map(({ resume_token }) => resume_token)).size).toBe(4);
    expect(all[0]?.details).toMatchObject({ sidecar_id: sidecars[0], book_deployment_id: 'events-a', state: expect.any(String) });
    const narrow = await open(way, { resume_token: from, tailnet_name: 'events-b', event_types: ['connected'] }, { signal: leaving.signal });
    expect(await next(narrow)).toMatchObject({ tailnet_name: 'events-b', event_type: 'connected' });
    const one = await open(way, { resume_token: from, sidecar_id: sidecars[1] }, { signal: leaving.signal });
    expect(await next(one)).toMatchObject({ tailnet_name: 'events-b', event_type: 'disconnected' });
    const seen = await open(way, { resume_token: from }, { signal: leaving.signal, headers: service.issuer.bearer(['viewer:customer-b']) });
    expect(await next(seen)).toMatchObject({ tailnet_name: 'events-b', event_type: 'disconnected' });
  });

  it('what is quiet says that it lives', async () => {
    using leaving = leave();
    const stream = open(way, { heartbeat_seconds: 300 }, { signal: leaving.signal });
    expect(await heartbeat(stream, service, { everyMs: 30_000 })).toMatchObject({ event_type: '', resume_token: expect.stringMatching(/.{16,}/) });
  });

  it('what is wrong is refused before the first event', async () => {
    for (const [request, reason, fields] of [
      [{ tailnet_name: 'nobodys' }, 'TAILNET_NOT_FOUND', ['tailnet_name']],
      [{ sidecar_id: 'nobodys' }, 'SIDECAR_NOT_FOUND', ['sidecar_id']],
      [{ event_types: ['nothing'] }, 'INVALID_ARGUMENT', ['event_types.0']],
      [{ heartbeat_seconds: 301 }, 'INVALID_ARGUMENT', ['heartbeat_seconds']],
      [{ resume_token: 'x' }, 'INVALID_ARGUMENT', ['resume_token']],
      [{ resume_token: 'A'.repeat(22) }, 'RESUME_TOKEN_EXPIRED', ['resume_token']],
    ] as const)
      expect(await endOf(way, request)).toMatchObject({ reason, fields });
    expect(await endOf(way, { tailnet_name: 'events-a' }, { headers: service.issuer.bearer(['viewer:customer-b']) })).toMatchObject({
      reason: 'TAILNET_NOT_FOUND',
    });
    expect(await endOf(way, {}, { headers: {} })).toMatchObject({ reason: 'UNAUTHENTICATED' });
  });
});

/** How a stream ends; it must not give anything more. */
async function endOf(way: Way, request: Json, options: CallOptions & { readonly on?: Service } = {}) {
  try {
    const stream = await open(way, request, options);
    await next(stream);
  } catch (error) {
    if (error instanceof StreamEnd) return error.verdict;
    throw error;
  }
  throw new Error('it was not refused');
}

/** What it still tells, without heartbeats, and how it ends. */
async function untilEnd(stream: Opened): Promise<{ readonly told: readonly Told[]; readonly end: Verdict }> {
  const told: Told[] = [];
  try {
    for (;;) {
      const each = await next(stream);
      if (each.event_type !== '') told.push(each);
    }
  } catch (error) {
    if (error instanceof StreamEnd) return { told, end: error.verdict };
    throw error;
  }
}

function leave(): AbortController & Disposable {
  const controller = new AbortController();
  return Object.assign(controller, { [Symbol.dispose]: () => controller.abort() });
}

describe('a reader that goes from door to door', () => {
  it('misses nothing and hears nothing twice', async () => {
    let token = await tokenNow();
    const heard: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      await flap(round % 2);
      using leaving = leave();
      const stream = await open(WAYS[round % WAYS.length] ?? 'sse', { resume_token: token }, { signal: leaving.signal });
      // One of two events each time: the rest is for the next door.
      const told = await next(stream);
      token = told.resume_token;
      heard.push(`${told.tailnet_name} ${told.event_type}`);
    }
    const expected = Array.from({ length: 12 }, (_, round) =>
      ['disconnected', 'connected'].map((word) => `events-${'ab'[round % 2]} ${word}`),
    ).flat();
    expect(heard).toEqual(expected.slice(0, 12));
  });

  it.each(['rest', 'restByEnvoy'] as const)('through %s the header Last-Event-ID is as good as a token', async (name) => {
    const token = await tokenNow();
    await flap(1);
    using leaving = leave();
    const stream = await service.doors[name].open({}, { headers: { ...admin, 'last-event-id': token }, signal: leaving.signal });
    expect(await next(stream)).toMatchObject({ tailnet_name: 'events-b', event_type: 'disconnected' });
  });
});

describe.each(WAYS)('the end of a stream by %s', (way) => {
  it('a service that is stopped says so to its readers', async () => {
    const on = await Service.open({ issuer: service.issuer });
    const stream = open(way, { heartbeat_seconds: 1 }, { on });
    await heartbeat(stream, on); // it is open: gRPC says so with its first message only
    const ended = untilEnd(await stream);
    const stopped = on.server.close({ graceMs: 5_000 });
    expect((await ended).end).toMatchObject({ code: 14, reason: 'SERVICE_DRAINING' });
    await stopped;
    await on[Symbol.asyncDispose]();
  });

  it('a reader that is too slow is cut, and goes on elsewhere where it was', async () => {
    const from = await tokenNow();
    await flap(0); // with its first event a gRPC stream says that it is open
    using leaving = leave();
    const stream = await open(way, { resume_token: from, tailnet_name: 'events-a' }, { signal: leaving.signal });
    // More than the 1024 that it may be behind, faster than a connection can take them: nothing is written meanwhile.
    const agent = service.world.agents.of(sidecars[0] ?? '');
    for (let round = 0; round < 1_500; round += 1) await agent.report({ usable: round % 2 === 1 });
    const { told, end } = await untilEnd(stream);
    expect(end).toMatchObject({ code: 8, reason: 'STREAM_OVERFLOW' });
    expect(told.length).toBeGreaterThanOrEqual(1024);
    expect(told.length).toBeLessThan(1_500);
    const elsewhere = WAYS[(WAYS.indexOf(way) + 1) % WAYS.length] ?? 'sse';
    const rest = { resume_token: told.at(-1)?.resume_token, tailnet_name: 'events-a' };
    const again = await open(elsewhere, rest, { signal: leaving.signal });
    const words = told.map(({ event_type }) => event_type);
    while (words.length < 1_502) words.push((await next(again)).event_type);
    expect(words).toEqual(Array.from({ length: 1_502 }, (_, round) => (round % 2 === 1 ? 'connected' : 'disconnected')));
  });
});
