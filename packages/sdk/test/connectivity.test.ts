import type { ReportPeer, ReportV1 } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  advance,
  assess,
  type Connection,
  type ConnectionState,
  DEFAULT_THRESHOLDS,
  type Fact,
  NEXT,
  statusOfInstances,
} from '../src/domain/connectivity.ts';

const STATES = Object.keys(NEXT) as ConnectionState[];
const FACTS: readonly Fact[] = ['healthy', 'impaired', 'broken', 'silent'];
const at = (state: ConnectionState): Connection => ({ state, leaning: 0 });
const step = (connection: Connection, fact: Fact): Connection =>
  advance(connection, fact === 'healthy' ? { fact } : { fact, cause: 'control-plane' }, DEFAULT_THRESHOLDS);
const run = (start: Connection, facts: readonly Fact[]): Connection => facts.reduce(step, start);
const facts = fc.array(fc.constantFrom(...FACTS), { maxLength: 40 });

describe('connectivity machine', () => {
  it('K1: every state has an answer to every fact', () => {
    for (const state of STATES) for (const fact of FACTS) expect(STATES).toContain(NEXT[state][fact]);
  });

  it('K2: silence never leads to disconnected', () => {
    fc.assert(fc.property(facts, fc.constantFrom(...STATES), (before, start) => step(run(at(start), before), 'silent').state !== 'disconnected'));
    expect(step(at('connected'), 'silent').state).toBe('unknown');
    expect(step(at('disconnected'), 'silent').state).toBe('unknown');
  });

  it('K3: an instance that never worked stays attaching', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom<Fact>('broken', 'silent'), { maxLength: 20 }), (bad) => run(at('attaching'), bad).state === 'attaching'),
    );
  });

  it('K4: losing and regaining the connection shows with the first report', () => {
    expect(step(at('connected'), 'broken').state).toBe('disconnected');
    expect(step(at('degraded'), 'broken').state).toBe('disconnected');
    expect(step(at('disconnected'), 'healthy').state).toBe('connected');
    expect(step(at('unknown'), 'healthy').state).toBe('connected');
  });

  it('K5: connected and degraded change into each other only after patience heartbeats in a row', () => {
    expect(run(at('connected'), ['impaired', 'impaired']).state).toBe('connected');
    expect(run(at('connected'), ['impaired', 'impaired', 'impaired']).state).toBe('degraded');
    expect(run(at('connected'), ['impaired', 'impaired', 'healthy', 'impaired', 'impaired']).state).toBe('connected');
    expect(run(at('degraded'), ['healthy', 'healthy']).state).toBe('degraded');
    expect(run(at('degraded'), ['healthy', 'healthy', 'healthy']).state).toBe('connected');
  });

  it('K6: connected carries no cause, and a state that a report led to carries one', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...STATES),
        facts.filter(({ length }) => length > 0),
        (start, sequence) => {
          const { state, cause } = run(at(start), sequence);
          if (state === 'connected') return cause === undefined;
          return sequence.every((fact) => fact === 'healthy') || cause !== undefined || state === start;
        },
      ),
    );
  });

  it('K7: the last report repeated leads to one state and stays there', () => {
    fc.assert(
      fc.property(fc.constantFrom(...STATES), facts, fc.constantFrom(...FACTS), (start, before, last) => {
        const settled = run(run(at(start), before), Array<Fact>(DEFAULT_THRESHOLDS.patience + 1).fill(last));
        return run(settled, [last, last, last]).state === settled.state;
      }),
    );
  });
});

const router: ReportPeer = { id: 'n1', name: 'router', online: true, path: 'direct', latencyMs: 5, rxBytes: 1, txBytes: 1, routes: ['10.0.0.0/8'] };
const node: ReportV1['node'] = { reachable: true, backendState: 'Running', usable: true, ips: ['100.64.0.1'], health: [] };
const report = (change: Partial<ReportV1['node']>, peers: readonly ReportPeer[] = [router]): ReportV1 => ({
  v: 1,
  sidecarId: 's',
  podUid: 'p',
  agentVersion: '0',
  startId: 'a',
  startedAtMs: 0,
  seq: 0,
  sentAtMs: 0,
  reason: 'heartbeat',
  rxBytes: 0,
  txBytes: 0,
  peers,
  node: { ...node, ...change },
});

