import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, expect, test } from 'vitest';
import { leftovers, runLab } from './support/command.ts';
import { eventually } from './support/eventually.ts';

// Runs after all that need the lab (vitest.config.ts): it takes it down.
const mark = 'BIFROST_LAB_NODE=/run/bifrost-lab';
const processes = (lines: readonly string[]): number[] =>
  lines.filter((line) => line.startsWith('process ')).map((line) => Number(line.split(' ')[1]));

afterAll(async () => {
  await runLab(['down']);
});

test('a lab whose processes were all killed is cleaned up by the next start, in less than a minute', async () => {
  const before = processes(await leftovers());
  expect(before.length).toBeGreaterThan(8);
  for (const pid of before) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone with the node's first process.
    }
  }
  expect(await leftovers()).toContain('folder /run/bifrost-lab');
  const started = performance.now();
  expect(await runLab(['up'], { timeoutMs: 120_000 })).toMatchObject({ code: 0 });
  expect(performance.now() - started).toBeLessThan(60_000);
  expect(processes(await leftovers()).filter((pid) => before.includes(pid))).toEqual([]);
}, 180_000);

test('down leaves nothing on the machine', async () => {
  expect(await runLab(['down'])).toMatchObject({ code: 0 });
  expect(await leftovers()).toEqual([]);
});

test('what is left is told: a process, a link, a route; and down takes it away, but not a process that only looks like the lab’s', async () => {
  const ours = spawn('sleep', ['600'], { env: { ...process.env, [mark.split('=')[0] ?? '']: '/run/bifrost-lab' }, stdio: 'ignore' });
  const theirs = spawn('bash', ['-c', 'exec -a /run/bifrost-lab/cache/bin/pause sleep 600'], { stdio: 'ignore' });
  const ended = once(ours, 'exit');
  try {
    execFileSync('ip', ['link', 'add', 'bifrost-lab', 'type', 'bridge']);
    execFileSync('ip', ['link', 'set', 'bifrost-lab', 'up']);
    execFileSync('ip', ['route', 'add', '10.244.0.0/24', 'dev', 'bifrost-lab']);
    const told = await eventually('the planted process is told', async () => {
      const lines = await leftovers();
      return lines.some((line) => line.startsWith(`process ${ours.pid} `)) ? lines : undefined;
    });
    expect(told).toContain('interface bifrost-lab');
    expect(told).toContainEqual(expect.stringMatching(/^route 10\.244\.0\.0\/24/));
    expect(processes(told)).toEqual([ours.pid]);
    expect(await runLab(['down'])).toMatchObject({ code: 0 });
    expect(await ended).toEqual([null, 'SIGKILL']);
    expect(await leftovers()).toEqual([]);
    expect(theirs.exitCode ?? theirs.signalCode).toBeNull();
  } finally {
    ours.kill('SIGKILL');
    theirs.kill('SIGKILL');
  }
});
