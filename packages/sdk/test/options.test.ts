import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MemoryCluster } from '../src/adapters/memory/cluster.ts';
import { MemoryControlPlane } from '../src/adapters/memory/control-plane.ts';
import { MemoryStore } from '../src/adapters/memory/store.ts';
import { NetworkManager } from '../src/manager/network-manager.ts';
import { type NetworkManagerOptions, resolveSettings } from '../src/manager/options.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';
import { IMAGES } from './support/world.ts';

const clock = new ManualClock();
const minimal: NetworkManagerOptions = {
  cluster: new MemoryCluster({ clock }),
  store: new MemoryStore({ clock }),
  controlPlane: new MemoryControlPlane(),
  images: IMAGES,
  ingest: { url: 'https://bifrost.bifrost.svc/v1/reports' },
};
const resolve = (change: object): unknown => resolveSettings({ ...minimal, ...change } as NetworkManagerOptions);
function pathsOf(change: object): readonly string[] {
  try {
    resolve(change);
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    return (error as { issues: { path: string }[] }).issues.map(({ path }) => path);
  }
  return [];
}

describe('options of the manager', () => {
  it('each documented @default is the default', () => {
    const settings = resolve({}) as Record<string, unknown>;
    const source = readFileSync(new URL('../src/manager/options.ts', import.meta.url), 'utf8');
    const documented = [...source.matchAll(/@default (.+?) \*\/\s+readonly (\w+)\?/g)];
    expect(documented.length).toBeGreaterThanOrEqual(10);
    for (const [, value = '', name = ''] of documented) expect([name, settings[name]]).toEqual([name, JSON.parse(value.replaceAll("'", '"'))]);
  });

  it.each([
    [{ images: { ...IMAGES, agent: 'agent:latest' } }, ['images.agent']],
    [{ images: undefined }, ['images']],
    [{ ingest: { url: 'http://bifrost.bifrost.svc/v1/reports' } }, ['ingest.url']],
    [{ ingest: { url: 'ftp://localhost/x' } }, ['ingest.url']],
    [{ ingest: { url: 'no url' } }, ['ingest.url']], // bug: a TypeError that quoted it
    [{ deviceTags: [] }, ['deviceTags']],
    [{ tenancy: 'shared' }, ['sharedCredentialSecretName']],
    [{ sharedCredentialSecretName: '../up' }, ['sharedCredentialSecretName']],
    [{ deviceTags: ['book'] }, ['deviceTags.0']],
    [{ nodeAttributes: ['funnel', 'a b'] }, ['nodeAttributes.1']],
    [{ heartbeatMs: 99, resyncMs: 1.5 }, ['heartbeatMs', 'resyncMs']],
    [{ silenceMs: 9_000 }, ['silenceMs']],
    [{ concurrency: 0 }, ['concurrency']],
    [{ retainedEvents: 0 }, ['retainedEvents']],
    [{ keyLifetimeSeconds: 7_776_001 }, ['keyLifetimeSeconds']],
    [{ systemNamespace: 'Bifrost' }, ['systemNamespace']],
    [{ loginServer: 'https://x --ssh' }, ['loginServer']],
    [{ store: undefined, cluster: undefined }, ['cluster', 'store']],
    [{ thresholds: { patience: 0 } }, ['thresholds.patience']],
    [{ clusterRanges: { pods: ['10.244.0.0/16; reboot'], services: [], nodes: ['x'] } }, ['clusterRanges.pods.0', 'clusterRanges.nodes.0']], // bug: any text went into the guard's script
    [{ networkPolicies: 'on' }, ['networkPolicies']],
    [
      { networkPolicyEndpoints: { dns: [{ at: [{ kind: 'networks', networks: ['10.0.0.1', 'x'] }], ports: [{ protocol: 'tcp', port: 0 }] }] } },
      ['networkPolicyEndpoints.dns.0.at.0.networks.1', 'networkPolicyEndpoints.dns.0.ports.0.port'],
    ],
    [{ networkPolicyEndpoints: { relay: [] } }, ['networkPolicyEndpoints']],
    [{ heartBeatMs: 100 }, ['heartBeatMs']], // bug: a misspelt option vanished
  ])('%j: says which fields are wrong', (change, paths) => {
    expect(pathsOf(change)).toEqual(paths);
  });

  it.each(['http://127.0.0.1:8080/v1/reports', 'http://localhost/v1/reports', 'http://[::1]:1/v1/reports'])('takes http on loopback: %s', (url) => {
    expect(pathsOf({ ingest: { url } })).toEqual([]);
  });

  it('bug: a threshold set to undefined is the default', () => {
    expect(resolve({ thresholds: { slowMs: undefined, patience: 5 } })).toMatchObject({
      thresholds: { slowMs: 500, patience: 5, keyExpiryMs: 86_400_000 },
    });
  });

  it('leaves the caller’s object alone and does not follow its later changes', () => {
    const deviceTags = ['tag:one'];
    const given = { ...minimal, deviceTags };
    const settings = resolveSettings(given);
    deviceTags.push('tag:two');
    expect(settings.deviceTags).toEqual(['tag:one']);
    expect(Object.isFrozen(settings)).toBe(true);
    expect(given).toEqual({ ...minimal, deviceTags });
  });

  it('no options at all is a coded refusal', () => {
    expect(() => new NetworkManager(undefined as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
  });
});
