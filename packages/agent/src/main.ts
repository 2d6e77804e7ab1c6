import { BifrostError } from '@bifrost/types/core';
import { HttpIngest } from './adapters/http/ingest.ts';
import { UnixLocalApi } from './adapters/http/local-api.ts';
import { statusServerAt } from './adapters/http/status-server.ts';
import { systemClock } from './adapters/system/clock.ts';
import { guardFilesAt } from './adapters/system/guard-files.ts';
import { stderrLogger } from './adapters/system/stderr-logger.ts';
import { systemSurroundings } from './adapters/system/surroundings.ts';
import { type AgentSettings, parseEnvironment } from './domain/settings.ts';
import { runAgent } from './run.ts';
import { AGENT_VERSION } from './version.ts';

const EXIT = { failed: 1, badEnvironment: 2 } as const;
/** Whatever hangs, the process is gone by then. */
const LAST_MOMENT_MS = 800;
/** How often memory is tidied up, where `--expose-gc` allows it. */
const TIDY_MS = 60_000;

async function start(settings: AgentSettings): Promise<void> {
  const stop = new AbortController();
  const onSignal = () => {
    stop.abort();
    setTimeout(() => process.exit(0), LAST_MOMENT_MS).unref();
  };
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  // A process this quiet may not collect for an hour, and each closed TLS connection holds memory outside of the heap until it does.
  if (globalThis.gc) setInterval(() => globalThis.gc?.({ type: 'major', flavor: 'last-resort' }), TIDY_MS).unref();
  await using localApi = new UnixLocalApi(settings.socketPath);
  const { ingestUrl: url, tokenFile, caFile } = settings;
  await using ingest = new HttpIngest({ url, tokenFile, agentVersion: AGENT_VERSION, ...(caFile === undefined ? {} : { caFile }) });
  const openStatusServer = statusServerAt(settings.listen);
  const system = { surroundings: systemSurroundings, clock: systemClock, logger: stderrLogger };
  const guard = settings.guardFiles === undefined ? {} : { guardFiles: guardFilesAt(settings.guardFiles) };
  await runAgent({ settings, localApi, ingest, openStatusServer, ...guard, ...system }, { signal: stop.signal });
  stderrLogger.log('info', 'agent stopped');
}

/** A bug, or an address in use: the kubelet starts us again. Names and codes only, since a message may carry what was sent. */
function fail(error: unknown): void {
  const known = BifrostError.is(error) ? { code: error.code, detail: error.message } : {};
  const name = error instanceof Error ? error.name : typeof error;
  const place = error instanceof Error && !BifrostError.is(error) ? error.stack?.split('\n').find((line) => line.startsWith('    at ')) : undefined;
  stderrLogger.log('error', 'agent failed', { name, ...known, ...(place === undefined ? {} : { place: place.trim() }) });
  process.exit(EXIT.failed);
}

process.on('uncaughtException', fail);
const parsed = parseEnvironment(process.env);
if (parsed.ok) start(parsed.settings).catch(fail);
else {
  const variables = parsed.issues.map(({ path, message }) => `${path} ${message}`).join('; ');
  stderrLogger.log('error', 'bad environment', { variables });
  process.exitCode = EXIT.badEnvironment;
}
