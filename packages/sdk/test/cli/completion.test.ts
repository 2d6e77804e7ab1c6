import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { attach, bifrost, openServed, serving } from './support.ts';

const NOBODY = { BIFROST_SERVER: 'http://127.0.0.1:1' };
const complete = async (words: readonly string[], env: Readonly<Record<string, string>> = NOBODY): Promise<readonly string[]> => {
  const { code, out, err } = await bifrost(['__complete', ...words], { env });
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out.split('\n').filter((line) => line !== '');
};

describe('completion', () => {
  it.each([
    [['ta'], ['tailnet']],
    [['tailnet', 'p'], ['pause']],
    [['sidecar', 'de'], ['detach']],
    [
      ['status', '-o', ''],
      ['json', 'table', 'yaml'],
    ],
    [
      ['-o', 'json', 'sidecar', 'list', '--status', 'de'],
      ['degraded', 'detaching'],
    ],
    [['tailnet', 'create', '--pol'], ['--policy']],
    [['tailnet', 'create', '--policy', 're'], ['restrictive']],
    [
      ['completion', ''],
      ['bash', 'fish', 'zsh'],
    ],
    [['watch', '--server'], ['--server']],
    [['nonsense', 'x'], []],
  ])('%j is %j', async (words, wanted) => {
    expect(await complete(words)).toEqual(wanted);
  });

  it('knows the names that the service knows, and offers none when it does not answer', async () => {
    await using world = await openServed();
    await attach(world);
    expect(await complete(['status', 'acme'], world.env)).toEqual(['acme-corp-production']);
    expect(await complete(['sidecar', 'list', '--tailnet', ''], world.env)).toEqual(['acme-corp-production']);
    expect(await complete(['sidecar', 'get', ''], world.env)).toEqual(['acme-corp/customer-support-book']);
    expect(await complete(['status', 'acme-corp-production', ''], world.env)).toEqual([]);
    expect(await complete(['status', ''])).toEqual([]);
    expect(await complete(['status', ''], {})).toEqual([]);
  });

  it('offers nothing that a shell would read as more than a word', async () => {
    const names = ['plain', '$(reboot)', 'two words', 'line\nfeed', '`x`'];
    const openCluster = serving({ listTailnets: () => ({ tailnets: names.map((tailnetName) => ({ tailnetName })) }) });
    const { out } = await bifrost(['__complete', '--cluster', 'status', ''], { openCluster });
    expect(out).toBe('plain\n');
  });

  it('is a script that bash runs', async () => {
    const { out } = await bifrost(['completion', 'bash']);
    const folder = mkdtempSync(join(tmpdir(), 'bifrost-completion-'));
    try {
      const fake = join(folder, 'bifrost');
      writeFileSync(fake, '#!/bin/sh\nprintf "%s\\n" "$#:$*" two\n');
      chmodSync(fake, 0o755);
      const script = `${out}\nCOMP_WORDS=(bifrost tailnet "") COMP_CWORD=2\n_bifrost\nprintf '<%s>' "\${COMPREPLY[@]}"`;
      const said = execFileSync('bash', ['--norc', '--noprofile', '-c', script], {
        stdio: ['ignore', 'pipe', 'ignore'],
        encoding: 'utf8',
        env: { PATH: `${folder}:${process.env['PATH']}` },
      });
      expect(said).toBe('<3:__complete tailnet ><two>');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it.each(['zsh', 'fish'])('has a script for %s that its shell reads, where that is here', async (shell) => {
    const { code, out } = await bifrost(['completion', shell]);
    expect([code, out]).toEqual([0, expect.stringContaining('bifrost __complete')]);
    const { error, status } = spawnSync(shell, ['-n', '-c', out]);
    if (error === undefined) expect(status).toBe(0);
  });
});
