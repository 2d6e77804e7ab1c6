import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { backoffMs } from '../src/domain/backoff.ts';
import { TrafficCounters } from '../src/domain/counters.ts';
import { Pace } from '../src/domain/pace.ts';
import { PathHistory } from '../src/domain/paths.ts';
import { type QueuedReport, ReportQueue } from '../src/domain/report-queue.ts';
import { AGENT_VERSION } from '../src/version.ts';
import { peer } from './support/views.ts';

describe('TrafficCounters never go down', () => {
  const at = (rxBytes: number, txBytes = 0) => [peer({ id: 'a', rxBytes, txBytes })];
  it.each([
    ['growing', [10, 15, 15], 15],
    ['the daemon restarts', [10, 3, 5], 15],
    ['it restarts and passes the old figure unseen', [10, 20], 20],
    ['the peer leaves and comes back at zero', [10, undefined, 0, 4], 14],
    ['the peer leaves and comes back with more', [10, undefined, 12], 22],
  ])('%s', (_, seen, total) => {
    const counters = new TrafficCounters();
    let last = 0;
    for (const rx of seen) {
      counters.observe(rx === undefined ? [] : at(rx));
      expect(counters.total.rxBytes).toBeGreaterThanOrEqual(last);
      last = counters.total.rxBytes;
    }
    expect([last, counters.of('a').rxBytes]).toEqual([total, total]);
  });
  it('a daemon known to have ended starts at zero again', () => {
    const counters = new TrafficCounters();
    counters.observe(at(10));
    counters.daemonEnded();
    counters.observe(at(20));
    expect(counters.total).toEqual({ rxBytes: 30, txBytes: 0 });
  });
  it('what flowed before the agent started is not counted', () => {
    const counters = new TrafficCounters();
    counters.start(at(100, 50));
    counters.observe(at(101, 52));
    expect(counters.total).toEqual({ rxBytes: 1, txBytes: 2 });
  });
  it('forgets the oldest of very many that are gone, and keeps the sum', () => {
    const counters = new TrafficCounters();
    for (let round = 0; round < 50; round += 1)
      counters.observe(Array.from({ length: 100 }, (_, index) => peer({ id: `${round}-${index}`, rxBytes: 1 })));
    expect(counters.total.rxBytes).toBe(5000);
    expect(counters.of('0-0').rxBytes).toBe(0);
    expect(counters.of('49-99').rxBytes).toBe(1);
  });
});

describe('ReportQueue', () => {
  const report = (seq: number, reason: QueuedReport['reason'] = 'change') => ({ seq, reason, body: '' });
  const drain = (queue: ReportQueue) => {
    const seqs: number[] = [];
    for (let next = queue.take(); next; next = queue.take()) {
      seqs.push(next.seq);
      queue.settle(true);
    }
    return seqs;
  };
  it('a waiting heartbeat gives way to what comes after it; the one in flight stays', () => {
    const queue = new ReportQueue();
    queue.push(report(0, 'heartbeat'));
    queue.take();
    for (const [seq, reason] of [
      [1, 'heartbeat'],
      [2, 'change'],
      [3, 'heartbeat'],
      [4, 'heartbeat'],
    ] as const)
      queue.push(report(seq, reason));
    expect(queue.superseded).toBe(2);
    queue.settle(false);
    expect(drain(queue)).toEqual([0, 2, 4]);
  });
  it('without room the oldest go, never the one in flight', () => {
    const queue = new ReportQueue(3);
    queue.push(report(0, 'start'));
    queue.take();
    for (let seq = 1; seq < 6; seq += 1) queue.push(report(seq));
    expect([queue.size, queue.overflowed]).toEqual([3, 3]);
    queue.settle(false);
    expect(drain(queue)).toEqual([0, 4, 5]);
  });
});

describe('Pace', () => {
  it('lets a few through at once, then one in each gap, and recovers', () => {
    const pace = new Pace(3, 200);
    const passes = (nowMs: number): number => {
      const waitMs = pace.waitMs(nowMs);
      pace.take(nowMs + waitMs);
      return waitMs;
    };
    expect([0, 0, 0, 0, 200].map(passes)).toEqual([0, 0, 0, 200, 200]);
    expect([10_000, 10_000, 10_001].map(passes)).toEqual([0, 0, 0]);
  });
  it('whoever comes no more often than the gap never waits', () => {
    const pace = new Pace(1, 200);
    for (let nowMs = 0; nowMs < 5_000; nowMs += 200) {
      expect(pace.waitMs(nowMs)).toBe(0);
      pace.take(nowMs);
    }
  });
});

describe('PathHistory', () => {
  it('counts changes between working ways; silence in between is none', () => {
    const paths = new PathHistory();
    const seen = ['none', 'direct', 'none', 'direct', 'derp', 'derp', 'none', 'peer-relay'] as const;
    for (const [at, path] of seen.entries()) paths.observe('a', path, at);
    expect([paths.of('a'), paths.total]).toEqual([{ changes: 2, changedAtMs: 7 }, 2]);
    expect(paths.of('b')).toEqual({ changes: 0, changedAtMs: undefined });
    paths.keep(new Set(['b']));
    expect([paths.of('a').changes, paths.total]).toEqual([0, 2]);
  });
});

describe('a manager that is away for very long', () => {
  /** What is alive after a collection. */
  function heapBytes(): number {
    setFlagsFromString('--expose-gc');
    (runInNewContext('gc') as () => void)();
    return process.memoryUsage().heapUsed;
  }
  it('costs no more memory after a hundred thousand reports than after the first that fill the queue', () => {
    const queue = new ReportQueue();
    const report = (seq: number): QueuedReport => ({ seq, reason: seq % 10 === 0 ? 'change' : 'heartbeat', body: `${seq}`.padEnd(1_024, 'x') });
    for (let seq = 0; seq < 1_000; seq += 1) queue.push(report(seq));
    const before = heapBytes();
    for (let seq = 1_000; seq < 100_000; seq += 1) queue.push(report(seq));
    expect(heapBytes() - before).toBeLessThan(256 * 1024); // what it holds is 32 KiB
    expect([queue.size, queue.superseded + queue.overflowed]).toEqual([32, 100_000 - 32]);
  });
});

describe('backoffMs', () => {
  it.each([
    [{ attempt: 1, random: 0 }, 250],
    [{ attempt: 1, random: 1 }, 500],
    [{ attempt: 3, random: 1 }, 2000],
    [{ attempt: 99, random: 1 }, 15_000],
    [{ attempt: 1, random: 0, retryAfterMs: 7000 }, 7000],
    [{ attempt: 1, random: 0, retryAfterMs: 1e9 }, 300_000],
  ])('%j', (input, expected) => expect(backoffMs({ baseMs: 500, maxMs: 15_000, ...input })).toBe(expected));
});

it('AGENT_VERSION is the package version', () => {
  expect(AGENT_VERSION).toBe(JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version);
});
