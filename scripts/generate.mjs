// Writes what is generated and committed. `--check` writes nothing and fails when a file is not what would be written.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { resourceDefinitions } from '../packages/sdk/src/adapters/kubernetes/store-definitions.ts';
import { ERROR_CODES } from '../packages/types/src/core/errors.ts';
import { openApi } from './openapi.mjs';
import { BASELINE, generateProto } from './proto.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const CRDS = `# Written by \`npm run generate\` from packages/sdk/src/adapters/kubernetes/store-schema-*.ts: change it there.
# What Bifrost keeps in the cluster: one Tailnet per customer network, one SidecarAttachment per book that is attached to one.
# Kubernetes 1.31 or later. Apply before a new manager starts: kubectl apply --server-side -f crds.yaml
`;

const INDEX = 'docs/runbooks/README.md';
const MARK = '<!-- codes: written by `npm run generate` -->\n';
const read = (path) => readFileSync(join(root, path), 'utf8');

/** The page's first paragraph's first sentence. */
function meaningOf(code) {
  const path = `docs/runbooks/${code}.md`;
  const [, paragraph = ''] = existsSync(join(root, path)) ? read(path).split('\n\n') : [];
  return /^.*?[.](?= |$)/.exec(paragraph.replaceAll('\n', ' '))?.[0] ?? paragraph;
}

/** What stands before the mark is written by hand. */
function index() {
  const rows = Object.entries(ERROR_CODES).map(([code, { retry, http }]) => `| [${code}](${code}.md) | ${retry} | ${http} | ${meaningOf(code)} |\n`);
  return `${read(INDEX).split(MARK)[0]}${MARK}\n| code | retry | HTTP | meaning |\n|---|---|---|---|\n${rows.join('')}`;
}

const files = [
  { path: INDEX, text: index() },
  {
    path: 'examples/deploy/crds.yaml',
    text:
      CRDS +
      resourceDefinitions()
        .map((document) => stringify(document, { lineWidth: 0 }))
        .join('---\n'),
  },
];

const proto = generateProto();
files.push(...proto.files);
const descriptors = proto.files.find(({ path }) => path === 'packages/types/proto/bifrost.binpb')?.bytes;
if (descriptors !== undefined)
  files.push({ path: 'packages/types/proto/openapi.json', text: `${JSON.stringify(openApi(descriptors), undefined, 2)}\n` });
// A release: from now on what this form says stays readable.
if (process.argv.includes('--baseline')) files.push({ path: BASELINE, bytes: proto.image });

const check = process.argv.includes('--check');
for (const fault of proto.faults) {
  process.stdout.write(`${fault}\n`);
  process.exitCode = 1;
}
for (const { path, text, bytes = Buffer.from(text) } of files) {
  const file = join(root, path);
  if (existsSync(file) && readFileSync(file).equals(bytes)) continue;
  if (check) {
    process.stdout.write(`${path} is not what \`npm run generate\` writes\n`);
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
    process.stdout.write(`${path} written\n`);
  }
}
