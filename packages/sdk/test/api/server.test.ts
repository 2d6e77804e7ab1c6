// The port itself: TLS, what speaks in clear, limits, and how it ends.
import { once } from 'node:events';
import { connect as connectHttp2, constants, type OutgoingHttpHeaders } from 'node:http2';
import { request as sendTls } from 'node:https';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Entrance } from '../../src/server/api/entrance.ts';
import type { HttpRequest, HttpResponse } from '../../src/server/api/rest-door.ts';
import { anyOf, apiKeyAuthenticator, certificateAuthenticator } from '../../src/server/index.ts';
import { Authority } from './support/authority.ts';
import { Served, TAILNET, toldBy } from './support/served.ts';

const INFO = '/api/v1/networks/info';

describe('TLS', () => {
  using authority = new Authority('ours');
  using strangers = new Authority('strangers');
  const server = authority.issue('server', 'IP:127.0.0.1');
  const renewed = authority.issue('renewed', 'IP:127.0.0.1');
  const client = authority.issue('client', 'URI:spiffe://bifrost.test/controller');
  const strange = strangers.issue('client', 'URI:spiffe://bifrost.test/controller');
  const ca = authority.cert;
  let served: Served;
  beforeAll(async () => {
    served = await Served.open({
      tls: { ...server, clientCa: ca },
      authenticator: anyOf([
        certificateAuthenticator({ identities: [{ uri: 'spiffe://bifrost.test/controller', subject: 'controller', roles: ['admin:*'] }] }),
        apiKeyAuthenticator({ keys: [] }),
      ]),
    });
  });
  afterAll(() => served[Symbol.asyncDispose]());

  const get = async (shown: Partial<typeof client>, headers: Readonly<Record<string, string>> = {}): Promise<number | undefined> => {
    const sent = sendTls({ host: '127.0.0.1', port: served.port, path: INFO, ca, headers, agent: false, ...shown });
    sent.end();
    const [response] = await once(sent, 'response');
    response.resume();
    return response.statusCode;
  };

  it.each(['h2', 'http/1.1'])('speaks %s as the client asks', async (protocol) => {
    const socket = connectTls({ host: '127.0.0.1', port: served.port, ca, ALPNProtocols: [protocol] });
    await once(socket, 'secureConnect');
    expect(socket.alpnProtocol).toBe(protocol);
    expect(socket.getProtocol()).toMatch(/^TLSv1\.[23]$/);
    socket.destroy();
  });

  it('knows a client by its certificate, and by nothing that it says of others', async () => {
    expect(await get(client)).toBe(200);
    expect(await get({})).toBe(401);
    expect(await get(strange)).toBe(401);
    expect(await get(strange, { 'x-forwarded-client-cert': `Hash=${'a'.repeat(64)};URI=spiffe://bifrost.test/controller` })).toBe(401);
  });

  it.each([
    ['a key that is nobody’s', { 'x-api-key': 'bfk_a_b' }],
    ['a bearer that cannot be read', { authorization: 'Bearer two words' }],
    ['another scheme', { authorization: 'Basic YTpi' }],
    ['an empty one', { authorization: '' }],
  ])('with a certificate and %s, the certificate counts for nothing', async (_, headers) => {
    expect(await get(client, headers)).toBe(401);
  });

  it('knows it over HTTP/2 as well', async () => {
    const transport = createGrpcTransport({ baseUrl: `https://127.0.0.1:${served.port}`, nodeOptions: { ca, ...client } });
    const { NetworkManager } = await import('@bifrost/types/proto');
    expect((await createClient(NetworkManager, transport).getServiceInfo({})).caller).toMatchObject({ subject: 'controller', via: 'mtls' });
  });

  it('takes up a renewed certificate, also for ports that are opened later; what is none changes nothing', async () => {
    const subject = async (port: number): Promise<string | undefined> => {
      const socket = connectTls({ host: '127.0.0.1', port, ca });
      await once(socket, 'secureConnect');
      const name = socket.getPeerX509Certificate()?.subject;
      socket.destroy();
      return name;
    };
    expect(await subject(served.port)).toBe('CN=server');
    expect(() => served.server.setTls({ cert: 'none', key: 'none' })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
    served.server.setTls({ ...renewed, clientCa: ca });
    expect([await subject(served.port), await subject((await served.server.listen(0)).port)]).toEqual(['CN=renewed', 'CN=renewed']);
  });
});

/** What comes back on a connection in clear until it ends. */
async function talk(port: number, parts: readonly (string | Buffer)[]): Promise<string> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  let heard = '';
  socket.on('data', (chunk) => (heard += chunk.toString('latin1'))).on('error', () => undefined);
  const closed = once(socket, 'close');
  for (const part of parts) await new Promise((resolve) => socket.write(part, resolve));
  await closed;
  return heard;
}

