import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { BifrostError, type ErrorCode, REPORT_LIMITS, type Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import type { NetworkManager } from '../src/manager/network-manager.ts';
import { createReportHandler, type ReportHandlerOptions } from '../src/server/index.ts';
import { openResources, untilNoMoreThan } from './support/open-resources.ts';
import { BOOK, openWorld } from './support/world.ts';

type Ingest = Pick<NetworkManager, 'ingestReport'>;
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Record<string, unknown>;
}

/** A real server on loopback, with the handler. */
async function open(manager: Ingest, options?: ReportHandlerOptions) {
  const server: Server = createServer(createReportHandler(manager, options));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const post = ({
    path = '/v1/reports',
    method = 'POST',
    body = '',
    headers = {},
  }: {
    path?: string;
    method?: string;
    body?: string;
    headers?: Record<string, string>;
  }) =>
    new Promise<Answer>((resolve, reject) => {
      const sent = request({ port, host: '127.0.0.1', path, method, headers, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }));
      });
      sent.on('error', reject).end(body);
    });
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return { server, port, post, [Symbol.asyncDispose]: close };
}

/** A manager that only takes note. */
class Taker implements Ingest {
  readonly taken: { token: string; document: unknown; signal: AbortSignal | undefined }[] = [];
  refuse: unknown;
  async ingestReport({ token, document, signal }: { readonly token: Secret; readonly document: unknown; readonly signal?: AbortSignal }) {
    this.taken.push({ token: token.reveal(), document, signal });
    if (this.refuse !== undefined) throw this.refuse;
    return { v: 1, nextHeartbeatMs: 10_000 } as const;
  }
}
const bearer = { authorization: 'Bearer token-1' };

