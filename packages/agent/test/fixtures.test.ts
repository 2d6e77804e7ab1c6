import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromWire, type ReportGuard, readGuardOrder } from '@bifrost/types/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HttpIngest } from '../src/adapters/http/ingest.ts';
import { TrafficCounters } from '../src/domain/counters.ts';
import type { View } from '../src/domain/judge.ts';
import { buildReport, encodeReport } from '../src/domain/report.ts';
import { ingestServer } from './support/ingest-server.ts';
import { extras, peer, status, view } from './support/views.ts';

const fixtures = new URL('../../types/fixtures/', import.meta.url);
const namesIn = (folder: string): readonly string[] => readdirSync(new URL(folder, fixtures));
const textOf = (path: string): string => readFileSync(new URL(path, fixtures), 'utf8');

/** Every member's name with those above it; members of one list count together. */
function memberNames(value: unknown, above = ''): ReadonlySet<string> {
  if (Array.isArray(value)) return new Set(value.flatMap((item) => [...memberNames(item, `${above}[]`)]));
  if (typeof value !== 'object' || value === null) return new Set();
  return new Set(Object.entries(value).flatMap(([name, member]) => [`${above}.${name}`, ...memberNames(member, `${above}.${name}`)]));
}

const router = peer({ id: 'router', routes: ['10.0.0.0/8'], lastHandshakeAtMs: 1 });
const laptop = peer({ id: 'laptop' });
const inUse = peer({ id: 'anna', active: true });
const pings = new Map([['router', { failures: 0, answer: { latencyMs: 12.5, path: 'direct' as const } }]]);
/** Of every kind that a report can carry. */
const everything = extras({
  paths: { total: 1, of: () => ({ changes: 1, changedAtMs: 5 }) },
  identityOf: (id) => (id === 'router' ? { tags: ['tag:gateway'] } : { user: 'anna@acme.example' }),
  losesLarge: () => true,
  advertisedRoutes: ['10.1.0.0/24'],
  signs: ['mtu'],
});
const warnings = [{ code: 'no-udp4-bind', severity: 'medium', impactsConnectivity: true, sinceMs: 3 }] as const;
const whole = view({ status: status({ peers: [router, inUse, laptop], keyExpiresAtMs: 2 }), pings, warnings, extras: everything });
const changed = extras({ ...everything, losesLarge: () => false, advertisedRoutes: undefined, signs: [] });

interface Expected {
  readonly seen: View;
  readonly report?: Parameters<typeof buildReport>[1];
  /** The document is of an older agent: this one sends what is in it, and more. */
  readonly isOlder?: boolean;
  readonly guard?: ReportGuard;
}
/** What the agent sees when it sends a report such as the fixture of that name. */
const EXPECTED: Readonly<Record<string, Expected>> = {
  'minimal.json': { seen: view({ reachable: false, status: undefined }) },
  'typical.json': { seen: view({ status: status({ peers: [router, laptop] }), pings }), isOlder: true },
  'maximal.json': { seen: view({ status: status({ peers: [router], keyExpiresAtMs: 2 }), pings }), isOlder: true },
  'heartbeat.json': {
    seen: view({ status: status({ peers: [router, inUse, laptop] }), pings, extras: changed }),
    report: { seq: 43, reason: 'heartbeat' },
  },
  'whole.json': { seen: whole },
  'guarded.json': { seen: view({ reachable: false, status: undefined }), guard: { holds: '5f1d7a84db00d2fc', received: '0c6f0d8f7f11b7a5' } },
};

const reporting = {
  sidecarId: '0f4f3c9e-6d0a-4f0e-9a39-6b9b7f2c1d11',
  podUid: 'b7a5d0b2-52ab-4a0f-8d5c-0c6f0d8f7f11',
  agentVersion: '0.1.0',
  startId: '6f1c2f6e-7e4b-4f57-8a8e-4f3c5b1b2a90',
  startedAtMs: 1_704_067_200_000,
};
const bodyOf = ({ seen, report = { seq: 0, reason: 'start' }, guard }: Expected, counters = new TrafficCounters()): string =>
  encodeReport(buildReport(reporting, report, { view: seen, counters, ...(guard === undefined ? {} : { guard }) }));

