import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CHAIN, differences, FACTS, MANAGER, repliesOf } from './support/gateway-facts.ts';
import { at, listAt, type Manifest, manifestsIn, put, titleOf, yamlOf } from './support/manifests.ts';
import { root } from './support/source-files.ts';

const FOLDER = 'examples/deploy/envoy-gateway';
const BOOTSTRAP = 'examples/deploy/envoy/envoy.yaml';
const manifests = manifestsIn(FOLDER);
const bootstrap = yamlOf(BOOTSTRAP);
const ofKind = (kind: string): readonly Manifest[] => manifests.filter((manifest) => manifest.kind === kind);
const routes = [...ofKind('HTTPRoute'), ...ofKind('GRPCRoute')];

/** One change to a manifest each, and the facts that it must be found by. */
const PLANTED: ReadonlyArray<readonly [fact: string, title: string, path: string, value: unknown]> = [
  ['issuer of tokens', 'SecurityPolicy bifrost', 'jwt.providers.0.issuer', 'https://other.example.com'],
  ['audience of tokens', 'SecurityPolicy bifrost', 'jwt.providers.0.audiences', ['bifrost', 'other']],
  ['where claims are found', 'SecurityPolicy bifrost', 'jwt.providers.0.name', 'issuer'],
  ['callers without a token', 'SecurityPolicy bifrost', 'jwt.optional', false],
  ['callers without a token', 'SecurityPolicy bifrost', 'jwt.failOpen', true],
  ['calls per second', 'BackendTrafficPolicy bifrost', 'rateLimit.local.rules.0.limit.requests', 10_000],
  ['calls per second', 'BackendTrafficPolicy bifrost', 'rateLimit.local.rules.0.limit.unit', 'Minute'],
  ['size of a body', 'BackendTrafficPolicy bifrost-rest', 'requestBuffer.limit', '256Mi'],
  [
    'size of headers',
    'EnvoyProxy bifrost',
    'bootstrap.jsonPatches.0.value.static_layer',
    { 'envoy.reloadable_features.max_request_headers_count': 64 },
  ],
  [
    'number of headers',
    'EnvoyProxy bifrost',
    'bootstrap.jsonPatches.0.value.static_layer',
    { 'envoy.reloadable_features.max_request_headers_size_kb': 32 },
  ],
  ['number of connections', 'ClientTrafficPolicy bifrost', 'connection.connectionLimit', undefined],
  ['buffer of a caller’s connection', 'ClientTrafficPolicy bifrost', 'connection.bufferLimit', '4Ki'],
  ['buffer of a connection to the service', 'BackendTrafficPolicy bifrost', 'connection', undefined],
  ['streams of a connection', 'ClientTrafficPolicy bifrost', 'http2.maxConcurrentStreams', 100],
  ['window of a stream', 'ClientTrafficPolicy bifrost', 'http2.initialStreamWindowSize', '1Mi'],
  ['window of a connection', 'ClientTrafficPolicy bifrost', 'http2.initialConnectionWindowSize', '64Ki'],
  ['time for a quiet connection', 'ClientTrafficPolicy bifrost', 'timeout.http.idleTimeout', '1h'],
  ['time for headers', 'ClientTrafficPolicy bifrost', 'timeout.http.requestHeadersReceivedTimeout', undefined],
  ['time for a request to arrive', 'ClientTrafficPolicy bifrost', 'timeout.http.requestReceivedTimeout', '0s'],
  ['time for a quiet stream', 'ClientTrafficPolicy bifrost', 'timeout.http.streamIdleTimeout', '5s'],
  ['time to connect to the service', 'BackendTrafficPolicy bifrost', 'timeout.tcp.connectTimeout', '10s'],
  ['time for a call', 'BackendTrafficPolicy bifrost', 'timeout.http.requestTimeout', '30s'],
  ['streams over REST, which have no end', 'HTTPRoute bifrost-rest', 'rules.0.timeouts', undefined],
  ['streams over REST, which have no end', 'HTTPRoute bifrost-rest', 'rules.0.matches.0.path.value', '/api/v1/networks/events'],
  ['streams over gRPC, which have no end', 'BackendTrafficPolicy bifrost-grpc-streams', 'timeout.http.requestTimeout', '35s'],
  ['slashes in escapes', 'ClientTrafficPolicy bifrost', 'path.escapedSlashesAction', 'UnescapeAndForward'],
  ['slashes side by side', 'ClientTrafficPolicy bifrost', 'path.disableMergeSlashes', undefined],
  ['underscores in the names of headers', 'ClientTrafficPolicy bifrost', 'headers.withUnderscoresAction', 'Allow'],
  ['trailers over HTTP/1', 'ClientTrafficPolicy bifrost', 'http1.enableTrailers', true],
  ['headers that callers may not send', 'ClientTrafficPolicy bifrost', 'headers.earlyRequestHeaders.removeOnMatch.0.type', 'Exact'],
  ['headers that callers may not send', 'ClientTrafficPolicy bifrost', 'headers.earlyRequestHeaders.remove', ['forwarded']],
  ['whose word for an address counts', 'ClientTrafficPolicy bifrost', 'clientIPDetection', { xForwardedFor: { numTrustedHops: 1 } }],
  ['ids of requests', 'ClientTrafficPolicy bifrost', 'headers.requestID', 'Preserve'],
  ['counts of the proxy’s own limit in answers', 'ClientTrafficPolicy bifrost', 'headers.disableRateLimitHeaders', undefined],
  ['TLS', 'ClientTrafficPolicy bifrost', 'tls.minVersion', '1.0'],
  ['TLS', 'ClientTrafficPolicy bifrost', 'tls.clientValidation.mode', 'Request'],
  ['fields of the access log', 'EnvoyProxy bifrost', 'telemetry.accessLog.settings.0.format.json.path', '%REQ(:PATH)%'],
  ['fields of the access log', 'EnvoyProxy bifrost', 'telemetry.accessLog.settings.0.format.json.tenant', undefined],
];

