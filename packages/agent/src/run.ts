import { hindrance } from './domain/judge.ts';
import { renderMetrics } from './domain/metrics.ts';
import { buildReport, encodeReport } from './domain/report.ts';
import { type AgentSettings, wedgeLimits } from './domain/settings.ts';
import { GuardRelay } from './guard-relay.ts';
import type { Clock } from './ports/clock.ts';
import type { GuardFiles } from './ports/guard-files.ts';
import type { Ingest } from './ports/ingest.ts';
import type { LocalApi } from './ports/local-api.ts';
import type { Logger } from './ports/logger.ts';
import type { OpenStatusServer } from './ports/status-server.ts';
import type { Surroundings } from './ports/surroundings.ts';
import { Reporter } from './reporter.ts';
import { together } from './together.ts';
import { AGENT_VERSION } from './version.ts';
import { Watcher } from './watcher.ts';

export interface AgentOptions {
  readonly settings: Pick<AgentSettings, 'sidecarId' | 'podUid' | 'heartbeatMs' | 'acceptRoutes' | 'wedgedAfterMs'>;
  readonly localApi: LocalApi;
  readonly surroundings: Surroundings;
  readonly ingest: Ingest;
  readonly openStatusServer: OpenStatusServer;
  /** Absent where the guard takes no orders. */
  readonly guardFiles?: GuardFiles;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Runs one agent: watches the daemon, reports to the manager, serves its own state. The signal is the order to stop: it then says its last words
 * (at most half a second) and resolves. `localApi` and `ingest` remain the caller's to dispose.
 *
 * @throws {BifrostError} `INVALID_OPTIONS` — the status address cannot be listened on
 */
export async function runAgent(options: AgentOptions, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const { settings, localApi, surroundings, ingest, clock, logger } = options;
  const { sidecarId, podUid, heartbeatMs, acceptRoutes, wedgedAfterMs } = settings;
  const reporting = { sidecarId, podUid, agentVersion: AGENT_VERSION, startId: clock.newId(), startedAtMs: clock.nowMs() };
  const watcher: Watcher = new Watcher({
    ...{ localApi, surroundings, clock, logger, acceptRoutes },
    wedgeLimits: wedgeLimits(wedgedAfterMs),
    intervalMs: () => reporter.intervalMs,
    onChange: () => reporter.push('change'),
  });
  const { guardFiles: files } = options;
  const guard = files && new GuardRelay({ files, clock, logger, onChange: () => reporter.push('change') });
  const reporter: Reporter = new Reporter({
    ...{ ingest, clock, logger, heartbeatMs },
    build: (report) => {
      const seen = { view: watcher.view(), counters: watcher.counters, ...(guard === undefined ? {} : { guard: guard.report }) };
      return encodeReport(buildReport(reporting, report, seen));
    },
    onGuard: (said) => guard?.take(said),
  });
  await using server = await options.openStatusServer({
    notReady: () => hindrance(watcher.view()),
    isDaemonWedged: () => watcher.isWedged,
    metrics: () => {
      const { counters, counts: daemon } = watcher;
      return renderMetrics({ view: watcher.view(), counters, reports: reporter.counts, daemon, agentVersion: AGENT_VERSION });
    },
  });
  logger.log('info', 'agent started', { version: AGENT_VERSION, startId: reporting.startId, port: server.port });
  try {
    await watcher.look({ signal });
    reporter.push('start');
    const loops = [watcher, reporter, ...(guard === undefined ? [] : [guard])];
    await together(
      loops.map((loop) => (each: AbortSignal) => loop.run({ signal: each })),
      signal,
    );
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
