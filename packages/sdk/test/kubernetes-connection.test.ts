import { getEventListeners } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { KubernetesOptions } from '../src/kubernetes.ts';
import { type KubernetesConnection, kubernetes } from '../src/kubernetes.ts';
import { type FakeServer, type Handler, json, startFakeServer, status, text } from './kubernetes-fake-server.ts';

const good = json({ kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: '1' }, items: [] });
const call = (): AbortSignal => AbortSignal.timeout(10_000);

async function bench(
  run: (bench: { server: FakeServer; connection: KubernetesConnection }) => Promise<void>,
  options: KubernetesOptions = {},
): Promise<void> {
  await using server = await startFakeServer();
  await using connection = kubernetes({ kubeconfig: server.kubeconfig(), ...options });
  await run({ server, connection });
}
const get = (connection: KubernetesConnection, signal = call()): Promise<unknown> =>
  connection.send({ operation: 'pods.list', kind: 'PodList', method: 'GET', path: '/api/v1/pods', signal });

describe('Kubernetes connection', () => {
  it('sends method, query, body and headers, and gives refusals as answers', () =>
    bench(async ({ server, connection }) => {
      server.next(good, status(409, 'Conflict', { causes: [{ reason: 'X', message: 'y', field: '.z' }] }, 'no'));
      const request = {
        operation: 'workloads.attach',
        kind: 'PodList',
        method: 'PATCH',
        path: '/api/v1/x',
        query: { a: 'b c', d: true, e: undefined, f: 2 },
        body: { g: 1 },
      } as const;
      expect(await connection.send({ ...request, contentType: 'application/apply-patch+yaml', signal: call() })).toMatchObject({ ok: true });
      expect(server.received[0]).toMatchObject({ method: 'PATCH', path: '/api/v1/x', body: { g: 1 } });
      expect(String(server.received[0]?.query)).toBe('a=b+c&d=true&f=2');
      expect(server.received[0]?.headers).toMatchObject({ authorization: 'Bearer canary-token', 'content-type': 'application/apply-patch+yaml' });
      expect(server.received[0]?.headers['user-agent']).toBe('bifrost (workloads.attach)');
      const refused = await connection.send({ ...request, signal: call() });
      expect(refused).toMatchObject({ ok: false, problem: { status: 409, reason: 'Conflict', causes: [{ field: '.z' }] } });
    }));

  it('takes a status for the answer to a deletion only, and only when it says success', () =>
    bench(async ({ server, connection }) => {
      const said = (word: string): Handler => json({ kind: 'Status', apiVersion: 'v1', status: word });
      server.next(said('Success'), said('Failure'));
      const remove = { operation: 'secrets.delete', kind: 'Secret', method: 'DELETE', path: '/api/v1/x' } as const;
      expect(await connection.send({ ...remove, signal: call() })).toMatchObject({ ok: true });
      await expect(connection.send({ ...remove, signal: call() })).rejects.toMatchObject({ code: 'CLUSTER_UNAVAILABLE' });
    }));

  it('bug: waits for a minute at most, however long the server asks for', () =>
    bench(async ({ server, connection }) => {
      server.next(json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 429 }, 429, { 'retry-after': '86400' }));
      expect(await connection.send({ operation: 'pods.list', kind: 'PodList', method: 'GET', path: '/x', signal: call() })).toMatchObject({
        ok: false,
        problem: { retryAfterMs: 60_000 },
      });
    }));

  it('uses connections again for requests one after the other, and to the limit for many at once', () =>
    bench(
      async ({ server, connection }) => {
        server.otherwise(good);
        for (let index = 0; index < 20; index += 1) await get(connection);
        expect(server.connections).toBeLessThanOrEqual(2); // the next request may begin a moment before the last answer's connection is free
        await Promise.all(Array.from({ length: 60 }, () => get(connection)));
        expect(server.connections).toBeLessThanOrEqual(2 + 12);
      },
      { maxConnections: 2 },
    ));

  const truncated: Handler = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' }).write('{"kind":');
    response.destroy();
  };
  const wrong: readonly (readonly [string, Handler])[] = [
    ['a login page', text('<html>canary-body</html>', 'text/html')],
    ['a login page as 404', text('<html>not here</html>', 'text/html', 404)],
    ['a login page as 403', text('<html>who are you</html>', 'text/html', 403)],
    ['half a document', truncated],
    ['JSON that breaks off', text('{"kind":"Pod","canary-body', 'application/json')],
    ['JSON of no kind', json({ hello: 'canary-body' })],
    ['a list', json([1])],
    ['bug: an error dressed as a success', json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 500, reason: 'InternalError' })],
    ['bug: a success that is no object', json({ kind: 'Status', apiVersion: 'v1', status: 'Success' })],
    ['null', json(null)],
    ['nothing', text('', 'application/json')],
    ['plain text', text('ok', 'text/plain')],
    ['a redirect', text('', 'text/html', 302)],
    ['too much', json({ kind: 'Pod', filler: 'x'.repeat(200_000) })],
  ];
  it.each(wrong)('%s is CLUSTER_UNAVAILABLE with a cause and without what it said', (_, handler) =>
    bench(
      async ({ server, connection }) => {
        server.next(handler);
        const error = await get(connection).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: 'CLUSTER_UNAVAILABLE', retry: 'backoff', cause: expect.any(Error) });
        expect(inspect(error, { depth: 9 })).not.toContain('canary');
        server.next(good);
        expect(await get(connection)).toMatchObject({ ok: true });
      },
      { maxBodyBytes: 100_000 },
    ),
  );

  it('reads the plain pages that API servers do send', () =>
    bench(async ({ server, connection }) => {
      server.next(text('404 page not found\n', 'text/plain; charset=utf-8', 404), text('Too many requests', 'text/plain', 429));
      expect(await get(connection)).toMatchObject({ ok: false, problem: { status: 404, reason: undefined } });
      expect(await get(connection)).toMatchObject({ ok: false, problem: { status: 429 } });
    }));

  it('no answer in time, or no server, is CLUSTER_UNAVAILABLE', async () => {
    await bench(
      async ({ server, connection }) => {
        server.next(() => undefined);
        await expect(get(connection)).rejects.toMatchObject({ code: 'CLUSTER_UNAVAILABLE', cause: { name: 'TimeoutError' } });
      },
      { timeoutMs: 50 },
    );
    const server = await startFakeServer();
    const kubeconfig = server.kubeconfig();
    await server[Symbol.asyncDispose]();
    await using connection = kubernetes({ kubeconfig });
    await expect(get(connection)).rejects.toMatchObject({ code: 'CLUSTER_UNAVAILABLE', cause: { code: 'ECONNREFUSED' } });
  });

  it('an aborted call rejects with the reason itself, before and half-way, and leaves no listener', () =>
    bench(async ({ server, connection }) => {
      const reason = new Error('caller left');
      await expect(get(connection, AbortSignal.abort(reason))).rejects.toBe(reason);
      expect(server.received).toHaveLength(0);
      const controller = new AbortController();
      server.next((_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).write('{');
        controller.abort(reason);
      });
      await expect(get(connection, controller.signal)).rejects.toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }));
});

