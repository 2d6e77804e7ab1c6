import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REPORT_LIMITS, type ReportReason } from '@bifrost/types/core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { HttpIngest } from '../src/adapters/http/ingest.ts';
import { systemClock } from '../src/adapters/system/clock.ts';
import { Reporter } from '../src/reporter.ts';
import { ingestServer, refuse, take } from './support/ingest-server.ts';

const LONG_MS = 60_000;

async function reporting({ heartbeatMs = LONG_MS, random = 0 } = {}) {
  const stack = new AsyncDisposableStack();
  onTestFinished(() => stack.disposeAsync());
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-reporter-'));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'first-token\n');
  const server = stack.use(await ingestServer());
  const ingest = stack.use(new HttpIngest({ url: server.url, tokenFile, agentVersion: '0' }));
  const logs: string[] = [];
  const build = ({ seq, reason }: { seq: number; reason: ReportReason }) => JSON.stringify({ v: 1, seq, reason });
  const clock = { ...systemClock, random: () => random };
  const logger = { log: (_: string, message: string, fields = {}) => void logs.push(`${message} ${JSON.stringify(fields)}`) };
  const reporter = new Reporter({ ingest, clock, logger, heartbeatMs, build });
  const stop = new AbortController();
  const run = () => {
    const running = reporter.run({ signal: stop.signal });
    stack.defer(() => {
      stop.abort();
      return running;
    });
    return running;
  };
  return { server, reporter, stop, run, logs, tokenFile, ingest };
}

