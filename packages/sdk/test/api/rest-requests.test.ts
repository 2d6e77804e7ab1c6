// Streams as HTTP writes them, and what a REST request must be.
import { readFileSync } from 'node:fs';
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formFor, writeEvents } from '../../src/server/api/events-door.ts';
import { Streams } from '../../src/server/api/streams.ts';
import { VERSION } from '../../src/server/api/version.ts';
import { refusalOf } from '../server/support/caught.ts';
import { reasonOf, Served, TAILNET, toldBy } from './support/served.ts';

it('streams are counted, of each and of all, and given back once', async () => {
  const streams = new Streams({ maxStreams: 3, maxStreamsPerCaller: 2 });
  const held = [streams.enter('a'), streams.enter('a')];
  expect((await refusalOf(() => streams.enter('a'))).code).toBe('STREAM_LIMIT');
  streams.enter('b');
  expect((await refusalOf(() => streams.enter('c'))).code).toBe('STREAM_LIMIT');
  held[0]?.[Symbol.dispose]();
  held[0]?.[Symbol.dispose]();
  streams.enter('c');
  expect((await refusalOf(() => streams.enter('a'))).code).toBe('STREAM_LIMIT');
});

describe('a stream of events over HTTP', () => {
  it('waits for a reader that does not read, and says last why it ended', async () => {
    const { PassThrough } = await import('node:stream');
    const { ConnectivityEventSchema } = await import('@bifrost/types/proto');
    const { BifrostError } = await import('@bifrost/types/core');
    const reader = new PassThrough({ highWaterMark: 1_000 });
    let given = 0;
    const events = (async function* () {
      for (; given < 100; given += 1)
        yield create(ConnectivityEventSchema, { eventType: 'connected', tailnetName: 't'.repeat(200), resumeToken: `token-${given}` });
      yield create(ConnectivityEventSchema, { resumeToken: 'beat' });
      throw new BifrostError({ code: 'STREAM_OVERFLOW', message: 'too slow', details: { resumeToken: 'on' } });
    })();
    const form = formFor('text/event-stream');
    const written = writeEvents(reader as never, events, { form, requestId: 'r', signal: AbortSignal.timeout(5_000) });
    await new Promise((resolve) => setImmediate(resolve));
    expect(given).toBeLessThan(10);
    let text = '';
    reader.on('data', (chunk) => (text += chunk));
    await written;
    const blocks = text.trimEnd().split('\n\n');
    expect(blocks).toHaveLength(102);
    expect(blocks[0]).toMatch(/^id: token-0\ndata: \{"tailnet_name":"t+","event_type":"connected"/);
    expect(blocks[100]).toBe(': heartbeat\nid: beat');
    expect(blocks[101]).toMatch(/^event: error\ndata: .*STREAM_OVERFLOW.*"resumeToken":"on"/);
    expect(formFor('application/json').failure({ code: 1 })).toBe('{"error":{"code":1}}\n');
  });
});

describe('a REST request', () => {
  let served: Served;
  beforeAll(async () => {
    served = await Served.open();
  });
  afterAll(() => served[Symbol.asyncDispose]());
  const one = `/api/v1/networks/tailnets/${TAILNET}`;

  it.each<[string, Parameters<Served['rest']>[1], readonly string[]]>([
    ['a member in two spellings', { method: 'PATCH', path: one, body: { update_mask: 'tags', updateMask: 'tags' } }, ['update_mask']],
    ['null for a body', { method: 'PATCH', path: one, body: 'null' }, ['']],
    ['a list for a body', { method: 'PATCH', path: one, body: '[]' }, ['']],
    ['a body where none is taken', { path: one, body: {} }, ['']],
    [
      'a compressed body',
      { method: 'PATCH', path: one, body: Buffer.from([0x1f, 0x8b, 8, 0]), headers: { 'content-encoding': 'gzip' } },
      ['content-encoding'],
    ],
    ['another type', { method: 'PATCH', path: one, body: 'x', headers: { 'content-type': 'text/plain' } }, ['content-type']],
    ['no UTF-8', { method: 'PATCH', path: one, body: Buffer.from([0x22, 0xff, 0x22]) }, ['']],
    ['__proto__', { method: 'PATCH', path: one, body: '{"__proto__":{"x":1}}' }, ['__proto__']],
    ['a word that is none', { method: 'PATCH', path: one, body: { config: { access_policy: 'open' } } }, ['config.access_policy']],
    ['the path’s member in the body', { method: 'PATCH', path: one, body: { tailnet_name: 'x' } }, ['tailnet_name']],
    ['a query where a body is', { method: 'PATCH', path: `${one}?tags=x`, body: {} }, ['tags']],
    ['a parameter twice', { path: '/api/v1/networks/tailnets?page_size=1&pageSize=2' }, ['page_size']],
    ['a parameter that is none', { path: '/api/v1/networks/tailnets?x=1' }, ['x']],
    ['a number that is none', { path: '/api/v1/networks/tailnets?page_size=1e2' }, ['page_size']],
    ['a switch that is none', { method: 'DELETE', path: `${one}?cascade=1` }, ['cascade']],
    ['a broken escape', { path: '/api/v1/networks/tailnets?tag=%zz' }, ['query']],
    ['no UTF-8 in the query', { path: '/api/v1/networks/tailnets?tag=%ff' }, ['query']],
  ])('with %s is INVALID_ARGUMENT', async (_, sent, fields) => {
    const answer = await served.rest('admin:*', sent);
    expect([answer.status, reasonOf(answer)]).toEqual([400, { reason: 'INVALID_ARGUMENT', fields }]);
  });

  it('finds its path by what it is, not by a host that it names', async () => {
    for (const path of ['//x/api/v1/networks/info', '/api/v1/networks/info/', '//api/v1/networks/info'])
      expect([path, (await served.rest('admin:*', { path })).status]).toEqual([path, 404]);
    for (const path of ['/api/v1/./networks/info', '/api/v1/x/../networks/info', 'http://elsewhere/api/v1/networks/info'])
      expect([path, (await served.rest('admin:*', { path })).status]).toEqual([path, 200]);
  });

  it('gRPC refuses a word that is none as REST does', async () => {
    expect(await toldBy(() => served.grpc('admin:*').listTailnets({ status: 99 as never }))).toMatchObject({ code: 3, reason: 'INVALID_ARGUMENT' });
  });

  it('pages that need no credential are served, and tell nothing else', async () => {
    for (const [path, status] of [
      ['/healthz', 200],
      ['/readyz', 200],
      ['/other', 401],
    ] as const)
      expect((await served.rest('', { path })).status).toBe(status);
    expect((await served.rest('', { method: 'HEAD', path: '/readyz' })).text).toBe('');
  });
});

it('the service tells the version of its package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string };
  expect(VERSION).toBe(version);
});