describe('Kubernetes credentials', () => {
  it('a 401 reads the credentials anew and is tried once more only if they changed', async () => {
    await using server = await startFakeServer();
    const folder = await mkdtemp(join(tmpdir(), 'bifrost-token-'));
    await using _removed = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
    const tokenFile = join(folder, 'token');
    await writeFile(tokenFile, 'old\n');
    const user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } };
    await using connection = kubernetes({ kubeconfig: server.kubeconfig(user) });
    server.otherwise((received, response) =>
      (received.headers.authorization === 'Bearer new' ? good : status(401, 'Unauthorized'))(received, response),
    );
    expect(await get(connection)).toMatchObject({ ok: false, problem: { status: 401 } });
    expect(server.received).toHaveLength(1);
    await writeFile(tokenFile, 'new\n');
    expect(await get(connection)).toMatchObject({ ok: true });
    expect(server.received.map(({ headers }) => headers.authorization)).toEqual(['Bearer old', 'Bearer old', 'Bearer new']);
    expect(await get(connection)).toMatchObject({ ok: true });
    expect(server.received).toHaveLength(4);
  });

  it('a kubeconfig file works as its text does, and another context of it', async () => {
    await using server = await startFakeServer();
    server.otherwise(good);
    const folder = await mkdtemp(join(tmpdir(), 'bifrost-kubeconfig-'));
    await using _removed = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
    const path = join(folder, 'config');
    const config = JSON.parse(server.kubeconfig()) as { users: unknown[]; contexts: unknown[] };
    config.users.push({ name: 'other', user: { username: 'name', password: 'word' } });
    config.contexts.push({ name: 'second', context: { cluster: 'c', user: 'other' } });
    await writeFile(path, JSON.stringify(config));
    await using first = kubernetes({ kubeconfig: path });
    await using second = kubernetes({ kubeconfig: path, context: 'second' });
    await get(first);
    await get(second);
    const basic = `Basic ${Buffer.from('name:word').toString('base64')}`;
    expect(server.received.map(({ headers }) => headers.authorization)).toEqual(['Bearer canary-token', basic]);
  });

  it('a kubeconfig that cannot be used is INVALID_OPTIONS, and none of it is told', async () => {
    const server = 'http://127.0.0.1:1';
    const plain = JSON.stringify({
      clusters: [{ name: 'c', cluster: { server } }],
      users: [{ name: 'u', user: { token: 'canary' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    });
    for (const options of [
      { kubeconfig: '/does/not/exist' },
      { kubeconfig: '{"canary: [' },
      { kubeconfig: plain },
      { kubeconfig: plain, context: 'absent' },
    ]) {
      await using connection = kubernetes(options);
      const error = await get(connection).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(inspect(error, { depth: 9 })).not.toContain('canary');
    }
    expect(() => kubernetes({ timeoutMs: 0 })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
  });
});

describe('Kubernetes connection, its end', () => {
  it('closes with its last user, opens again for a new one, and is closed for good when disposed', async () => {
    await using server = await startFakeServer();
    server.otherwise(good);
    const connection = kubernetes({ kubeconfig: server.kubeconfig() });
    const [first, second] = [connection.retain(), connection.retain()];
    await get(connection);
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    const open = server.connections;
    await get(connection);
    expect(server.connections).toBeLessThanOrEqual(open + 1);
    await second[Symbol.asyncDispose]();
    const closed = server.connections;
    await get(connection);
    expect(server.connections).toBe(closed + 1);
    await connection[Symbol.asyncDispose]();
    await connection[Symbol.asyncDispose]();
    await expect(get(connection)).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
  });

  it('the entry imports the Kubernetes library nowhere but inside a function', async () => {
    const seen = new Set<string>();
    const visit = async (file: URL): Promise<void> => {
      if (seen.has(file.href)) return;
      seen.add(file.href);
      const source = await readFile(file, 'utf8');
      for (const [statement, specifier = ''] of source.matchAll(/^(?:import|export)\b(?! type)[^;]*?from '([^']+)';/gm)) {
        expect(specifier, statement).not.toMatch(/^@kubernetes/);
        if (specifier.startsWith('.')) await visit(new URL(specifier, file));
      }
    };
    await visit(new URL('../src/kubernetes.ts', import.meta.url));
    expect(seen.size).toBeGreaterThan(15);
  });
});