describe('golden wire documents', () => {
  it.each(namesIn('report/v1/'))('what the agent sends has the member names of report/v1/%s', (name) => {
    const expected = EXPECTED[name] ?? { seen: view() };
    expect(EXPECTED, 'a new fixture needs a view that leads to it').toHaveProperty([name]);
    const golden = memberNames(JSON.parse(textOf(`report/v1/${name}`)));
    const sent = memberNames(JSON.parse(bodyOf(expected)));
    if (expected.isOlder) expect([...golden].filter((member) => !sent.has(member))).toEqual([]);
    else expect([...sent].sort()).toEqual([...golden].sort());
  });

  it.each(namesIn('report-answer/v1/'))('the agent reads report-answer/v1/%s', async (name) => {
    await using server = await ingestServer();
    server.behave = (response) => response.end(textOf(`report-answer/v1/${name}`));
    const folder = mkdtempSync(join(tmpdir(), 'bifrost-fixtures-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, 'token');
    await using ingest = new HttpIngest({ url: server.url, tokenFile, agentVersion: '0' });
    const { v: _, ...rest } = fromWire(JSON.parse(textOf(`report-answer/v1/${name}`))) as { v: number; guard?: unknown };
    expect(await ingest.send('{}', { signal: AbortSignal.timeout(5_000) })).toEqual({ kind: 'taken', ...rest });
    if (rest.guard !== undefined) expect(readGuardOrder(rest.guard)).toEqual(rest.guard);
  });
});

describe('the size of a heartbeat: a joined node, one router in use, two more peers in use, seven idle', () => {
  const nowMs = 1_704_067_620_000;
  const machine = (index: number, name: string, active: boolean) =>
    peer({
      id: `nR4kTYp${index}CNTRL`,
      name: `${name}.tail1a2b3c.ts.net`,
      active,
      proven: 'direct',
      rxBytes: 20_000_000 >> index,
      txBytes: 10_000_000 >> index,
      lastHandshakeAtMs: active ? nowMs - 30_000 : undefined,
      ...(index === 0 ? { routes: ['10.0.0.0/8'] } : {}),
    });
  const names = ['router-frankfurt', 'anna-laptop', 'build-runner'];
  const peers = Array.from({ length: 10 }, (_, index) => machine(index, names[index] ?? `machine-${index}`, index < 3));
  const answered = peers.slice(0, 3).map(({ id }) => [id, { failures: 0, answer: { latencyMs: 12.51, path: 'direct' as const } }] as const);
  const node = { deviceId: 'nJ8zFQm3CNTRL', ips: ['100.64.0.10', 'fd7a:115c:a1e0:ab12:4843:cd96:6240:a'], daemonVersion: '1.102.5-t1a2b3c4d5' };
  const seen = view({
    nowMs,
    status: status({ ...node, homeDerp: 'fra', peers }),
    pings: new Map(answered),
    extras: extras({ identityOf: (id) => (id.includes('p0') ? { tags: ['tag:gateway'] } : { user: 'anna@acme.example' }) }),
  });
  const counters = new TrafficCounters();
  counters.observe(peers);
  const guard = { holds: '5f1d7a84db00d2fc' };
  const bytesOf = (seq: number): number => Buffer.byteLength(bodyOf({ seen, guard, report: { seq, reason: 'heartbeat' } }, counters));

  it('is at most 1 KiB in five of six, and at most 1.3 in the sixth, which says everything', () => {
    for (const seq of [401, 403, 404, 405, 407]) expect(bytesOf(seq)).toBeLessThanOrEqual(1024);
    expect(bytesOf(402)).toBeLessThanOrEqual(1331);
  });
  it('names the three and counts the others', () => {
    const report = JSON.parse(bodyOf({ seen, report: { seq: 402, reason: 'heartbeat' } }, counters)) as { peers: unknown[]; idle_peers: number };
    expect([report.peers.length, report.idle_peers]).toEqual([3, 7]);
    expect(report.peers[0]).toMatchObject({ tags: ['tag:gateway'], last_handshake_at_ms: nowMs - 30_000 });
  });
});
