import { Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { containerEnvironment, volumeFiles } from '../src/adapters/memory/pod-files.ts';
import type { RuntimePod } from '../src/adapters/memory/pod-runtime.ts';
import { podSecurityViolations } from '../src/adapters/memory/pod-security.ts';
import type { VolumeShape } from '../src/domain/pod-shape.ts';

function podWith(volumes: readonly VolumeShape[]): RuntimePod {
  const secrets: Readonly<Record<string, ReadonlyMap<string, Secret>>> = {
    key: new Map([
      ['authkey', new Secret('tskey-1')],
      ['ca.crt', new Secret('PEM')],
    ]),
  };
  return {
    namespace: 'acme',
    name: 'book-1',
    uid: 'u-1',
    workload: { kind: 'Deployment', namespace: 'acme', name: 'book', uid: 'w-1' },
    template: { metadata: { labels: { app: 'book' }, annotations: { note: 'n' } }, spec: { containers: [], volumes } },
    serviceAccountToken: new Secret('token-1'),
    readSecret: (name) => secrets[name],
    onSecretChange: () => ({ [Symbol.dispose]: () => {} }),
  };
}

const revealed = (files: ReadonlyMap<string, Secret>) => Object.fromEntries([...files].map(([path, value]) => [path, value.reveal()]));

describe('volumeFiles', () => {
  it('gives all keys of a secret volume, or its items only', () => {
    const whole = podWith([{ name: 'v', secret: { secretName: 'key' } }]);
    expect(revealed(volumeFiles(whole, 'v'))).toEqual({ authkey: 'tskey-1', 'ca.crt': 'PEM' });
    const items = podWith([{ name: 'v', secret: { secretName: 'key', items: [{ key: 'authkey', path: 'a/b' }] } }]);
    expect(revealed(volumeFiles(items, 'v'))).toEqual({ 'a/b': 'tskey-1' });
  });

  it('gives the token and the Secrets of a projected volume', () => {
    const sources = [
      { serviceAccountToken: { audience: 'bifrost', path: 'token' } },
      { secret: { name: 'key', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    ];
    expect(revealed(volumeFiles(podWith([{ name: 'v', projected: { sources } }]), 'v'))).toEqual({ token: 'token-1', 'ca.crt': 'PEM' });
  });

  it('refuses a Secret or key that lacks, unless it is optional; other volumes are empty', () => {
    const lacking = [
      { name: 'absent', secret: { secretName: 'absent' } },
      { name: 'key', secret: { secretName: 'key', items: [{ key: 'other', path: 'other' }] } },
    ];
    const pod = podWith([...lacking, { name: 'optional', secret: { secretName: 'absent', optional: true } }, { name: 'empty', emptyDir: {} }]);
    for (const { name } of lacking) expect(() => volumeFiles(pod, name)).toThrow(expect.objectContaining({ code: 'CLUSTER_REJECTED' }));
    for (const name of ['optional', 'empty', 'nothing']) expect(volumeFiles(pod, name).size).toBe(0);
  });
});

describe('containerEnvironment', () => {
  it('resolves values, fields, Secrets and what came before', () => {
    const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
    const env = [
      { name: 'PLAIN', value: '' },
      field('POD_IP', 'status.podIP'),
      field('UID', 'metadata.uid'),
      field('LABEL', "metadata.labels['app']"),
      field('UNKNOWN', 'status.other'),
      { name: 'KEY', valueFrom: { secretKeyRef: { name: 'key', key: 'authkey' } } },
      { name: 'LISTEN', value: '$(POD_IP):9003 $(LATER) $$(POD_IP)' },
    ];
    const resolved = containerEnvironment({ name: 'agent', env }, podWith([]), { podIp: '10.0.0.1', hostIp: '10.0.0.2' });
    expect(resolved).toEqual({
      PLAIN: '',
      POD_IP: '10.0.0.1',
      UID: 'u-1',
      LABEL: 'book',
      KEY: 'tskey-1',
      LISTEN: '10.0.0.1:9003 $(LATER) $(POD_IP)',
    });
  });
});

describe('podSecurityViolations', () => {
  const restricted = {
    allowPrivilegeEscalation: false,
    runAsNonRoot: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  };
  const template = (securityContext: object, rest: object = {}) => ({ spec: { containers: [{ name: 'c', securityContext }], ...rest } });

  it('privileged forbids nothing, restricted all that is not hardened', () => {
    expect(podSecurityViolations('privileged', template({ privileged: true }, { hostNetwork: true }))).toEqual([]);
    expect(podSecurityViolations('baseline', template({}))).toEqual([]);
    expect(podSecurityViolations('restricted', template({}))).toHaveLength(4);
    expect(podSecurityViolations('restricted', template(restricted))).toEqual([]);
  });

  it.each([
    ['NET_ADMIN', template({ capabilities: { add: ['NET_ADMIN'] } })],
    ['privileged', template({ privileged: true })],
    ['hostNetwork', template({}, { hostNetwork: true })],
    ['hostPath', template({}, { volumes: [{ name: 'tun', hostPath: { path: '/dev/net/tun' } }] })],
    ['host port', { spec: { containers: [{ name: 'c', ports: [{ containerPort: 1, hostPort: 1 }] }] } }],
    ['init container', { spec: { containers: [], initContainers: [{ name: 'init', securityContext: { capabilities: { add: ['NET_ADMIN'] } } }] } }],
  ])('baseline forbids %s', (_, forbidden) => {
    expect(podSecurityViolations('baseline', forbidden)).toHaveLength(1);
  });
});
