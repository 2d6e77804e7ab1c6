import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HttpIngest } from '../src/adapters/http/ingest.ts';
import { TrafficCounters } from '../src/domain/counters.ts';
import type { View } from '../src/domain/judge.ts';
import { buildReport, encodeReport } from '../src/domain/report.ts';
import { ingestServer } from './support/ingest-server.ts';
import { peer, status, view } from './support/views.ts';

const fixtures = new URL('../../types/fixtures/', import.meta.url);
const namesIn = (folder: string): readonly string[] => readdirSync(new URL(folder, fixtures));
const textOf = (path: string): string => readFileSync(new URL(path, fixtures), 'utf8');

/** Every member's name with those above it; members of one list count together. */
function memberNames(value: unknown, above = ''): ReadonlySet<string> {
  if (Array.isArray(value)) return new Set(value.flatMap((item) => [...memberNames(item, `${above}[]`)]));
  if (typeof value !== 'object' || value === null) return new Set();
  return new Set(Object.entries(value).flatMap(([name, member]) => [`${above}.${name}`, ...memberNames(member, `${above}.${name}`)]));
}

const laptop = peer({ id: 'laptop' });
const router = peer({ id: 'router', routes: ['10.0.0.0/8'], lastHandshakeAtMs: 1 });
const pings = new Map([['router', { failures: 0, answer: { latencyMs: 12.5, path: 'direct' as const } }]]);
/** What the agent sees when it sends a report such as the fixture of that name. */
const SEEN: Readonly<Record<string, View>> = {
  'minimal.json': view({ reachable: false, status: undefined }),
  'typical.json': view({ status: status({ peers: [router, laptop] }), pings }),
  'maximal.json': view({ status: status({ peers: [router], keyExpiresAtMs: 2 }), pings }),
};

function sent(seen: View): unknown {
  const reporting = { sidecarId: 'sidecar', podUid: 'pod', agentVersion: '0.1.0', startId: 'start', startedAtMs: 1 };
  return JSON.parse(encodeReport(buildReport(reporting, { seq: 0, reason: 'start' }, { view: seen, counters: new TrafficCounters() })));
}

describe('golden wire documents', () => {
  it.each(namesIn('report/v1/'))('what the agent sends has the member names of report/v1/%s, no more and no fewer', (name) => {
    const seen = SEEN[name];
    expect(seen, 'a new fixture needs a view that leads to it').toBeDefined();
    expect([...memberNames(sent(seen ?? view()))].sort()).toEqual([...memberNames(JSON.parse(textOf(`report/v1/${name}`)))].sort());
  });

  it.each(namesIn('report-answer/v1/'))('the agent reads report-answer/v1/%s', async (name) => {
    await using server = await ingestServer();
    server.behave = (response) => response.end(textOf(`report-answer/v1/${name}`));
    const folder = mkdtempSync(join(tmpdir(), 'bifrost-fixtures-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, 'token');
    await using ingest = new HttpIngest({ url: server.url, tokenFile, agentVersion: '0' });
    const { next_heartbeat_ms: nextHeartbeatMs } = JSON.parse(textOf(`report-answer/v1/${name}`)) as { next_heartbeat_ms: number };
    expect(await ingest.send('{}', { signal: AbortSignal.timeout(5_000) })).toEqual({ kind: 'taken', nextHeartbeatMs });
  });
});