describe('envoy.yaml and the manifests for Envoy Gateway', () => {
  it('say the same where both say it', () => {
    expect(differences(bootstrap, manifests)).toEqual([]);
  });

  it.each(PLANTED)('another %s is seen: %s %s', (fact, title, path, value) => {
    const changed = structuredClone(manifests) as Manifest[];
    put(changed.find((manifest) => titleOf(manifest) === title)?.spec, path, value);
    expect(differences(bootstrap, changed).map(({ name }) => name)).toEqual([fact]);
  });

  it('are seen to differ where it is the bootstrap that changes', () => {
    const changed = structuredClone(bootstrap);
    put(changed, `${MANAGER}.request_timeout`, '31s');
    put(changed, `${CHAIN}.transport_socket.typed_config.require_client_certificate`, true);
    expect(differences(changed, manifests).map(({ name }) => name)).toEqual(['time for a request to arrive', 'TLS']);
  });

  it('have every fact planted at least once', () => {
    expect(FACTS.map(({ name }) => name).filter((name) => !PLANTED.some(([fact]) => fact === name))).toEqual([]);
  });

  it('answer a REST caller in the same words', () => {
    const overrides = listAt(manifests.find((one) => titleOf(one) === 'BackendTrafficPolicy bifrost-rest')?.spec, 'responseOverride');
    const own = overrides.map((one) => [at(one, 'match.statusCodes.0.value'), JSON.parse(String(at(one, 'response.body.inline')))] as const);
    expect(overrides.map((one) => [at(one, 'source'), at(one, 'response.contentType')])).toEqual(own.map(() => ['Local', 'application/json']));
    expect(own.map(([status]) => status)).toEqual([401, 403, 408, 413, 429, 503, 504]);
    const behind = repliesOf(bootstrap);
    expect(own.map(([, body]) => body)).toEqual(own.map(([status]) => behind[Number(status)]));
  });
});