describe('a port in clear', () => {
  let served: Served;
  beforeAll(async () => {
    served = await Served.open({ maxBodyBytes: 1_024 });
  });
  afterAll(() => served[Symbol.asyncDispose]());
  const info = (): string => `GET ${INFO} HTTP/1.1\r\nhost: x\r\nx-api-key: ${served.key('admin:*')}\r\nconnection: close\r\n\r\n`;

  it('understands HTTP/1.1 byte by byte', async () => {
    expect(await talk(served.port, [...info()])).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('understands HTTP/2 byte by byte', async () => {
    const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
    const socket = connect(served.port, '127.0.0.1').setNoDelay(true);
    const heard = once(socket, 'data');
    for (const byte of preface) await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
    const [settings] = (await heard) as [Buffer];
    expect(settings[3]).toBe(4); // its own SETTINGS
    socket.destroy();
  });

  it.each(['PRIX', 'P', '\0\0\0\0\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'PUT\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'])(
    'ends what speaks neither: %j',
    async (garbage) => {
      const socket = connect(served.port, '127.0.0.1');
      socket.on('error', () => undefined).resume();
      socket.end(garbage);
      await once(socket, 'close');
      expect((await served.rest('admin:*', { path: INFO })).status).toBe(200);
    },
  );

  it('refuses headers and bodies that are too large, and keeps serving', async () => {
    expect(await talk(served.port, [`GET / HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`])).toMatch(/^HTTP\/1\.1 431 /);
    const body = JSON.stringify({ tags: ['x'.repeat(2_000)] });
    const path = `/api/v1/networks/tailnets/${TAILNET}`;
    expect((await served.rest('admin:*', { method: 'PATCH', path, body })).status).toBe(413);
    expect(await toldBy(() => served.grpc('admin:*').updateTailnet({ tailnetName: TAILNET, tags: ['x'.repeat(2_000)] }))).toMatchObject({
      code: Code.ResourceExhausted,
    });
    expect((await served.rest('admin:*', { path: INFO })).status).toBe(200);
  });

  it('does not crash when a REST client over HTTP/2 leaves in the middle', async () => {
    const { guard } = served.world;
    const session = connectHttp2(`http://127.0.0.1:${served.port}`);
    const headers: OutgoingHttpHeaders = { ':path': '/api/v1/networks/tailnets', 'x-api-key': served.key('admin:*') };
    const { promise, resolve } = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    guard.hook = async () => {
      asked.resolve();
      await promise;
      return undefined;
    };
    const stream = session.request(headers);
    stream.on('error', () => undefined).resume();
    await asked.promise;
    stream.close(constants.NGHTTP2_CANCEL);
    await once(stream, 'close');
    resolve();
    guard.hook = () => undefined;
    session.destroy();
    expect((await served.rest('admin:*', { path: INFO })).status).toBe(200);
  });

  it('gives no place of a stream away for a reader that has left before its answer', async () => {
    await using one = await Served.open({ maxStreamsPerCaller: 1 });
    for (let times = 0; times < 3; times += 1) {
      const ends = new AbortController();
      const stream = one.grpc('admin:*').monitorConnectivity({}, { signal: ends.signal })[Symbol.asyncIterator]().next();
      ends.abort();
      await stream.catch(() => undefined);
    }
    const beat = async () => {
      for await (const event of one.grpc('admin:*').monitorConnectivity({ heartbeatSeconds: 1 })) return event;
      return undefined;
    };
    await vi.waitFor(async () => expect(await one.beating(toldBy(beat))).toHaveProperty('answer'));
  });

  it('a deadline that is weeks away is none; one that has passed ends the call', async () => {
    const call = (timeoutMs: number) => toldBy(() => served.grpc('admin:*').getTailnet({ tailnetName: TAILNET }, { timeoutMs }));
    const long = await toldBy(() => served.grpc('admin:*', { 'grpc-timeout': '9999999H' }).getTailnet({ tailnetName: TAILNET }));
    expect(long).toHaveProperty('answer');
    served.world.guard.hook = async ({ name }) => {
      if (name.startsWith('store.')) await new Promise<void>(() => undefined);
      return undefined;
    };
    expect(await call(50)).toMatchObject({ code: Code.DeadlineExceeded });
    served.world.guard.hook = () => undefined;
  });
});

it('a call that takes too long is DEADLINE_EXCEEDED', async () => {
  await using served = await Served.open({ callTimeoutMs: 20 });
  served.world.guard.hook = async ({ name }) => {
    if (name === 'store.tailnets.list') await once(AbortSignal.timeout(60), 'abort');
    return undefined;
  };
  expect(await toldBy(() => served.grpc('admin:*').listTailnets({}))).toMatchObject({ code: Code.DeadlineExceeded, reason: 'DEADLINE_EXCEEDED' });
  expect((await served.rest('admin:*', { path: '/api/v1/networks/tailnets' })).status).toBe(504);
});

it('a caller that leaves aborts its call, through either door', async () => {
  const asked: { readonly signal: AbortSignal }[] = [];
  await using served = await Served.open({
    authenticator: {
      authenticate: async (_, { signal }) => {
        asked.push({ signal });
        await once(signal, 'abort');
        throw signal.reason;
      },
    },
  });
  const ends = new AbortController();
  const grpc = toldBy(() => served.grpc('').getServiceInfo({}, { signal: ends.signal }));
  const rest = connect(served.port, '127.0.0.1');
  rest.write(`GET ${INFO} HTTP/1.1\r\nhost: x\r\n\r\n`);
  await vi.waitFor(() => expect(asked).toHaveLength(2));
  ends.abort();
  rest.destroy();
  await vi.waitFor(() => expect(asked.map(({ signal }) => signal.aborted)).toEqual([true, true]));
  await grpc;
  expect(served.world.audit.records.filter(({ action }) => action === 'authenticate')).toEqual([]);
});

describe('a slow client', () => {
  const limits = { headersTimeout: 100, requestTimeout: 200, connectionsCheckingInterval: 20, keepAliveTimeout: 100 };
  using authority = new Authority('slow');
  const issued = authority.issue('server', 'IP:127.0.0.1');
  const body = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n12';
  const kept = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';
  it.each([
    ['that says nothing, in clear', undefined, ''],
    ['that says a letter', undefined, 'P'],
    ['that sends half of its headers, in clear', undefined, 'GET / HT'],
    ['that sends half of its body, in clear', undefined, body],
    ['that keeps its connection, in clear', undefined, kept],
    ['that sends half of its headers, by TLS', issued, 'GET / HT'],
    ['that sends half of its body, by TLS', issued, body],
    ['that keeps its connection, by TLS', issued, kept],
  ])('%s is ended', async (_, tls, said) => {
    const handle = (request: HttpRequest, response: HttpResponse): void => {
      request.resume().once('end', () => response.end());
    };
    const entrance = new Entrance({ handle, tls, maxConnections: 10, http1: limits });
    const { port } = await entrance.listen(0, '127.0.0.1');
    const socket: Socket = tls === undefined ? connect(port, '127.0.0.1') : connectTls({ host: '127.0.0.1', port, ca: authority.cert });
    socket.on('error', () => undefined).resume();
    socket.write(said);
    await once(socket, 'close');
    await entrance.close();
  });
});

it('takes no more connections than it may', async () => {
  await using served = await Served.open({ maxConnections: 2 });
  const open = async (): Promise<Socket> => {
    const socket = connect(served.port, '127.0.0.1').on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  const held = [await open(), await open()];
  const third = await open();
  await once(third.resume(), 'close');
  expect(held.map(({ destroyed }) => destroyed)).toEqual([false, false]);
  for (const socket of held) socket.destroy();
});
