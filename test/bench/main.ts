// npm run bench -- NAME [--json] [--smoke]: progress on stderr; with --json the last line on stdout is one JSON object.
import { parseArgs } from 'node:util';
import type { BenchOptions, BenchResult } from './harness.ts';

const BENCHES: Readonly<Record<string, () => Promise<(options: BenchOptions) => Promise<BenchResult>>>> = {
  agent: async () => (await import('./agent.ts')).benchAgent,
  api: async () => (await import('./api.ts')).benchApi,
  attach: async () => (await import('./attach.ts')).benchAttach,
  'event-latency': async () => (await import('./event-latency.ts')).benchEventLatency,
  import: async () => (await import('./import.ts')).benchImport,
  ingest: async () => (await import('./ingest.ts')).benchIngest,
  policy: async () => (await import('./policy.ts')).benchPolicy,
  quarantine: async () => (await import('./quarantine.ts')).benchQuarantine,
  restart: async () => (await import('./restart.ts')).benchRestart,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, smoke: { type: 'boolean', default: false } },
});
const [name = ''] = positionals;
const load = BENCHES[name];
if (load === undefined || positionals.length !== 1) {
  process.stderr.write(`usage: npm run bench -- NAME [--json] [--smoke]; NAME is one of ${Object.keys(BENCHES).join(', ')}\n`);
  process.exit(2);
}
const bench = await load();
const result = await bench({ smoke: values.smoke, say: (line) => void process.stderr.write(`${name}: ${line}\n`) });
process.stdout.write(
  values.json
    ? `${JSON.stringify(result)}\n`
    : `${result.name}: ours ${result.ours}, baseline ${result.baseline} ${result.unit}, ratio ${result.ratio}\n`,
);