const { routes: _routes, ...laptop } = { ...router, id: 'n2', name: 'laptop' };
const warned = (code: string, impactsConnectivity: boolean): ReportV1 =>
  report({ health: [code], warnings: [{ code, severity: 'medium', ...(impactsConnectivity ? { impactsConnectivity } : {}) }] });

describe('assess', () => {
  const cases: readonly [string, ReportV1, string, string | undefined][] = [
    ['all is well', report({}), 'healthy', undefined],
    ['the daemon is gone', report({ reachable: false, usable: false }), 'broken', 'pod'],
    ['the daemon wants a login', report({ backendState: 'NeedsLogin', usable: false }), 'broken', 'key'],
    ['the daemon was stopped', report({ backendState: 'Stopped', usable: false }), 'broken', 'pod'],
    ['no relay answers', report({ usable: false, health: ['no-derp-connection'] }), 'broken', 'relay'],
    ['an online router does not answer', report({ usable: false }), 'broken', 'relay'],
    ['the only router is offline', report({ usable: false }, [{ ...router, online: false }]), 'broken', 'route'],
    ['there is no router', report({ usable: false }, []), 'broken', 'route'],
    ['control is gone and nothing answers', report({ usable: false, health: ['not-in-map-poll'] }, []), 'broken', 'control-plane'],
    ['control is gone, peers answer', report({ health: ['not-in-map-poll'] }), 'impaired', 'control-plane'],
    ['the way is relayed', report({}, [{ ...router, path: 'derp' }]), 'impaired', 'relay'],
    ['the way is slow', report({}, [{ ...router, latencyMs: 900 }]), 'impaired', 'relay'],
    ['the key expires within a day', report({ keyExpiresAtMs: 3_600_000 }), 'impaired', 'key'],
    ['the control link is gone, and the daemon does not warn yet', report({ controlLinked: false }), 'impaired', 'control-plane'],
    ['the daemon has lost its relay, and packets still pass', warned('no-derp-connection', true), 'healthy', undefined],
    ['the daemon says that connections suffer: forwarding', warned('ip-forwarding-off', true), 'impaired', 'route'],
    ['the daemon says that connections suffer: its own network', warned('no-udp4-bind', true), 'impaired', 'pod'],
    ['the daemon says that connections suffer, in a word of tomorrow', warned('of-tomorrow', true), 'impaired', 'pod'],
    ['the daemon is starting', warned('warming-up', true), 'healthy', undefined],
    ['a warning that connections do not suffer from', warned('update-available', false), 'healthy', undefined],
    ['full-size packets to a router get lost', report({}, [{ ...router, losesLargePackets: true }]), 'impaired', 'route'],
    ['full-size packets to another peer get lost', report({}, [router, { ...laptop, losesLargePackets: true }]), 'healthy', undefined],
    ['signs alone, even unknown ones', report({ signs: ['mtu', 'udp-offload', 'of-tomorrow'] }), 'healthy', undefined],
  ];
  it.each(cases)('%s', (_, given, fact, cause) => {
    expect(assess(given, 0, DEFAULT_THRESHOLDS)).toEqual(cause === undefined ? { fact } : { fact, cause });
  });

  it('K8: what a report does not tell is not held against it', () => {
    // As an agent without warnings, control link and sizes sends it: only codes that are known to matter count.
    expect(assess(report({ health: ['no-udp4-bind', 'no-derp-connection'] }), 0, DEFAULT_THRESHOLDS)).toEqual({ fact: 'healthy' });
    expect(assess(report({ warnings: [] }), 0, DEFAULT_THRESHOLDS)).toEqual(assess(report({}), 0, DEFAULT_THRESHOLDS));
  });

  it('a first relayed word counts as connected until it has stayed so', () => {
    const relayed = { fact: 'impaired', cause: 'relay' } as const;
    const first = advance(at('attaching'), relayed, DEFAULT_THRESHOLDS);
    expect(first.state).toBe('connected');
    const third = advance(advance(first, relayed, DEFAULT_THRESHOLDS), relayed, DEFAULT_THRESHOLDS);
    expect(third).toMatchObject({ state: 'degraded', cause: 'relay' });
  });
});

describe('statusOfInstances', () => {
  it('is the best instance, and attaching without any', () => {
    expect(statusOfInstances([])).toBe('attaching');
    expect(statusOfInstances(['unknown', 'connected', 'disconnected'])).toBe('connected');
    expect(statusOfInstances(['unknown', 'disconnected'])).toBe('disconnected');
  });
});
