import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { NetworkManager } from '@bifrost/sdk';
import { describe, expect, it } from 'vitest';
import { type Authenticate, createApiHandler } from '../src/api.ts';

const KNOWN = 'token-1';
const MAX_BODY_BYTES = 262_144;
const authorization = `Bearer ${KNOWN}`;

interface Sent {
  readonly path?: string;
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}
interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** The service's door on loopback, before a manager that only takes note of what it is asked to create. */
async function open() {
  const created: unknown[] = [];
  const manager = {
    listTailnets: async () => [],
    createTailnet: async (request: unknown) => {
      created.push(request);
      return { status: 'creating' };
    },
  } as unknown as NetworkManager;
  const authenticate: Authenticate = async (token) => (token.reveal() === KNOWN ? 'somebody' : undefined);
  const server = createServer(createApiHandler(manager, authenticate));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const send = ({ path = '/tailnets', method = 'POST', body = '', headers = { authorization } }: Sent) =>
    new Promise<Answer>((resolve, reject) => {
      const sent = request({ port, host: '127.0.0.1', path: `/api/v1/networks${path}`, method, headers, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }));
      });
      sent.on('error', reject).end(body);
    });
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return { created, send, [Symbol.asyncDispose]: close };
}

describe('the network manager’s REST door', () => {
  it.each<[string, Sent]>([
    ['no token', { headers: {} }],
    ['another scheme', { headers: { authorization: 'Basic dXNlcjpwYXNz' } }],
    ['a token that nobody vouches for', { headers: { authorization: 'Bearer token-2' } }],
    ['an unknown path without a token', { path: '/nothing', headers: {} }],
  ])('answers %s with UNAUTHENTICATED and its runbook, and does nothing', async (_, sent) => {
    await using door = await open();
    const refused = { code: 'UNAUTHENTICATED', issues: [{ path: 'authorization' }], runbook: 'docs/runbooks/UNAUTHENTICATED.md' };
    expect(await door.send({ body: '{}', ...sent })).toMatchObject({ status: 401, body: refused });
    expect(door.created).toEqual([]);
    expect(await door.send({ method: 'GET' })).toEqual({ status: 200, body: { tailnets: [] } });
  });

  it('answers a body of a byte too many with BODY_TOO_LARGE, and takes one that just fits', async () => {
    await using door = await open();
    const padded = (bytes: number): string => `{"x":"${'x'.repeat(bytes - 8)}"}`;
    for (const bytes of [MAX_BODY_BYTES + 1, 4 * MAX_BODY_BYTES]) {
      const refused = { code: 'BODY_TOO_LARGE', issues: [{ path: '' }], runbook: 'docs/runbooks/BODY_TOO_LARGE.md' };
      expect(await door.send({ body: padded(bytes) })).toMatchObject({ status: 413, body: refused });
    }
    expect(door.created).toEqual([]);
    expect(await door.send({ body: padded(MAX_BODY_BYTES) })).toMatchObject({ status: 201 });
    expect(door.created).toHaveLength(1);
  });

  it.each<[string, Sent, number, string]>([
    ['no such path', { path: '/nothing' }, 404, 'PATH_NOT_FOUND'],
    ['a malformed escape', { path: '/tailnets/%', method: 'GET' }, 400, 'INVALID_ARGUMENT'],
    ['a body that is not JSON', { body: '{"x":' }, 400, 'INVALID_ARGUMENT'],
    ['a bug', { path: '/tailnets/x', method: 'GET' }, 500, 'INTERNAL'],
  ])('answers %s with its code and its runbook', async (_, sent, status, code) => {
    await using door = await open();
    expect(await door.send(sent)).toMatchObject({ status, body: { code, runbook: `docs/runbooks/${code}.md` } });
  });
});