describe('Reporter', () => {
  it('sends at once, in order, with the token as it is now', async () => {
    const { server, reporter, run, tokenFile } = await reporting();
    reporter.push('start');
    void run();
    reporter.push('change');
    await vi.waitFor(() => expect(server.taken).toHaveLength(2));
    writeFileSync(tokenFile, 'renewed');
    reporter.push('change');
    await vi.waitFor(() => expect(server.taken).toHaveLength(3));
    expect(server.seqs()).toEqual([0, 1, 2]);
    expect(server.reasons()).toEqual(['start', 'change', 'change']);
    expect(server.taken.map(({ authorization }) => authorization)).toEqual(['Bearer first-token', 'Bearer first-token', 'Bearer renewed']);
  });
  it('beats at the interval that the manager wishes, and the first time at its own', async () => {
    const { server, reporter, run } = await reporting({ heartbeatMs: 100 });
    server.behave = (response) => response.end('{"v":1,"next_heartbeat_ms":150}');
    reporter.push('start');
    void run();
    // The next comes by itself, maybe before anybody looks.
    await vi.waitFor(() => expect(server.reasons().slice(0, 4)).toEqual(['start', 'heartbeat', 'heartbeat', 'heartbeat']));
    expect(reporter.intervalMs).toBe(150);
    server.behave = (response) => response.end('{"v":1,"next_heartbeat_ms":1}');
    reporter.push('change');
    await vi.waitFor(() => expect(reporter.intervalMs).toBe(100)); // never below the bound
    server.behave = (response) => response.end('{"v":1,"next_heartbeat_ms":99999999}');
    reporter.push('change');
    await vi.waitFor(() => expect(reporter.intervalMs).toBe(300_000));
  });
  it('each report stands for a heartbeat', async () => {
    const { server, reporter, run } = await reporting({ heartbeatMs: 1_500, random: 1 });
    server.behave = (response) => response.end('{"v":1}');
    reporter.push('start');
    void run();
    const since = performance.now();
    while (performance.now() - since < 2_000) {
      reporter.push('change');
      await vi.waitFor(() => expect(reporter.counts.buffered).toBe(0));
    }
    expect(server.reasons()).not.toContain('heartbeat');
  });
  it('an outage: keeps the changes, tells them afterwards in order, none twice', async () => {
    const { server, reporter, run, logs } = await reporting();
    reporter.push('start');
    void run();
    await vi.waitFor(() => expect(server.taken).toHaveLength(1));
    await server.down();
    for (const reason of ['change', 'heartbeat', 'change', 'heartbeat'] as const) reporter.push(reason);
    await vi.waitFor(() => expect(reporter.counts.failed).toBeGreaterThan(1), 3000);
    expect(reporter.counts).toMatchObject({ buffered: 3, superseded: 1 });
    await server.up();
    await vi.waitFor(() => expect(server.seqs()).toEqual([0, 1, 3, 4]), 5000);
    expect(logs).toEqual(['manager does not take reports {"reason":"ECONNREFUSED"}', 'manager takes reports again {"buffered":2}']);
  });
  it('bug: however long the manager was away, it hears of us within its patience of a few heartbeats', async () => {
    const { server, reporter, run } = await reporting({ heartbeatMs: 400 });
    await server.down();
    reporter.push('start');
    void run();
    await vi.waitFor(() => expect(reporter.counts.failed).toBeGreaterThan(5), 5000);
    await server.up();
    await vi.waitFor(() => expect(server.seqs()).toContain(0), 1000);
  });
  it('a long outage costs bounded memory: the newest 32 are kept', async () => {
    const { server, reporter, run } = await reporting();
    await server.down();
    for (let count = 0; count < 1000; count += 1) reporter.push(count % 10 === 0 ? 'heartbeat' : 'change');
    expect(reporter.counts.buffered).toBe(32);
    await server.up();
    void run();
    await vi.waitFor(() => expect(server.taken).toHaveLength(32));
    expect(server.seqs().at(-1)).toBe(999);
    expect(server.seqs()).toEqual([...server.seqs()].sort((a, b) => a - b));
  });
  it.each([[400], [404], [413], [422]])('drops a report that is answered %i, and goes on', async (status) => {
    const { server, reporter, run } = await reporting();
    server.behave = (response, { report }) => (report.seq === 0 ? refuse(status) : take)(response, { report, authorization: undefined });
    reporter.push('start');
    reporter.push('change');
    void run();
    await vi.waitFor(() => expect(server.seqs()).toEqual([1]));
    expect(reporter.counts).toMatchObject({ refused: 1, buffered: 0 });
  });
  it.each([[401], [403], [408], [500], [503], [302]])('keeps a report that is answered %i', async (status) => {
    const { server, reporter, run } = await reporting();
    server.behave = refuse(status);
    reporter.push('start');
    void run();
    await vi.waitFor(() => expect(server.tried.length).toBe(1));
    server.behave = take;
    await vi.waitFor(() => expect(server.seqs()).toEqual([0]), 3000);
  });
  it('waits as long as Retry-After says, whatever else happens', async () => {
    const { server, reporter, run } = await reporting();
    server.behave = refuse(429, { 'retry-after': '1' });
    reporter.push('start');
    void run();
    await vi.waitFor(() => expect(server.tried).toHaveLength(1));
    const since = performance.now();
    server.behave = take;
    reporter.push('change');
    await vi.waitFor(() => expect(server.seqs()).toEqual([0, 1]), 3000);
    expect(performance.now() - since).toBeGreaterThan(900);
  });
  it('keeps trying while the token is not there, and never logs it', async () => {
    const { server, reporter, run, tokenFile, logs } = await reporting();
    rmSync(tokenFile);
    reporter.push('start');
    void run();
    await vi.waitFor(() => expect(logs).toEqual(['manager does not take reports {"reason":"token-missing"}']));
    writeFileSync(tokenFile, 'bad\u0000token-canary');
    await vi.waitFor(() => expect(reporter.counts.failed).toBeGreaterThan(1), 3000);
    writeFileSync(tokenFile, 'good-token-canary');
    await vi.waitFor(() => expect(server.taken[0]?.authorization).toBe('Bearer good-token-canary'), 5000);
    expect(logs.join()).not.toContain('canary');
  });
  it('stop: says so last, sends what waits first, leaves nothing behind', async () => {
    const { server, reporter, run, stop } = await reporting();
    reporter.push('start');
    const running = run();
    await vi.waitFor(() => expect(server.taken).toHaveLength(1));
    reporter.push('change');
    stop.abort();
    await running;
    expect(server.reasons()).toEqual(['start', 'change', 'stop']);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });
  it('stop: gives up after half a second with a manager that hangs, at once with one that is away', async () => {
    const { server, reporter, run, stop } = await reporting();
    server.behave = () => {};
    reporter.push('start');
    const running = run();
    await vi.waitFor(() => expect(server.tried).toHaveLength(1));
    const since = performance.now();
    stop.abort();
    await running;
    expect(performance.now() - since).toBeLessThan(900);
  });
});

describe('HttpIngest', () => {
  it('rejects with the reason itself on abort, before and half-way', async () => {
    const { server, ingest } = await reporting();
    const reason = new Error('left');
    await expect(ingest.send('{}', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(server.tried).toEqual([]);
    server.behave = () => {};
    const caller = new AbortController();
    const waiting = ingest.send('{}', { signal: caller.signal });
    await vi.waitFor(() => expect(server.tried).toHaveLength(1));
    caller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    expect(getEventListeners(caller.signal, 'abort')).toEqual([]);
  });
  it('an answer that is too long or no JSON is no wish', async () => {
    const { server, ingest } = await reporting();
    const { signal } = new AbortController();
    server.behave = (response) => response.end('[');
    expect(await ingest.send('{}', { signal })).toEqual({ kind: 'taken' });
    server.behave = (response) => response.end('x'.repeat(REPORT_LIMITS.maxAnswerBytes + 1));
    expect(await ingest.send('{}', { signal })).toEqual({ kind: 'later', reason: 'too-large' });
    server.behave = refuse(503, { 'retry-after': new Date(Date.now() + 60_000).toUTCString() });
    expect(await ingest.send('{}', { signal })).toMatchObject({ kind: 'later', reason: 'status-503', retryAfterMs: expect.any(Number) });
    server.behave = refuse(503, { 'retry-after': 'soon' });
    expect(await ingest.send('{}', { signal })).toEqual({ kind: 'later', reason: 'status-503' });
  });
});
