import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Authenticator, Principal } from '@bifrost/sdk/server';
import { Health, NetworkManager, HealthCheckResponse_ServingStatus as Serving } from '@bifrost/types/proto';
import { type DescMethodUnary, fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../lab/support/eventually.ts';
import type { Headers } from './support/door.ts';
import { framed, RawGrpc } from './support/raw-grpc.ts';
import { GRPC_DOORS, Service } from './support/service.ts';

let service: Service;
let admin: Headers;
beforeAll(async () => {
  service = await Service.open();
  admin = service.issuer.bearer(['admin:*']);
});
afterAll(() => service[Symbol.asyncDispose]());

const INFO = `/${NetworkManager.typeName}/GetServiceInfo`;
const buf = fileURLToPath(new URL('../../packages/types/node_modules/.bin/buf', import.meta.url));

/** A client that knows nothing of the service but its port. */
async function curl(
  port: number,
  method: string,
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly out: string; readonly error: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-buf-'));
  const flags = ['--protocol', 'grpc', '--http2-prior-knowledge', '--reflect', '--reflect-protocol', 'grpc-v1'];
  const child = spawn(buf, ['curl', ...flags, ...args, `http://127.0.0.1:${port}${method}`], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: folder, BUF_CACHE_DIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, error] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (error += text));
  const [code] = (await once(child, 'close')) as [number];
  rmSync(folder, { recursive: true, force: true });
  return { code, out, error };
}

describe.each(GRPC_DOORS)('%s', (name) => {
  const door = () => service.doors[name];

  it('tells load balancers that it serves, and what it does not know', async () => {
    const health = createClient(Health, door().transport);
    for (const each of ['', NetworkManager.typeName]) expect((await health.check({ service: each })).status).toBe(Serving.SERVING);
    await expect(health.check({ service: 'nothing' })).rejects.toMatchObject({ code: Code.NotFound });
    const watching = new AbortController();
    for await (const { status } of health.watch({ service: '' }, { signal: watching.signal })) {
      expect(status).toBe(Serving.SERVING);
      break;
    }
    watching.abort();
  });

  it('says its own form to a client that has no proto files', async () => {
    const methods = await curl(door().port, '', '--list-methods');
    expect(methods).toMatchObject({ code: 0, out: expect.stringContaining(`${NetworkManager.typeName}/CreateTailnet`) });
    const info = await curl(door().port, INFO, '--emit-defaults', '-H', `authorization: ${admin['authorization']}`);
    expect(info.error).toBe('');
    expect(JSON.parse(info.out)).toMatchObject({ readOnly: false, caller: { via: 'jwt' } });
    const refused = await curl(
      door().port,
      `/${NetworkManager.typeName}/GetTailnet`,
      '-d',
      '{"tailnet_name":"nobodys"}',
      '-H',
      `authorization: ${admin['authorization']}`,
    );
    expect(refused.code).not.toBe(0);
    expect(JSON.parse(refused.error)).toMatchObject({
      code: 'not_found',
      details: expect.arrayContaining([expect.objectContaining({ type: 'google.rpc.ErrorInfo' })]),
    });
  });

  it.each<[string, string, number]>([
    ['an unknown method', `/${NetworkManager.typeName}/Nothing`, 12],
    ['an unknown service', '/bifrost.network.v9.NetworkManager/GetTailnet', 12],
    ['no method', `/${NetworkManager.typeName}/`, 12],
    ['another case', INFO.toLowerCase(), 12],
  ])('%s is not implemented', async (_, path, status) => {
    using raw = new RawGrpc(door().port);
    expect(await raw.send(path, framed(Buffer.alloc(0)), admin)).toMatchObject({ http: 200, status });
  });

  it.each<[string, Buffer, Headers, number]>([
    ['a message that is too large', framed(Buffer.alloc(300_000)), {}, 8],
    ['a length that is not true', framed(Buffer.alloc(3), { length: 4_000_000_000 }), {}, 8],
    ['a gzip bomb', framed(gzipSync(Buffer.alloc(20_000_000)), { flags: 1 }), { 'grpc-encoding': 'gzip' }, 12],
    ['a compression that is none', framed(Buffer.alloc(1), { flags: 1 }), { 'grpc-encoding': 'nothing' }, 12],
    ['compressed without saying how', framed(Buffer.alloc(1), { flags: 1 }), {}, 13],
    ['no message', Buffer.alloc(0), {}, 12],
    ['two messages', Buffer.concat([framed(Buffer.alloc(0)), framed(Buffer.alloc(0))]), {}, 12],
    ['half a message', framed(Buffer.alloc(3), { length: 10 }), {}, 3],
  ])('%s is refused', async (_, body, headers, status) => {
    using raw = new RawGrpc(door().port);
    const answer = await raw.send(INFO, body, { ...admin, ...headers });
    expect(answer.status).toBe(status);
    expect((await door().call('GetServiceInfo', {}, { headers: admin })).code).toBe(0);
  });

  it('a right message by hand is answered', async () => {
    using raw = new RawGrpc(door().port);
    const { status, body } = await raw.send(INFO, framed(Buffer.alloc(0)), admin);
    expect(status).toBe(0);
    expect(fromBinary(NetworkManager.method.getServiceInfo.output, body.subarray(5)).caller?.via).toBe('jwt');
  });
});

/** Knows its caller only after a while that never ends. */
class Slow implements Authenticator {
  readonly ended: unknown[] = [];
  asked = 0;
  authenticate(_: unknown, { signal }: { readonly signal: AbortSignal }): Promise<Principal | undefined> {
    this.asked += 1;
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        this.ended.push(signal.reason);
        reject(signal.reason);
      });
    });
  }
}

describe.each(GRPC_DOORS)('a call that takes long through %s', (name) => {
  const method = NetworkManager.method.getServiceInfo as DescMethodUnary;

  it('ends with its deadline, here and there', async () => {
    const slow = new Slow();
    await using on = await Service.open({ issuer: service.issuer, server: { authenticator: slow }, only: name });
    const verdict = await on.doors[name].send(method, { $typeName: method.input.typeName }, { headers: admin, timeoutMs: 300 });
    expect(verdict.code).toBe(4);
    await eventually('the call has ended', () => slow.ended.length === 1, { intervalMs: 5 });
  });

  it('ends when its caller leaves', async () => {
    const slow = new Slow();
    await using on = await Service.open({ issuer: service.issuer, server: { authenticator: slow }, only: name });
    const leaving = new AbortController();
    const call = on.doors[name].send(method, { $typeName: method.input.typeName }, { headers: admin, signal: leaving.signal });
    await eventually('the call is there', () => slow.asked === 1, { intervalMs: 5 });
    leaving.abort();
    expect((await call).code).toBe(1);
    await eventually('the call has ended', () => slow.ended.length === 1, { intervalMs: 5 });
  });
});

describe('other protocols, without Envoy', () => {
  it.each<[string, (baseUrl: string) => ReturnType<typeof createConnectTransport>]>([
    ['gRPC-Web by HTTP/1', (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: '1.1' })],
    ['Connect by HTTP/1', (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '1.1' })],
    ['Connect in JSON', (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: false })],
  ])('%s', async (_, transport) => {
    const client = createClient(NetworkManager, transport(`http://127.0.0.1:${service.port}`));
    expect((await client.getServiceInfo({}, { headers: admin })).caller?.via).toBe('jwt');
    const refused = await client.getTailnet({ tailnetName: 'nobodys' }, { headers: admin }).catch((error: unknown) => error);
    expect(ConnectError.from(refused).code).toBe(Code.NotFound);
  });
});