describe('the report door', () => {
  it('takes a report with a bearer token, whatever the case of the word, and answers in wire names', async () => {
    const taker = new Taker();
    await using door = await open(taker);
    for (const word of ['Bearer', 'bearer']) {
      const answer = await door.post({ body: '{"v":1}', headers: { authorization: `${word} token-1` } });
      expect(answer).toMatchObject({ status: 200, body: { v: 1, next_heartbeat_ms: 10_000 }, headers: { 'content-type': 'application/json' } });
    }
    expect(taker.taken).toMatchObject([{ token: 'token-1', document: { v: 1 } }, { token: 'token-1' }]);
  });

  it.each<[string, Parameters<Awaited<ReturnType<typeof open>>['post']>[0], number, ErrorCode, string]>([
    ['another path', { path: '/v1/report', headers: bearer }, 404, 'PATH_NOT_FOUND', 'path'],
    ['another method', { method: 'PUT', headers: bearer }, 400, 'REPORT_INVALID', 'method'],
    ['no token', {}, 401, 'REPORT_UNAUTHENTICATED', 'authorization'],
    ['another scheme', { headers: { authorization: 'Basic dXNlcjpwYXNz' } }, 401, 'REPORT_UNAUTHENTICATED', 'authorization'],
    ['an empty token', { headers: { authorization: 'Bearer ' } }, 401, 'REPORT_UNAUTHENTICATED', 'authorization'],
    ['no JSON', { body: '{"v":', headers: bearer }, 400, 'REPORT_INVALID', ''],
    ['nothing', { body: '', headers: bearer }, 400, 'REPORT_INVALID', ''],
  ])('refuses %s', async (_, sent, status, code, path) => {
    const taker = new Taker();
    await using door = await open(taker);
    const answer = await door.post({ body: '{}', ...sent });
    expect(answer).toMatchObject({ status, body: { code, issues: [{ path }], runbook: `docs/runbooks/${code}.md` } });
    expect(taker.taken).toEqual([]);
  });

  it.each([
    [new BifrostError({ code: 'REPORT_FORBIDDEN', message: 'no' }), 403, 'REPORT_FORBIDDEN'],
    [new BifrostError({ code: 'REPORT_INVALID', message: 'no', issues: [{ path: 'node.ips.0', message: 'x' }] }), 400, 'REPORT_INVALID'],
    [new BifrostError({ code: 'MANAGER_STOPPED', message: 'no' }), 503, 'MANAGER_STOPPED'],
    [new TypeError('a bug with tskey-auth-secret in it'), 500, 'INTERNAL'],
  ])('gives the manager’s refusal its status, and nothing of a bug: %s', async (refuse, status, code) => {
    await using door = await open(Object.assign(new Taker(), { refuse }));
    const answer = await door.post({ body: '{}', headers: bearer });
    expect([answer.status, answer.body['code']]).toEqual([status, code]);
    expect(JSON.stringify(answer.body)).not.toContain('tskey');
  });

  it('says when to come again, in whole seconds', async () => {
    const refuse = new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: 'busy', retryAfterMs: 1_200 });
    await using door = await open(Object.assign(new Taker(), { refuse }));
    expect(await door.post({ body: '{}', headers: bearer })).toMatchObject({ status: 503, headers: { 'retry-after': '2' } });
  });

  it('a report that is too large gets its answer, 413, and then the end of the connection; one that just fits is taken', async () => {
    const taker = new Taker();
    await using door = await open(taker);
    const padded = (bytes: number): string => `{"x":"${'x'.repeat(bytes - 8)}"}`;
    for (const bytes of [REPORT_LIMITS.maxBytes + 1, 1_000_000]) {
      const answer = await door.post({ body: padded(bytes), headers: bearer });
      expect([answer.status, answer.body['code']]).toEqual([413, 'REPORT_TOO_LARGE']);
      if (bytes > 500_000) expect(answer.headers['connection']).toBe('close');
    }
    expect(taker.taken).toEqual([]);
    expect(await door.post({ body: padded(REPORT_LIMITS.maxBytes), headers: bearer })).toMatchObject({ status: 200 });
  });

  it('bug: a body that comes too slowly is given up, with an answer', async () => {
    const taker = new Taker();
    await using door = await open(taker, { timeLimitMs: 80 });
    const socket = connect(door.port, '127.0.0.1');
    socket.write('POST /v1/reports HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-1\r\ncontent-length: 100\r\n\r\n{"v":');
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    await once(socket, 'close');
    expect(text).toMatch(/^HTTP\/1.1 503 /);
    expect(text.toLowerCase()).toMatch(/connection: close[\s\S]*cluster_unavailable/);
    expect(taker.taken).toEqual([]);
  });

  it('a manager that takes too long is told by its signal, and the agent gets 503', async () => {
    const manager: Ingest = {
      ingestReport: ({ signal }) => new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
    };
    await using door = await open(manager, { timeLimitMs: 50 });
    expect(await door.post({ body: '{}', headers: bearer })).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
  });

  it('a caller that leaves half-way harms nobody', async () => {
    const taker = new Taker();
    await using door = await open(taker);
    const leaver = connect(door.port, '127.0.0.1');
    leaver.write('POST /v1/reports HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-1\r\ncontent-length: 100\r\n\r\n{"v":');
    await once(door.server, 'request');
    leaver.destroy();
    await once(leaver, 'close');
    expect(await door.post({ body: '{}', headers: bearer })).toMatchObject({ status: 200 });
    expect(taker.taken).toHaveLength(1);
  });

  it('serves many reports on one connection and leaves no timer behind', async () => {
    const before = await openResources();
    const taker = new Taker();
    {
      await using door = await open(taker);
      await Promise.all(Array.from({ length: 50 }, () => door.post({ body: '{}', headers: bearer })));
    }
    expect(taker.taken).toHaveLength(50);
    // The test's own client keeps a timer of its own for a moment; fifty of ours would stay for ten seconds.
    await untilNoMoreThan(before);
  });
});

describe('the report door before a real manager', () => {
  it('takes a pod’s report; refuses a foreign, an ended and a malformed one', async () => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await using door = await open(world.manager);
    const { one } = world.agents;
    const send = (document: unknown, token: Secret) =>
      door.post({ body: JSON.stringify(document), headers: { authorization: `Bearer ${token.reveal()}` } });
    const own = one.pod.serviceAccountToken;
    expect(await send(one.document('heartbeat'), own)).toMatchObject({ status: 200, body: { v: 1, next_heartbeat_ms: 10_000 } });
    expect(await send({ ...one.document('heartbeat'), pod_uid: 'another' }, own)).toMatchObject({
      status: 403,
      body: { code: 'REPORT_FORBIDDEN', issues: [{ path: 'pod_uid' }] },
    });
    expect(await send({ ...one.document('heartbeat'), node: { reachable: 'yes' } }, own)).toMatchObject({
      status: 400,
      body: { issues: expect.arrayContaining([expect.objectContaining({ path: 'node.reachable' })]) },
    });
    const deep = { body: `${'['.repeat(32_000)}${']'.repeat(32_000)}`, headers: { authorization: `Bearer ${own.reveal()}` } };
    expect(await door.post(deep)).toMatchObject({ status: 400, body: { code: 'REPORT_INVALID' } });
    await world.cluster.deletePod(one.pod.uid);
    expect(await send(one.document('heartbeat'), own)).toMatchObject({ status: 401 });
    await world.manager.stop();
    expect(await send(one.document('heartbeat'), own)).toMatchObject({ status: 503, body: { code: 'MANAGER_STOPPED' } });
  });
});
