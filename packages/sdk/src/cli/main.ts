#!/usr/bin/env node
import { userInfo } from 'node:os';

// The one file of the command that knows the process. It imports nothing but Node's own: what the command is made of does not load on an older Node.

/** As `engines` of the package has it. */
const NEEDED = { major: 22, minor: 19 } as const;
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major > NEEDED.major || (major === NEEDED.major && minor >= NEEDED.minor)) await run();
else {
  process.stderr.write(`bifrost needs Node ${NEEDED.major}.${NEEDED.minor} or newer, and this is ${process.versions.node}.\n`);
  process.exitCode = 1;
}

async function run(): Promise<void> {
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort(new DOMException(name, 'AbortError'))); // the second one ends it at once
  // Whoever reads may stop reading: `bifrost tailnet list | head -1`.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 4));
  const { runCli, systemClock } = await import('./start.ts');
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
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown'; // a uid without an entry, as in containers
  }
}
