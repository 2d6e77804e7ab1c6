// run.mjs FILE ARGS... | run.mjs --bin NAME ARGS...: runs a program on the project's own Node 24, whatever the host's Node is.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, 'node_modules', '.bin');
const [first = '', ...rest] = process.argv.slice(2);
const [command, args] = first === '--bin' ? [join(bin, rest[0] ?? ''), rest.slice(1)] : [join(bin, 'node'), [first, ...rest]];

const child = spawn(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` } });
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
process.on('SIGINT', () => {}); // the terminal tells the child as well: twice would cut its clean-up short
// npm tells only the shell between us of SIGTERM, and that shell dies without telling us.
if (process.env['npm_lifecycle_event'] !== undefined) {
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && child.kill('SIGTERM'), 500).unref();
}
child.on('error', (error) => {
  process.stderr.write(`bifrost: ${error.message}\n`);
  process.exitCode = 1;
});
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + (constants.signals[signal] ?? 1);
});
