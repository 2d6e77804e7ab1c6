import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

// The built command as a process of its own; `npm test` builds it.
const { engines } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as { engines: { node: string } };
const NEEDED = engines.node.replace('>=', '');
const PROGRAM = join(import.meta.dirname, '../../dist/cli/main.js');

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, [PROGRAM, ...argv], { env: { PATH: process.env['PATH'] ?? '', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  let changed = (): void => {};
  for (const [name, stream] of [
    ['out', child.stdout],
    ['err', child.stderr],
  ] as const)
    stream.setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
      changed();
    });
  const ended = once(child, 'close').then(([code]): Ended => ({ code: code as number | null, ...said }));
  return {
    child,
    ended,
    async until(condition: (said: { out: string; err: string }) => boolean): Promise<void> {
      while (!condition(said))
        await Promise.race([new Promise<void>((resolve) => (changed = resolve)), ended.then(() => Promise.reject(new Error(`ended: ${said.err}`)))]);
    },
    [Symbol.asyncDispose]: () => stop(child, ended),
  };
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await ended;
}

describe('bifrost as a process', () => {
  it('plays its whole part in the world that it simulates', async () => {
    await using simulation = start(['simulate', '--disturb', '3s']);
    await simulation.until(({ out }) => out.includes('Ctrl-C'));
    const BIFROST_SERVER = /BIFROST_SERVER=(\S+)/.exec((await said(simulation)).out)?.[1] ?? '';
    const run = (...argv: readonly string[]): Promise<Ended> => start(argv, { BIFROST_SERVER }).ended;
    const created = await run('tailnet', 'create', 'acme-production', '--customer', 'acme', '--allow', '10.0.0.0/8', '--wait');
    expect(created).toMatchObject({ code: 0, out: 'tailnet acme-production is active\n' });
    const attached = await run(
      'sidecar',
      'attach',
      'acme/customer-support-book',
      '--tailnet',
      'acme-production',
      '--hostname',
      'support',
      '--wait',
      '-o',
      'json',
    );
    expect([attached.code, JSON.parse(attached.out)]).toEqual([0, expect.objectContaining({ status: 'connected' })]);
    await using watch = start(['watch', 'acme-production', '-o', 'json'], { BIFROST_SERVER });
    await watch.until(({ out }) => out.includes('"disconnected"')); // --disturb
    watch.child.kill('SIGINT');
    expect((await watch.ended).code).toBe(0);
    const rest = await fetch(`${BIFROST_SERVER}/api/v1/networks/tailnets/acme-production`);
    expect(await rest.json()).toMatchObject({ tailnet: { tailnet_name: 'acme-production', status: 'active' } });
    simulation.child.kill('SIGINT');
    expect(await simulation.ended).toMatchObject({ code: 0, err: '' });
    expect((await run('status')).code).toBe(4);
  });

  it('ends with 130 when it is interrupted at work', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    const asked = once(silent, 'connection');
    await once(silent, 'listening');
    await using waiting = start(['status', '--server', `http://127.0.0.1:${(silent.address() as AddressInfo).port}`]);
    const [socket] = (await asked) as [Socket];
    waiting.child.kill('SIGINT');
    expect(await waiting.ended).toEqual({ code: 130, out: '', err: 'interrupted\n' });
    socket.destroy();
    silent.close();
  });

  it.each([
    ['20.20.2', 1, `bifrost needs Node ${NEEDED} or newer, and this is 20.20.2.\n`],
    ['22.18.0', 1, `bifrost needs Node ${NEEDED} or newer, and this is 22.18.0.\n`],
    [`${NEEDED}.0`, 0, ''],
    ['30.0.0', 0, ''],
  ])('on Node %s ends with %d', async (node, code, err) => {
    const onThat = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${node}'}})`;
    expect(await start(['version'], { NODE_OPTIONS: `--import=${onThat}` }).ended).toMatchObject({ code, err });
  });

  it('says how it is used, and ends with 2', async () => {
    expect(await start(['frobnicate']).ended).toMatchObject({ code: 2, out: '', err: expect.stringContaining('unknown command') });
  });
});

/** What it has said until now. */
const said = async (process: ReturnType<typeof start>): Promise<{ out: string }> => {
  let now = { out: '' };
  await process.until((text) => {
    now = text;
    return true;
  });
  return now;
};
