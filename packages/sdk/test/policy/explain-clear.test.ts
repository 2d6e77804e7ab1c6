import { type IpAddress, parseAddress } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { type ClearSurroundings, clearStep } from '../../src/domain/policy/explain-clear.ts';
import type { JudgedPod } from '../../src/domain/policy/judge-network-policy.ts';
import { CLUSTER_DNS, networkPoliciesOf, shapeOf } from '../../src/domain/policy/network-policies.ts';

const pod = (namespace: string, labels: Readonly<Record<string, string>>, address: string): JudgedPod => ({
  ...{ namespace, labels, namespaceLabels: { 'kubernetes.io/metadata.name': namespace } },
  addresses: [parseAddress(address) as IpAddress],
});
const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['192.0.2.1/32'] };
const ingest = {
  at: [{ kind: 'pods' as const, namespaceLabels: { 'kubernetes.io/metadata.name': 'bifrost' }, podLabels: { app: 'bifrost' } }],
  ports: [{ protocol: 'tcp' as const, port: 'reports' }],
};
const ours = networkPoliciesOf({
  ...{ sidecarId: 'f00d', namespace: 'acme', ranges, dns: [CLUSTER_DNS], ingest: [ingest], relays: [], withheld: ['169.254.169.254/32'] },
  control: [{ at: [{ kind: 'outside' }], ports: [{ protocol: 'tcp', port: 443 }] }],
}).map((manifest) => ({ ...shapeOf(manifest), namespace: 'acme' }));
const OURS = 'acme/bifrost-f00d-egress';
const foreign = pod('other', { app: 'book', 'bifrost.dev/sidecar-id': 'cafe' }, '10.244.1.5');
const input: ClearSurroundings = {
  ...{ to: '203.0.113.9', port: 443, protocol: 'tcp', policies: ours, ranges, enforced: true, toPod: undefined },
  from: pod('acme', { app: 'book', 'bifrost.dev/sidecar-id': 'f00d' }, '10.244.1.1'),
};
/** Lets all of the namespaces with this label. */
const byNamespace = (key: string) => ({
  ...{ name: 'more', namespace: 'acme', podSelector: {}, policyTypes: ['Egress'], ingress: [] },
  egress: [{ to: [{ namespaceSelector: { matchLabels: { [key]: 'other' } } }] }],
});

describe('what NetworkPolicies do with a packet that leaves the pod in clear', () => {
  it.each<[string, Partial<ClearSurroundings>, string, string | undefined]>([
    ['one that is let', {}, 'leaves', OURS],
    ['one that is not', { port: 80 }, 'stops', OURS],
    ['one to a withheld address', { to: '169.254.169.254', port: 9, protocol: 'udp' }, 'stops', OURS],
    ['its neighbour, which is not withheld', { to: '169.254.169.253', port: 9, protocol: 'udp' }, 'leaves', OURS],
    ['one that is not, where nobody says that policies are enforced', { port: 80, enforced: false }, 'unknown', OURS],
    ['one to a Service', { to: '10.96.0.10', port: 53, protocol: 'udp' }, 'unknown', OURS],
    ['one to a node, which may be the pod’s own', { to: '192.0.2.1', port: 10250 }, 'unknown', OURS],
    ['one to a pod that nobody knows, at a port that some selector is let', { to: '10.244.9.9', port: 53, protocol: 'udp' }, 'unknown', OURS],
    ['one to a pod that nobody knows, at a port that none is', { to: '10.244.9.9', port: 5353, protocol: 'udp' }, 'stops', OURS],
    ['one to a pod that nobody knows, at a port that may have the name', { to: '10.244.9.9', port: 9999 }, 'unknown', OURS],
    ['one to another customer’s book', { to: '10.244.1.5', port: 9999, toPod: foreign }, 'stops', OURS],
    [
      'the same where a policy lets by its namespace’s name',
      { to: '10.244.1.5', port: 9, toPod: foreign, policies: [...ours, byNamespace('kubernetes.io/metadata.name')] },
      'leaves',
      'acme/more',
    ],
    [
      'the same where a policy lets by a label of its namespace',
      { to: '10.244.1.5', port: 9, toPod: foreign, policies: [...ours, byNamespace('team')] },
      'unknown',
      OURS,
    ],
    [
      'one to a pod that the asker may not know of, which nothing known stops',
      { to: '10.244.9.9', hidesPods: true, policies: [] },
      'unknown',
      undefined,
    ],
    ['the same where its own policy stops it', { to: '10.244.9.9', port: 5353, protocol: 'udp', hidesPods: true }, 'stops', OURS],
    ['one out of the cluster, whatever the asker may know of', { hidesPods: true }, 'leaves', OURS],
    [
      'one that may be a pod’s, where ranges are not known',
      { to: '203.0.113.9', port: 53, protocol: 'udp', ranges: undefined, policies: [{ ...byNamespace('team') }] },
      'unknown',
      'acme/more',
    ],
  ])('%s', (_, change, outcome, by) => {
    expect(clearStep({ ...input, ...change })).toEqual({ layer: 'network-policy', outcome, by, message: expect.stringMatching(/\w/) });
  });

  it.each<[string, Partial<ClearSurroundings>]>([
    ['no policy selects the pod', { policies: [] }],
    ['a policy selects another pod', { from: pod('acme', { app: 'other' }, '10.244.1.9'), port: 80 }],
    ['Kubernetes says nothing of icmp', { protocol: 'icmp' }],
  ])('is no step of its own where %s', (_, change) => {
    expect(clearStep({ ...input, ...change })).toBeUndefined();
  });
});
