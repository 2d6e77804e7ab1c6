// count-tests.mjs FOLDER NAME=EXIT...: sums what the suites wrote into FOLDER (test/support/minimum.ts) and prints the closing line of .ci/run.
// A command that failed although no test of its suite did counts as one failure. Exits non-zero when anything failed.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder = '', ...commands] = process.argv.slice(2);
const suites = new Map(
  readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')))
    .map((counts) => [counts.suite, counts]),
);
let passed = 0;
let failed = 0;
for (const { suite, failures, ...counts } of suites.values()) {
  for (const failure of failures ?? []) process.stdout.write(`ci: failed: ${suite}: ${failure}\n`);
  process.stdout.write(`ci: suite ${suite}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  passed += counts.passed;
  failed += counts.failed;
}
for (const command of commands) {
  const [name = '', exit] = command.split('=');
  if (exit !== '0' && !((suites.get(name)?.failed ?? 0) > 0)) failed += 1;
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
