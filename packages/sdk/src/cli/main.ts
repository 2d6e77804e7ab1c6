#!/usr/bin/env node
import { userInfo } from 'node:os';
import { systemClock } from '../adapters/system/clock.ts';
import { runCli } from './run.ts';

// The one file of the command that knows the process.
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort(new DOMException(name, 'AbortError'))); // the second one ends it at once
// Whoever reads may stop reading: `bifrost tailnet list | head -1`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 4));

process.exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupted.signal,
  clock: systemClock(),
  user: userName(),
  openCluster: async (options, cli) => (await import('./connect-cluster.ts')).connectCluster(options, cli),
});

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown'; // a uid without an entry, as in containers
  }
}