describe('an answer by REST', () => {
  let served: Served;
  beforeAll(async () => {
    served = await Served.open();
  });
  afterAll(() => served[Symbol.asyncDispose]());

  it('says a word for every choice: what was not chosen is as it counts', async () => {
    const sidecarId = await served.connected();
    const base = '/api/v1/networks';
    const explain = { method: 'POST', path: `${base}/sidecars/${sidecarId}:explain` };
    const asked = [
      ...['tailnets', `tailnets/${TAILNET}`, `tailnets/${TAILNET}/status`, 'sidecars', `sidecars/${sidecarId}`].map((path) => ({
        path: `${base}/${path}`,
      })),
      { ...explain, body: { to: '10.1.0.10' } },
      { ...explain, body: { to: '10.1.0.10', protocol: 'icmp' } },
    ];
    for (const sent of asked) {
      const { status, text } = await served.rest('admin:*', sent);
      expect([sent.path, status, text]).toEqual([sent.path, 200, expect.not.stringContaining('unspecified')]);
    }
    const found = await served.rest('admin:*', { path: `${base}/sidecars/${sidecarId}` });
    expect(found.body).toMatchObject({ sidecar: { config: { network_mode: 'auto' }, network_mode: 'kernel' } });
    const refused = await served.rest('admin:*', { ...explain, body: { to: '10.1.0.10', port: 443, protocol: 'icmp' } });
    expect([refused.status, refused.text]).toEqual([400, expect.stringContaining('must be left out: ICMP has no ports')]);
  });
});
