import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { program } from './command.ts';

/** Before all tests: waits until nobody else on this machine uses the lab, and keeps others waiting until all tests are done. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env['LAB_HELD']) return undefined;
  const holder = spawn('bash', [program, 'hold', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  holder.stdin.write('held\n');
  await once(holder.stdout, 'data'); // it echoes once it runs
  process.env['LAB_HELD'] = '1';
  return async () => {
    const ended = once(holder, 'exit');
    holder.stdin.end();
    await ended;
  };
}
