import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { alternating, type BenchOptions, type BenchResult, compared, median } from './harness.ts';

const folder = fileURLToPath(new URL('..', import.meta.url));

/** Milliseconds that a fresh process takes to import it: of the import alone, so that starting Node counts for neither side. */
function importOnce(specifier: string): number {
  const code = `const from = performance.now(); await import(${JSON.stringify(specifier)}); process.stdout.write(String(performance.now() - from));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', code], { cwd: folder, encoding: 'utf8' });
  const milliseconds = Number(stdout);
  if (status !== 0 || !(milliseconds > 0)) throw new RangeError(`importing ${specifier} failed: ${stderr}`);
  return milliseconds;
}

/** `import '@bifrost/sdk'` in a fresh process, against `import 'undici'`: what an embedding program pays before its first line. */
export async function benchImport({ smoke, say }: BenchOptions): Promise<BenchResult> {
  for (const specifier of ['@bifrost/sdk', 'undici']) importOnce(specifier); // files are in the page cache
  const figures = await alternating(
    smoke ? 3 : 21,
    async () => importOnce('@bifrost/sdk'),
    async () => importOnce('undici'),
  );
  say(`milliseconds: ours ${figures.ours.map(Math.round).join(' ')}, undici ${figures.baseline.map(Math.round).join(' ')}`);
  const entries = Object.fromEntries(
    ['@bifrost/sdk/kubernetes', '@bifrost/sdk/tailscale', '@bifrost/sdk/server'].map((entry) => [entry, medianOf(entry)]),
  );
  return { name: 'import', ...compared(figures), unit: 'ms', others_ms: entries };
}

const medianOf = (specifier: string): number => Math.round(median(Array.from({ length: 3 }, () => importOnce(specifier))));
