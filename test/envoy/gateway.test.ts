import { describe, expect, it } from 'vitest';
import { type Manifest, manifestsIn, put, titleOf } from '../support/manifests.ts';
import { checker } from './support/crds.ts';

// Built once per machine, by Go.
const crds = checker();
/** Of Kubernetes itself: no custom resource. */
const BUILT_IN = ['NetworkPolicy'];
const manifests = manifestsIn('examples/deploy/envoy-gateway').filter(({ kind }) => !BUILT_IN.includes(kind));

/** One mistake each, and what is said of it. */
const MISTAKES: ReadonlyArray<readonly [mistake: string, title: string, path: string, value: unknown, complaint: RegExp]> = [
  ['a member that is not there', 'ClientTrafficPolicy bifrost', 'path.mergeSlashes', false, /^spec\.path\.mergeSlashes: no such member$/],
  [
    'a word that is not there',
    'ClientTrafficPolicy bifrost',
    'path.escapedSlashesAction',
    'Reject',
    /^spec\.path\.escapedSlashesAction: Unsupported/,
  ],
  ['a number for a duration', 'BackendTrafficPolicy bifrost', 'timeout.http.requestTimeout', 35, /^spec\.timeout\.http\.requestTimeout: .*string/],
  [
    'a duration in words',
    'ClientTrafficPolicy bifrost',
    'timeout.http.idleTimeout',
    '5 minutes',
    /^spec\.timeout\.http\.idleTimeout: .*should match/,
  ],
  ['a route without the name of its Gateway', 'GRPCRoute bifrost-grpc', 'parentRefs.0.name', undefined, /^spec\.parentRefs\[0\]\.name: Required/],
  // Rules across members, in CEL.
  ['a merge where nothing is above', 'BackendTrafficPolicy bifrost', 'mergeType', 'StrategicMerge', /mergeType can only be used with xRoute/],
  [
    'two ways to an address',
    'ClientTrafficPolicy bifrost',
    'clientIPDetection',
    { xForwardedFor: { numTrustedHops: 1 }, directSourceIP: {} },
    /exactly one of xForwardedFor, customHeader, or directSourceIP/,
  ],
  ['a backend without a port', 'HTTPRoute bifrost-rest', 'rules.1.backendRefs.0.port', undefined, /Must have port for Service reference/],
  ['two listeners of one name', 'Gateway bifrost', 'listeners.1.name', 'rest', /Listener name must be unique|Duplicate value/],
];

describe.skipIf(crds === undefined)('the manifests for Envoy Gateway, by the schemas and rules of its custom resources', () => {
  const complaintsOf = (list: readonly Manifest[]) => crds?.complaintsOf(list) ?? [];

  it('are what an API server takes', () => {
    expect(manifests.length).toBeGreaterThan(10);
    expect(complaintsOf(manifests)).toEqual(manifests.map(() => []));
  });

  it.each(MISTAKES)('%s is seen', (_mistake, title, path, value, complaint) => {
    const changed = structuredClone(manifests.find((manifest) => titleOf(manifest) === title));
    put(changed?.spec, path, value);
    expect(complaintsOf(changed ? [changed] : []).flat()).toContainEqual(expect.stringMatching(complaint));
  });

  it('know no resource of another name', () => {
    const [first] = manifests;
    expect(complaintsOf(first ? [{ ...first, kind: 'Gateways' }] : [])).toEqual([[expect.stringContaining('no such resource')]]);
  });
});
