import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BifrostError } from '@bifrost/types/core';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, describe, expect, it } from 'vitest';
import { connectError } from '../../src/server/api/errors.ts';
import { createApiServer } from '../../src/server/index.ts';
import { openWorld } from '../support/world.ts';
import { bifrost, openServed, serving, TOKEN } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'bifrost-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const fileWith = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

/** The command against a service that answers every call for a tailnet so. */
const against = (error: Error) =>
  bifrost(['tailnet', 'get', 'acme', '--cluster'], {
    openCluster: serving({
      getTailnet: () => {
        throw error;
      },
    }),
  });

describe('exit codes', () => {
  it.each([
    [[], 2],
    [['frob'], 2],
    [['status', '--frob'], 2],
    [['tailnet', 'create', 'x'], 2],
    [['status', '-o', 'xml'], 2],
    [['tailnet', 'list'], 2],
    [['tailnet', 'list', '--server', 'nonsense'], 2],
    [['tailnet', 'list', '--server', 'ftp://host'], 2],
    [['tailnet', 'list', '--server', 'https://me:canary@host'], 2],
    [['tailnet', 'list', '--server', 'https://host', '--cluster'], 2],
    [['tailnet', 'list', '--server', 'https://host', '--token-file', '/nowhere/at/all'], 2],
    [['tailnet', 'list', '--server', 'https://host', '--cert', 'a'], 2],
    [['tailnet', 'list', '--server', 'http://127.0.0.1:1', '--request-timeout', 'soon'], 2],
    [['--help'], 0],
    [['tailnet', 'create', '--help'], 0],
    [['completion', 'bash'], 0],
  ] as const)('%j ends with %i', async (argv, wanted) => {
    const { code, out, err } = await bifrost(argv);
    expect(code).toBe(wanted);
    expect(out + err).not.toContain('canary');
    if (wanted === 2) expect(err).not.toBe('');
  });

  it.each([
    [new BifrostError({ code: 'TAILNET_NOT_FOUND', message: 'no' }), 1],
    [new BifrostError({ code: 'UNAUTHENTICATED', message: 'no' }), 1],
    [new BifrostError({ code: 'STORE_CONFLICT', message: 'no' }), 1],
    [new BifrostError({ code: 'CONTROL_UNAVAILABLE', message: 'later', retryAfterMs: 3_000 }), 4],
    [new BifrostError({ code: 'INTERNAL', message: 'later' }), 4],
  ])('%s ends with %i', async (error, wanted) => {
    const { code, err } = await against(connectError(error, 'request-9'));
    expect([code, err]).toEqual([wanted, expect.stringContaining(`[${error.code}]`)]);
    expect(err).toContain('request id: request-9');
    if (error.retryAfterMs !== undefined) expect(err).toContain('try again in: 3s');
  });

  it('a service that is not there: 4, with the system’s own word for it', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    expect(await bifrost(['status', '--server', `http://127.0.0.1:${port}`])).toMatchObject({
      code: 4,
      err: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('one that does not answer: 4, within the time', async () => {
    await using silent = await silentServer();
    const { code, err } = await bifrost(['status', '--server', silent.url, '--request-timeout', '200ms']);
    expect([code, err]).toEqual([4, expect.stringContaining('DeadlineExceeded')]);
  });

  it('interrupted: 130', async () => {
    await using silent = await silentServer();
    const interrupted = new AbortController();
    silent.onConnection(() => interrupted.abort(new DOMException('SIGINT', 'AbortError')));
    expect(await bifrost(['status', '--server', silent.url], { signal: interrupted.signal })).toEqual({ code: 130, out: '', err: 'interrupted\n' });
  });
});

describe('a service that asks to wait', () => {
  const limited = (retryAfterMs: number) => connectError(new BifrostError({ code: 'RATE_LIMITED', message: 'slower', retryAfterMs }), 'request-9');
  const asking = async (refusals: readonly Error[]) => {
    let asked = 0;
    const openCluster = serving({
      listTailnets: () => {
        const refusal = refusals[asked++];
        if (refusal !== undefined) throw refusal;
        return {};
      },
    });
    return { ...(await bifrost(['tailnet', 'list', '--cluster'], { openCluster })), asked };
  };

  it('is waited for', async () => {
    expect(await asking([limited(2_000), limited(100)])).toEqual({
      ...{ code: 0, asked: 3, out: 'no tailnets\n' },
      err: 'the service asks to wait for 2s\nthe service asks to wait for 1s\n',
    });
  });

  it('is not waited for beyond --request-timeout: 1', async () => {
    expect(await asking([limited(60_000)])).toMatchObject({ code: 1, asked: 1, err: expect.stringMatching(/RATE_LIMITED[\s\S]*try again in: 1m/) });
  });
});

describe('a list', () => {
  it('has all pages, and ends where a service gives the same page again', async () => {
    const tokens: string[] = [];
    const openCluster = serving({
      listTailnets: ({ pageToken }) => {
        tokens.push(pageToken);
        return { tailnets: [{ tailnetName: `t-${tokens.length}` }], nextPageToken: tokens.length < 3 ? `page-${tokens.length}` : 'page-2' };
      },
    });
    const { out } = await bifrost(['tailnet', 'list', '-o', 'json', '--cluster'], { openCluster });
    expect((JSON.parse(out) as { tailnets: { tailnet_name: string }[] }).tailnets.map((tailnet) => tailnet.tailnet_name)).toEqual([
      't-1',
      't-2',
      't-3',
    ]);
    expect(tokens).toEqual(['', 'page-1', 'page-2']);
  });
});

describe('a failure', () => {
  it('says what, which fields, what to do, and the request’s id; nothing of it is obeyed by a terminal', async () => {
    const error = new ConnectError('\u001b[31mno\u001b[0m', Code.FailedPrecondition, { 'x-request-id': 'request-17\u009b' });
    const { err } = await against(error);
    expect(err).toContain('request id: request-17');
    for (const obeyed of ['\u001b', '\u009b']) expect(err).not.toContain(obeyed);
  });
});

describe('credentials', () => {
  it('come from a file or a variable, as a token or as a key, and are shown nowhere', async () => {
    await using world = await openServed();
    const [token, key] = [fileWith('token', `${TOKEN}\n`), fileWith('key', TOKEN)];
    const { BIFROST_SERVER: server = '' } = world.env;
    for (const [argv, env] of [
      [['--token-file', token], {}],
      [['--api-key-file', key], {}],
      [[], { BIFROST_TOKEN: TOKEN }],
      [[], { BIFROST_API_KEY: TOKEN }],
      [['--token-file', token], { BIFROST_TOKEN: 'another', BIFROST_API_KEY: 'another' }],
      [['--api-key-file', key], { BIFROST_TOKEN: 'another' }],
    ] as const) {
      const ran = await bifrost(['status', '--server', server, ...argv], { env });
      expect(ran).toMatchObject({ code: 0, err: '' });
      expect(ran.out).not.toContain(TOKEN);
    }
    const refused = await bifrost(['status', '--server', server], { env: { BIFROST_TOKEN: 'canary-wrong' } });
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('[UNAUTHENTICATED]') });
    expect(refused.err).not.toContain('canary-wrong');
  });

  it('are not sent in clear, and not when they cannot be a header', async () => {
    const env = { BIFROST_TOKEN: 'canary-token' };
    expect(await bifrost(['status', '--server', 'http://bifrost.example'], { env })).toMatchObject({
      code: 2,
      err: expect.stringContaining('https only'),
    });
    const broken = await bifrost(['status', '--server', 'https://bifrost.example', '--token-file', fileWith('broken', 'canary one\ntwo')]);
    expect([broken.code, broken.err]).toEqual([2, expect.stringContaining('--token-file')]);
    expect(broken.err).not.toContain('canary');
  });
});

describe('TLS', () => {
  it('is checked against --ca, and tells what to do where it fails', async () => {
    const [certFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '5',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        keyFile,
        '-out',
        certFile,
      ],
      { stdio: 'ignore' },
    );
    await using world = await openWorld();
    await using server = createApiServer({
      manager: world.manager,
      authenticator: { authenticate: async () => ({ subject: 'tester', via: 'mtls', grants: [{ role: 'admin', customers: '*' }] }) },
      tls: { cert: readFileSync(certFile), key: readFileSync(keyFile) },
    });
    const { port } = await server.listen(0, 'localhost');
    const argv = ['--server', `https://localhost:${port}`];
    expect(await bifrost(['status', ...argv, '--ca', certFile])).toMatchObject({ code: 0, err: '' });
    expect(await bifrost(['status', ...argv])).toMatchObject({ code: 4, err: expect.stringMatching(/SELF_SIGNED.*--ca/) });
    const { out } = await bifrost(['doctor', ...argv, '--ca', certFile]);
    expect(out).toMatch(/^warn +reachable +localhost:\d+ answers with TLS .* good for 4d/m); // fewer than fourteen days
    const untrusted = await bifrost(['doctor', ...argv]);
    expect([untrusted.code, untrusted.out]).toEqual([3, expect.stringMatching(/^fail +reachable .*SELF_SIGNED/m)]);
  });
});

async function silentServer() {
  let connected = (): void => {};
  const sockets = new Set<import('node:net').Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    connected();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    onConnection: (listener: () => void) => {
      connected = listener;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
