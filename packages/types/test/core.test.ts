import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { BifrostError, CONNECTIVITY_EVENT_TYPES, CONNECTIVITY_WORDS, ERROR_CODES, fromWire, Secret, toWire, wirePath } from '../src/core/index.ts';

const GRPC_CODES = 16;

describe('error codes', () => {
  it.each(Object.entries(ERROR_CODES))('%s says whether to try again, and its status at both doors', (code, { retry, http, grpc }) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
    expect(['never', 'backoff']).toContain(retry);
    expect(http).toBeGreaterThanOrEqual(400);
    expect(http).toBeLessThan(600);
    expect(grpc).toBeGreaterThan(0);
    expect(grpc).toBeLessThanOrEqual(GRPC_CODES);
  });
});

describe('BifrostError', () => {
  const cause = new TypeError('low level');
  const error = new BifrostError({ code: 'CONTROL_RATE_LIMITED', message: 'wait', retryAfterMs: 1_500, cause, details: { tailnet: 'acme' } });

  it('begins its message with the code and keeps its cause', () => {
    expect(error.message).toBe('[CONTROL_RATE_LIMITED] wait');
    expect(error).toMatchObject({ name: 'BifrostError', code: 'CONTROL_RATE_LIMITED', retry: 'backoff', retryAfterMs: 1_500, issues: [] });
    expect(error.cause).toBe(cause);
    expect(error).toBeInstanceOf(Error);
  });
  it('shows doors everything but the cause', () => {
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      code: 'CONTROL_RATE_LIMITED',
      message: '[CONTROL_RATE_LIMITED] wait',
      issues: [],
      details: { tailnet: 'acme' },
      retry: 'backoff',
      runbook: 'docs/runbooks/CONTROL_RATE_LIMITED.md',
    });
  });
  it('has no cause unless one was given', () => {
    expect('cause' in new BifrostError({ code: 'WAIT_FAILED', message: 'x' })).toBe(false);
  });
  it('is known across copies of the package, and nothing else is', () => {
    expect(BifrostError.is({ [Symbol.for('bifrost.error')]: true })).toBe(true);
    for (const other of [cause, null, undefined, 'x', {}, { code: 'WAIT_FAILED' }]) expect(BifrostError.is(other)).toBe(false);
  });
});

describe('Secret', () => {
  const canary = 'tskey-auth-CANARY';
  const secret = new Secret(canary);
  it('prints as [secret] everywhere and reveals only when asked', () => {
    const prints = [
      `${secret}`,
      String(secret),
      `${[secret]}`,
      JSON.stringify({ secret }),
      inspect(secret),
      inspect({ deep: [secret] }, { showHidden: true, depth: 9 }),
    ];
    for (const print of prints) {
      expect(print).toContain('[secret]');
      expect(print).not.toContain('CANARY');
    }
    expect(JSON.stringify(Object.entries(secret))).toBe('[]');
    expect(secret.reveal()).toBe(canary);
  });
});

describe('the wire form', () => {
  it('has snake_case names, RFC 3339 times, int64 as text, and no undefined members', () => {
    const value = { tailnetName: 'a', bytesSent: 5n, at: new Date(0), later: new Date(1), none: undefined, list: [{ isOn: true }], nothing: null };
    expect(toWire(value)).toEqual({
      ...{ tailnet_name: 'a', bytes_sent: '5', at: '1970-01-01T00:00:00Z', later: '1970-01-01T00:00:00.001Z' },
      ...{ list: [{ is_on: true }], nothing: null },
    });
  });
  it('leaves the names of free maps alone, both ways', () => {
    expect(toWire({ details: { podName: 'x', pod_uid: 'y' } })).toEqual({ details: { podName: 'x', pod_uid: 'y' } });
    expect(fromWire({ details: { podName: 'x', pod_uid: 'y' } })).toEqual({ details: { podName: 'x', pod_uid: 'y' } });
  });
  it('reads names back', () => {
    expect(fromWire({ rx_bytes: 1, node: { home_derp: 'fra' }, peers: [{ last_handshake_at_ms: 2 }] })).toEqual({
      ...{ rxBytes: 1, node: { homeDerp: 'fra' }, peers: [{ lastHandshakeAtMs: 2 }] },
    });
  });
  it.each([
    ['', ''],
    ['tailnetName', 'tailnet_name'],
    ['config.allowedNetworks.0', 'config.allowed_networks.0'],
    ['credential.secretName', 'credential.secret_name'],
    ['config.accept_route', 'config.accept_route'],
    ['details.podName', 'details.podName'],
    ['spec.template.spec.initContainers.0.name', 'spec.template.spec.initContainers.0.name'],
    ['spec', 'spec'],
  ])('writes the path %j as %j: ours as toWire does, those into a workload as they are', (path, wire) => {
    expect(wirePath(path)).toBe(wire);
  });
  it('an arriving prototype changes nothing', () => {
    const read = fromWire(JSON.parse('{"__proto__":{"polluted":1},"a_b":1}')) as Record<string, unknown>;
    expect(read).toEqual({ aB: 1 });
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

it('every event that reaches monitorConnectivity has one of the specification’s words', () => {
  for (const word of Object.values(CONNECTIVITY_WORDS)) expect(CONNECTIVITY_EVENT_TYPES).toContain(word);
});
