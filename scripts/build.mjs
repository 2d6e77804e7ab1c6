// Builds every package: JavaScript by tsup (each package's tsup.config.mjs), declarations by `tsc -b`.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, 'node_modules', '.bin');
const folders = ['packages/types', 'packages/sdk', 'packages/agent', 'examples/embedded', 'examples/network-manager', 'examples/book-controller'];

const run = (command, args, cwd) =>
  new Promise((resolve) => {
    const child = spawn(join(bin, command), args, { cwd: join(root, cwd), stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
    child.on('error', (error) => resolve({ code: 1, said: error.message }));
    child.on('close', (code) => resolve({ code, said }));
  });

/** Declarations stay: `tsc -b` keeps its own account of them. */
const removeOldJavaScript = (dist) => {
  if (!existsSync(dist)) return;
  for (const file of readdirSync(dist, { recursive: true })) if (/\.c?js(\.map)?$/.test(file)) rmSync(join(dist, file));
};

for (const folder of folders) {
  removeOldJavaScript(join(root, folder, 'dist'));
  const { code, said } = await run('tsup', [], folder);
  if (code !== 0) {
    process.stderr.write(`${folder}\n${said}`);
    process.exit(1);
  }
}
const { code, said } = await run('tsc', ['-b', ...folders], '.');
process.stderr.write(said);
process.exitCode = code;
