import { describe, expect, it } from 'vitest';
import { parseEnvironment, wedgeLimits } from '../src/domain/settings.ts';

const good = {
  BIFROST_SIDECAR_ID: 's-1',
  BIFROST_POD_UID: 'p-1',
  BIFROST_INGEST_URL: 'https://manager.bifrost.svc:8443/v1/reports',
  BIFROST_TOKEN_FILE: '/token',
};
const settingsOf = (part: Record<string, string>) => {
  const parsed = parseEnvironment({ ...good, ...part });
  return parsed.ok ? parsed.settings : parsed.issues.map(({ path }) => path);
};

describe('parseEnvironment', () => {
  it('fills in what is not said; empty is not said', () => {
    expect(settingsOf({ BIFROST_CA_FILE: '', BIFROST_HEARTBEAT_MS: '' })).toEqual({
      sidecarId: 's-1',
      podUid: 'p-1',
      ingestUrl: new URL(good.BIFROST_INGEST_URL),
      tokenFile: '/token',
      socketPath: '/var/run/tailscale/tailscaled.sock',
      listen: { host: '127.0.0.1', port: 9003 },
      heartbeatMs: 10_000,
      acceptRoutes: false,
      wedgedAfterMs: 60_000,
    });
  });
  it('a daemon without a state may wait three times as long as a silent one', () => {
    expect(wedgeLimits(60_000)).toEqual({ silenceMs: 60_000, noStateMs: 180_000, episodesPerHour: 3 });
  });
  it.each([
    ['BIFROST_LISTEN', '[::1]:9003', { listen: { host: '::1', port: 9003 } }],
    ['BIFROST_LISTEN', 'fd00::1:9003', { listen: { host: 'fd00::1', port: 9003 } }],
    ['BIFROST_LISTEN', '10.1.2.3:0', { listen: { host: '10.1.2.3', port: 0 } }],
    ['BIFROST_CA_FILE', '/ca.crt', { caFile: '/ca.crt' }],
    ['BIFROST_INGEST_URL', 'http://127.0.0.1:1/v1/reports', { ingestUrl: new URL('http://127.0.0.1:1/v1/reports') }],
    ['BIFROST_INGEST_URL', 'http://[::1]:1/', { ingestUrl: new URL('http://[::1]:1/') }],
    ['BIFROST_HEARTBEAT_MS', '100', { heartbeatMs: 100 }],
    ['BIFROST_ACCEPT_ROUTES', 'true', { acceptRoutes: true }],
    ['BIFROST_WEDGED_AFTER_MS', '3600000', { wedgedAfterMs: 3_600_000 }],
    ['BIFROST_GUARD_ORDER_FILE', '', {}],
  ])('%s=%s', (name, value, expected) => expect(settingsOf({ [name]: value })).toMatchObject(expected));

  it('has both files of the guard, or none', () => {
    const files = { BIFROST_GUARD_ORDER_FILE: '/order', BIFROST_GUARD_HOLDS_FILE: '/holds' };
    expect(settingsOf(files)).toMatchObject({ guardFiles: { order: '/order', holds: '/holds' } });
    expect(settingsOf({})).not.toHaveProperty('guardFiles');
    expect(settingsOf({ BIFROST_GUARD_ORDER_FILE: '/order' })).toEqual(['BIFROST_GUARD_HOLDS_FILE']);
    expect(settingsOf({ ...files, BIFROST_GUARD_ORDER_FILE: 'order' })).toEqual(['BIFROST_GUARD_ORDER_FILE']);
  });

  it.each([
    ['BIFROST_INGEST_URL', 'http://manager/v1/reports'],
    ['BIFROST_INGEST_URL', 'http://127.0.0.1.example.com/'],
    ['BIFROST_INGEST_URL', 'https://user:word@manager/'],
    ['BIFROST_INGEST_URL', 'manager'],
    ['BIFROST_LISTEN', 'host'],
    ['BIFROST_LISTEN', 'host:70000'],
    ['BIFROST_LISTEN', 'ho st:1'],
    ['BIFROST_HEARTBEAT_MS', '99'],
    ['BIFROST_HEARTBEAT_MS', '300001'],
    ['BIFROST_HEARTBEAT_MS', '1e3'],
    ['BIFROST_WEDGED_AFTER_MS', '999'],
    ['BIFROST_WEDGED_AFTER_MS', '10000000'],
    ['BIFROST_ACCEPT_ROUTES', 'yes'],
    ['BIFROST_TOKEN_FILE', 'token'],
    ['BIFROST_SIDECAR_ID', 'a b'],
    ['BIFROST_POD_UID', 'a\nb'],
    ['BIFROST_CA_FILE', 'ca.crt'],
  ])('refuses %s=%j by name, without its value', (name, value) => {
    expect(settingsOf({ [name]: value })).toEqual([name]);
    expect(JSON.stringify(parseEnvironment({ ...good, [name]: value }))).not.toContain(`"${value}"`);
  });
  it('names everything that is missing in one answer', () => {
    const parsed = parseEnvironment({ BIFROST_HEARTBEAT_MS: 'x' });
    expect(parsed.ok ? [] : parsed.issues).toEqual([
      { path: 'BIFROST_SIDECAR_ID', message: 'is missing' },
      { path: 'BIFROST_POD_UID', message: 'is missing' },
      { path: 'BIFROST_INGEST_URL', message: 'is missing' },
      { path: 'BIFROST_TOKEN_FILE', message: 'is missing' },
      { path: 'BIFROST_HEARTBEAT_MS', message: 'must be a whole number from 100 to 300000' },
    ]);
  });
});