describe(FOLDER, () => {
  it('applies all of its files', () => {
    const resources = listAt(yamlOf(`${FOLDER}/kustomization.yaml`), 'resources');
    const titles = resources.flatMap((file) => [...readFileSync(join(root, FOLDER, String(file)), 'utf8').matchAll(/^kind: /gm)]);
    expect(titles.length).toBe(manifests.length);
  });

  it('patches no configuration of Envoy Gateway’s own making, and makes no Secret', () => {
    const kinds = ['EnvoyPatchPolicy', 'EnvoyExtensionPolicy', 'Secret', 'ConfigMap', 'Backend'];
    expect(manifests.filter(({ kind }) => kinds.includes(kind))).toEqual([]);
  });

  it('sends everything to the Envoy beside the manager, over TLS that it checks', () => {
    const references = routes.flatMap((route) => listAt(route.spec, 'rules').flatMap((rule) => listAt(rule, 'backendRefs')));
    const [port] = yamlOf('examples/deploy/envoy/port.yaml') as readonly unknown[];
    expect(references).toEqual(references.map(() => ({ name: 'bifrost', port: at(port, 'value.port') })));
    expect(at(ofKind('BackendTLSPolicy')[0]?.spec, 'targetRefs.0')).toEqual({
      group: '',
      kind: 'Service',
      name: 'bifrost',
      sectionName: at(port, 'value.name'),
    });
    expect(at(ofKind('BackendTLSPolicy')[0]?.spec, 'validation.hostname')).toBe('bifrost.bifrost.svc.cluster.local');
  });

  it('routes what outside callers have, and nothing else', () => {
    const paths = ofKind('HTTPRoute').flatMap((route) => listAt(route.spec, 'rules').flatMap((rule) => listAt(rule, 'matches')));
    expect(paths.map((match) => at(match, 'path.value'))).toEqual([
      '/api/v1/networks/(events|tailnets/[^/]+/events)',
      '/api/v1/networks',
      '/openapi.json',
      '/docs',
    ]);
    const services = ofKind('GRPCRoute').flatMap((route) => listAt(route.spec, 'rules').flatMap((rule) => listAt(rule, 'matches')));
    expect(new Set(services.map((match) => at(match, 'method.service')))).toEqual(
      new Set(['bifrost.network.v1.NetworkManager', 'grpc.health.v1.Health']),
    );
    expect(services.every((match) => at(match, 'method.service') !== undefined)).toBe(true);
  });

  it('gives names of hosts to HTTPRoutes or to GRPCRoutes, never to both', () => {
    const namesOf = (kind: string) => ofKind(kind).flatMap((route) => listAt(route.spec, 'hostnames'));
    expect(namesOf('HTTPRoute').filter((name) => namesOf('GRPCRoute').includes(name))).toEqual([]);
    const listeners = listAt(ofKind('Gateway')[0]?.spec, 'listeners');
    expect(new Set(listeners.map((listener) => at(listener, 'hostname')))).toEqual(new Set([...namesOf('HTTPRoute'), ...namesOf('GRPCRoute')]));
    expect(listeners.map((listener) => at(listener, 'protocol'))).toEqual(listeners.map(() => 'HTTPS'));
    // One certificate for both would let clients send the calls of one name over the connection of the other.
    expect(new Set(listeners.map((listener) => at(listener, 'tls.certificateRefs.0.name'))).size).toBe(2);
  });

  it('tries no call again', () => {
    expect(ofKind('BackendTrafficPolicy').filter(({ spec }) => at(spec, 'retry') !== undefined)).toEqual([]);
    expect(routes.filter(({ spec }) => listAt(spec, 'rules').some((rule) => at(rule, 'retry') !== undefined))).toEqual([]);
  });

  it('makes no header of a claim or a certificate, holds no key, and opens no other origin', () => {
    const [security] = ofKind('SecurityPolicy');
    expect(ofKind('SecurityPolicy').length).toBe(1);
    expect(Object.keys(security?.spec as object).sort()).toEqual(['jwt', 'targetRefs']);
    expect(listAt(security?.spec, 'jwt.providers').map((provider) => at(provider, 'claimToHeaders'))).toEqual([undefined]);
    expect(at(ofKind('ClientTrafficPolicy')[0]?.spec, 'headers.xForwardedClientCert')).toEqual({ mode: 'Sanitize' });
    expect(at(ofKind('Gateway')[0]?.spec, 'tls.backend')).toBeUndefined();
  });

  it('has policies only for what is there, and merges those of routes into the Gateway’s', () => {
    const titles = [...manifests.map(titleOf), 'Service bifrost'];
    const policies = manifests.filter(({ spec }) => at(spec, 'targetRefs') !== undefined);
    const targets = policies.flatMap((policy) => listAt(policy.spec, 'targetRefs').map((target) => `${at(target, 'kind')} ${at(target, 'name')}`));
    expect(targets.length).toBeGreaterThan(5);
    expect(targets.filter((target) => !titles.includes(target))).toEqual([]);
    const merging = ofKind('BackendTrafficPolicy').map(({ spec }) => [at(spec, 'targetRefs.0.kind'), at(spec, 'mergeType')]);
    expect(merging).toEqual([
      ['Gateway', undefined],
      ['HTTPRoute', 'StrategicMerge'],
      ['GRPCRoute', 'StrategicMerge'],
    ]);
  });
});
