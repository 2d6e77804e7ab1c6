import { injectSidecarRequestSchema, parseOrThrow } from '@bifrost/types';
import { NetworkManager } from '@bifrost/types/proto';
import type { JsonObject } from '@bufbuild/protobuf';
import { parseAllDocuments, stringify } from 'yaml';
import { fileOf, usage } from '../connect.ts';
import { tellDry } from '../dry-run.ts';
import type { ExitCode } from '../exit-codes.ts';
import { safeDocument } from '../safe-text.ts';
import type { Session } from '../session.ts';
import { wireOf } from '../wire.ts';
import { configOf, type Wishes } from './sidecar-attach.ts';

export interface InjectOptions extends Wishes {
  readonly filename: string;
  readonly book?: string;
  readonly dryRun?: boolean;
}

const MAX_BYTES = 1_048_576;

export async function injectSidecar(session: Session, _: readonly string[], options: InjectOptions): Promise<ExitCode | undefined> {
  const documents = manifestsIn(await textOf(session, options.filename));
  const [at, second] = documents.flatMap((document, index) => (hasPods(document) ? [index] : []));
  const manifest = at === undefined ? undefined : documents[at];
  if (at === undefined || manifest === undefined || second !== undefined)
    throw usage('-f needs exactly one workload with a pod template; other objects may stand beside it.', '--filename');
  const { tailnet: tailnetName, book, hostname, advertise = [], acceptRoutes = false, ssh = false, mode } = options;
  if (options.dryRun === true) {
    const config = { hostname, advertiseRoutes: advertise, acceptRoutes, enableSsh: ssh, ...(mode === undefined ? {} : { networkMode: mode }) };
    parseOrThrow(injectSidecarRequestSchema, { tailnetName, config, bookDeploymentId: book }, 'INVALID_ARGUMENT');
    await session.call(NetworkManager.method.getTailnet, { tailnetName });
    tellDry(session, { would: 'inject', lines: [`would put a sidecar for ${tailnetName} into the ${String(manifest['kind'])}, and register it`] });
    return undefined;
  }
  const method = NetworkManager.method.injectSidecar;
  const answer = await session.call(method, {
    tailnetName,
    config: configOf(options),
    manifest,
    ...(book === undefined ? {} : { bookDeploymentId: book }),
  });
  session.show.note(`sidecar ${answer.sidecarId} is registered; create the workload from this manifest`);
  if (!session.show.isForPeople) {
    session.show.document(wireOf(method.output, answer));
    return undefined;
  }
  const all = documents.map((document, index) => (index === at ? answer.manifest : document));
  // For `| kubectl apply -f -`.
  session.cli.stdout.write(safeDocument(all.map((document) => stringify(document, { lineWidth: 0 })).join('---\n')));
  return undefined;
}

async function textOf({ cli }: Session, filename: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of filename === '-' ? cli.stdin : [await fileOf(filename, '--filename')]) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_BYTES) throw usage(`A manifest has at most ${MAX_BYTES} bytes.`, '--filename');
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The parser's own words are left out: they quote the text. */
function manifestsIn(text: string): readonly JsonObject[] {
  const documents = parseAllDocuments(text, { uniqueKeys: true });
  if (!Array.isArray(documents)) return [];
  const faulty = documents.find(({ errors }) => errors.length > 0)?.errors[0];
  if (faulty !== undefined)
    throw usage(
      `-f is neither YAML nor JSON (${faulty.code}${faulty.linePos === undefined ? '' : `, line ${faulty.linePos[0].line}`}).`,
      '--filename',
    );
  return documents
    .map((document) => document.toJS({ maxAliasCount: 100 }) as unknown)
    .filter((value): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value));
}

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;

function hasPods(document: JsonObject): boolean {
  const spec = document['spec'];
  return (
    document['kind'] === 'Pod' ||
    memberOf(spec, 'template') !== undefined ||
    memberOf(memberOf(memberOf(spec, 'jobTemplate'), 'spec'), 'template') !== undefined
  );
}
