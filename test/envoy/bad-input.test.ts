import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BAD_INPUT } from './support/bad-input.ts';
import { DIFFERENCES } from './support/differences.ts';
import type { Headers } from './support/door.ts';
import { verdictOf } from './support/rest-door.ts';
import { REST_DOORS, Service } from './support/service.ts';

let service: Service;
let admin: Headers;
const unhandled: unknown[] = [];
const onUnhandled = (error: unknown): void => void unhandled.push(error);

beforeAll(async () => {
  process.on('unhandledRejection', onUnhandled);
  service = await Service.open();
  admin = service.issuer.bearer(['admin:*']);
  await service.manager.createTailnet({ customerId: 'customer-a', tailnetName: 'acme', config: { allowedNetworks: ['10.1.0.0/16'] } });
});
afterAll(async () => {
  process.off('unhandledRejection', onUnhandled);
  await service[Symbol.asyncDispose]();
});

describe('both REST doors say the same', () => {
  it.each(BAD_INPUT)('of a request with %s', async (name, { headers = {}, ...request }) => {
    const [own, byEnvoy] = await Promise.all(
      REST_DOORS.map(async (door) => verdictOf(await service.doors[door].send({ ...request, headers: { ...admin, ...headers } }))),
    );
    const of = ({ http, code, reason, body }: NonNullable<typeof own>) => [http, code, reason, code === 0 ? body : {}];
    if (own === undefined || byEnvoy === undefined) throw new RangeError('two doors');
    expect([own.http, byEnvoy.http].filter((http) => (http ?? 0) >= 500)).toEqual([]);
    if (name in DIFFERENCES) expect(of(byEnvoy)).not.toEqual(of(own));
    else expect(of(byEnvoy)).toEqual(of(own));
    expect(JSON.stringify([own.body, byEnvoy.body])).not.toContain('SyntaxError');
  });

  it('nothing was left unhandled, and the service answers', async () => {
    expect(unhandled).toEqual([]);
    for (const door of Object.values(service.doors))
      expect((await door.call('GetTailnet', { tailnet_name: 'acme' }, { headers: admin })).code).toBe(0);
  });
});

/** What is answered to raw bytes, until the other side closes. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' });
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
    socket.end(); // Envoy waits for that, a second long
  });
  socket.on('error', () => {});
  socket.write(bytes, 'latin1');
  await once(socket, 'close');
  return text;
}

describe.each(REST_DOORS)('raw requests through %s', (name) => {
  const port = (): number => service.doors[name].port;
  const head = (lines: readonly string[], body = ''): string =>
    ['GET /api/v1/networks/info HTTP/1.1', 'host: service', 'connection: close', `authorization: ${admin['authorization']}`, ...lines, '', body].join(
      '\r\n',
    );

  it('a right one is answered', async () => expect(await raw(port(), head([]))).toMatch(/^HTTP\/1\.1 200 /));

  it.each<[string, readonly string[], string?]>([
    ['a NUL in a header', ['x-a: a\0b']],
    ['a space before the colon', ['x-a : b']],
    ['a header without a name', [': b']],
    ['two lengths', ['content-length: 1', 'content-length: 2'], 'xx'],
    ['a length and chunks', ['content-length: 5', 'transfer-encoding: chunked'], '0\r\n\r\n'],
    ['a length that is none', ['content-length: -1']],
    ['an unknown transfer encoding', ['transfer-encoding: gzip'], ''],
    ['more headers than are taken', [`x-long: ${'x'.repeat(40_000)}`]],
  ])('%s is refused', async (_, lines, body) => expect(await raw(port(), head(lines, body))).toMatch(/^HTTP\/1\.1 (4(00|31)|501) /));

  it('a line end in a header makes no second header', async () => {
    const answer = await raw(port(), head([`x-a: b\rx-api-key: ${service.apiKey.key.reveal()}`]).replace(/authorization: [^\r]*\r\n/, ''));
    expect(answer).toMatch(/^HTTP\/1\.1 40[01] /);
  });

  it('what is no HTTP at all is ended', async () =>
    expect(await raw(port(), '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n')).toMatch(/^(HTTP\/1\.1 400 |$)/));

  it('gRPC over HTTP/1 gives nothing away', async () => {
    const path = '/bifrost.network.v1.NetworkManager/GetServiceInfo';
    const { status, text } = await service.doors[name].send({
      method: 'POST',
      path,
      headers: { 'content-type': 'application/grpc' },
      body: Buffer.alloc(5),
    });
    expect(status).toBeLessThan(506);
    expect(text).not.toContain('customer');
  });
});
