/** What `examples/deploy/envoy/envoy.yaml` and the manifests in `examples/deploy/envoy-gateway` both say, each in its own words. */
import { at, durationMs, listAt, type Manifest, sizeBytes, titleOf } from './manifests.ts';

interface Fact {
  readonly name: string;
  readonly bootstrap: (bootstrap: unknown) => unknown;
  readonly gateway: (manifests: readonly Manifest[]) => unknown;
}

export interface Difference {
  readonly name: string;
  readonly bootstrap: unknown;
  readonly gateway: unknown;
}

/** The proxy in front waits so much longer: what the one behind answers says more than its own reply. */
const PATIENCE_MS = 5_000;

export const CHAIN = 'static_resources.listeners.0.filter_chains.0';
export const MANAGER = `${CHAIN}.filters.0.typed_config`;
const LISTENER_TLS = `${CHAIN}.transport_socket.typed_config`;

const specOf = (manifests: readonly Manifest[], title: string): unknown => manifests.find((manifest) => titleOf(manifest) === title)?.spec;
const managerOf = (bootstrap: unknown, path: string): unknown => at(bootstrap, `${MANAGER}.${path}`);
const filterOf = (bootstrap: unknown, name: string): unknown =>
  listAt(bootstrap, `${MANAGER}.http_filters`).find((filter) => at(filter, 'name') === `envoy.filters.http.${name}`);
const routesOf = (bootstrap: unknown): readonly unknown[] => listAt(bootstrap, `${MANAGER}.route_config.virtual_hosts.0.routes`);
const providerOf = (manifests: readonly Manifest[]): unknown => at(specOf(manifests, 'SecurityPolicy bifrost'), 'jwt.providers.0');
const clientOf = (manifests: readonly Manifest[], path: string): unknown => at(specOf(manifests, 'ClientTrafficPolicy bifrost'), path);
const backendOf = (manifests: readonly Manifest[], path: string): unknown => at(specOf(manifests, 'BackendTrafficPolicy bifrost'), path);
const proxyLayerOf = (manifests: readonly Manifest[]): unknown =>
  at(specOf(manifests, 'EnvoyProxy bifrost'), 'bootstrap.jsonPatches.0.value.static_layer');

/** A setting of the connection manager that a ClientTrafficPolicy has too; `read` makes both comparable. */
const same = (name: string, manager: string, client: string, read: (value: unknown) => unknown = (value) => value): Fact => ({
  name,
  bootstrap: (bootstrap) => read(managerOf(bootstrap, manager)),
  gateway: (manifests) => read(clientOf(manifests, client)),
});
/** `REJECT_REQUEST` and `RejectRequest` are the same word. */
const word = (value: unknown): string => String(value).toLowerCase().replaceAll('_', '');

const tokens: readonly Fact[] = [
  {
    name: 'issuer of tokens',
    bootstrap: (bootstrap) => at(filterOf(bootstrap, 'jwt_authn'), 'typed_config.providers.issuer.issuer'),
    gateway: (manifests) => at(providerOf(manifests), 'issuer'),
  },
  {
    name: 'audience of tokens',
    bootstrap: (bootstrap) => at(filterOf(bootstrap, 'jwt_authn'), 'typed_config.providers.issuer.audiences'),
    gateway: (manifests) => at(providerOf(manifests), 'audiences'),
  },
  {
    name: 'where claims are found',
    bootstrap: (bootstrap) => at(filterOf(bootstrap, 'jwt_authn'), 'typed_config.providers.issuer.payload_in_metadata'),
    gateway: (manifests) => at(providerOf(manifests), 'name'),
  },
  {
    name: 'callers without a token',
    bootstrap: (bootstrap) => {
      const requirements = listAt(filterOf(bootstrap, 'jwt_authn'), 'typed_config.rules.3.requires.requires_any.requirements');
      return requirements.map((requirement) => Object.keys(requirement as object)[0]);
    },
    gateway: (manifests) => {
      const jwt = at(specOf(manifests, 'SecurityPolicy bifrost'), 'jwt');
      return [
        'provider_name',
        ...(at(jwt, 'optional') === true ? ['allow_missing'] : []),
        ...(at(jwt, 'failOpen') ? ['allow_missing_or_failed'] : []),
      ];
    },
  },
];

const limits: readonly Fact[] = [
  {
    name: 'calls per second',
    bootstrap: (bootstrap) => {
      const bucket = at(filterOf(bootstrap, 'local_ratelimit'), 'typed_config.token_bucket');
      return (Number(at(bucket, 'tokens_per_fill')) * 1_000) / durationMs(at(bucket, 'fill_interval'));
    },
    gateway: (manifests) => {
      const limit = at(backendOf(manifests, 'rateLimit'), 'local.rules.0.limit');
      return at(limit, 'unit') === 'Second' ? at(limit, 'requests') : limit;
    },
  },
  {
    name: 'size of a body',
    bootstrap: (bootstrap) => at(filterOf(bootstrap, 'ext_authz'), 'typed_config.with_request_body.max_request_bytes'),
    gateway: (manifests) => sizeBytes(at(specOf(manifests, 'BackendTrafficPolicy bifrost-rest'), 'requestBuffer.limit')),
  },
  {
    name: 'size of headers',
    bootstrap: (bootstrap) => managerOf(bootstrap, 'max_request_headers_kb'),
    gateway: (manifests) => (proxyLayerOf(manifests) as Record<string, unknown>)['envoy.reloadable_features.max_request_headers_size_kb'],
  },
  {
    name: 'number of headers',
    bootstrap: (bootstrap) => managerOf(bootstrap, 'common_http_protocol_options.max_headers_count'),
    gateway: (manifests) => (proxyLayerOf(manifests) as Record<string, unknown>)['envoy.reloadable_features.max_request_headers_count'],
  },
  {
    name: 'number of connections',
    bootstrap: (bootstrap) => at(bootstrap, 'overload_manager.resource_monitors.0.typed_config.max_active_downstream_connections'),
    gateway: (manifests) => clientOf(manifests, 'connection.connectionLimit.value'),
  },
  {
    name: 'buffer of a caller’s connection',
    bootstrap: (bootstrap) => at(bootstrap, 'static_resources.listeners.0.per_connection_buffer_limit_bytes'),
    gateway: (manifests) => sizeBytes(clientOf(manifests, 'connection.bufferLimit')),
  },
  {
    name: 'buffer of a connection to the service',
    bootstrap: (bootstrap) => at(bootstrap, 'static_resources.clusters.0.per_connection_buffer_limit_bytes'),
    gateway: (manifests) => sizeBytes(backendOf(manifests, 'connection.bufferLimit')),
  },
  same('streams of a connection', 'http2_protocol_options.max_concurrent_streams', 'http2.maxConcurrentStreams'),
  same('window of a stream', 'http2_protocol_options.initial_stream_window_size', 'http2.initialStreamWindowSize', sizeBytes),
  same('window of a connection', 'http2_protocol_options.initial_connection_window_size', 'http2.initialConnectionWindowSize', sizeBytes),
];

const timeouts: readonly Fact[] = [
  same('time for a quiet connection', 'common_http_protocol_options.idle_timeout', 'timeout.http.idleTimeout', durationMs),
  same('time for headers', 'request_headers_timeout', 'timeout.http.requestHeadersReceivedTimeout', durationMs),
  same('time for a request to arrive', 'request_timeout', 'timeout.http.requestReceivedTimeout', durationMs),
  same('time for a quiet stream', 'stream_idle_timeout', 'timeout.http.streamIdleTimeout', durationMs),
  {
    name: 'time to connect to the service',
    bootstrap: (bootstrap) => durationMs(at(bootstrap, 'static_resources.clusters.0.connect_timeout')),
    gateway: (manifests) => durationMs(backendOf(manifests, 'timeout.tcp.connectTimeout')),
  },
  {
    name: 'time for a call',
    bootstrap: (bootstrap) => {
      const route = routesOf(bootstrap).find((one) => at(one, 'match.prefix') === '/bifrost.network.v1.NetworkManager/');
      return durationMs(at(route, 'route.timeout')) + PATIENCE_MS;
    },
    gateway: (manifests) => durationMs(backendOf(manifests, 'timeout.http.requestTimeout')),
  },
  {
    name: 'streams over REST, which have no end',
    bootstrap: (bootstrap) => {
      const route = routesOf(bootstrap)[0];
      return { path: at(route, 'match.safe_regex.regex'), timeoutMs: durationMs(at(route, 'route.timeout')) };
    },
    gateway: (manifests) => {
      const rule = at(specOf(manifests, 'HTTPRoute bifrost-rest'), 'rules.0');
      return { path: at(rule, 'matches.0.path.value'), timeoutMs: durationMs(at(rule, 'timeouts.request')) };
    },
  },
  {
    name: 'streams over gRPC, which have no end',
    bootstrap: (bootstrap) => {
      const route = routesOf(bootstrap).find((one) => String(at(one, 'match.path')).startsWith('/bifrost.network.v1.NetworkManager/'));
      return { path: at(route, 'match.path'), timeoutMs: durationMs(at(route, 'route.timeout')) };
    },
    gateway: (manifests) => {
      const method = at(specOf(manifests, 'GRPCRoute bifrost-grpc-streams'), 'rules.0.matches.0.method');
      const timeout = at(specOf(manifests, 'BackendTrafficPolicy bifrost-grpc-streams'), 'timeout.http.requestTimeout');
      return { path: `/${at(method, 'service')}/${at(method, 'method')}`, timeoutMs: durationMs(timeout) };
    },
  },
];

const readings: readonly Fact[] = [
  same('slashes in escapes', 'path_with_escaped_slashes_action', 'path.escapedSlashesAction', word),
  {
    name: 'slashes side by side',
    bootstrap: (bootstrap) => managerOf(bootstrap, 'merge_slashes'),
    gateway: (manifests) => clientOf(manifests, 'path.disableMergeSlashes') !== true,
  },
  same('underscores in the names of headers', 'common_http_protocol_options.headers_with_underscores_action', 'headers.withUnderscoresAction', word),
  same('trailers over HTTP/1', 'http_protocol_options.enable_trailers', 'http1.enableTrailers'),
  {
    name: 'headers that callers may not send',
    bootstrap: (bootstrap) => {
      const mutations = listAt(bootstrap, `${MANAGER}.early_header_mutation_extensions.0.typed_config.mutations`);
      return mutations.map((one) => at(one, 'remove') ?? `${at(one, 'remove_on_match.key_matcher.prefix')}*`).sort();
    },
    gateway: (manifests) => {
      const early = clientOf(manifests, 'headers.earlyRequestHeaders');
      const matches = listAt(early, 'removeOnMatch').map((match) => (at(match, 'type') === 'Prefix' ? `${at(match, 'value')}*` : match));
      return [...listAt(early, 'remove'), ...matches].sort();
    },
  },
  {
    name: 'whose word for an address counts',
    bootstrap: (bootstrap) =>
      managerOf(bootstrap, 'use_remote_address') === true && managerOf(bootstrap, 'xff_num_trusted_hops') === 0 ? 'nobody’s' : 'other',
    gateway: (manifests) => (clientOf(manifests, 'clientIPDetection') === undefined ? 'nobody’s' : 'other'),
  },
  {
    name: 'ids of requests',
    bootstrap: (bootstrap) =>
      managerOf(bootstrap, 'generate_request_id') === true && managerOf(bootstrap, 'preserve_external_request_id') === false ? 'Generate' : 'other',
    gateway: (manifests) => clientOf(manifests, 'headers.requestID'),
  },
  {
    name: 'counts of the proxy’s own limit in answers',
    bootstrap: (bootstrap) => at(filterOf(bootstrap, 'local_ratelimit'), 'typed_config.enable_x_ratelimit_headers') === undefined,
    gateway: (manifests) => clientOf(manifests, 'headers.disableRateLimitHeaders') === true,
  },
  {
    name: 'TLS',
    bootstrap: (bootstrap) => ({
      least: word(at(bootstrap, `${LISTENER_TLS}.common_tls_context.tls_params.tls_minimum_protocol_version`)),
      protocols: at(bootstrap, `${LISTENER_TLS}.common_tls_context.alpn_protocols`),
      certificate: at(bootstrap, `${LISTENER_TLS}.require_client_certificate`) === false ? 'VerifyIfGiven' : 'RequireAndVerify',
    }),
    gateway: (manifests) => ({
      least: `tlsv1${String(clientOf(manifests, 'tls.minVersion')).slice(2)}`,
      protocols: clientOf(manifests, 'tls.alpnProtocols'),
      certificate: clientOf(manifests, 'tls.clientValidation.mode'),
    }),
  },
];

const logs: readonly Fact[] = [
  {
    name: 'fields of the access log',
    bootstrap: (bootstrap) => {
      // The method of gRPC that a path became: nothing is transcoded in front.
      const { grpc_method: _, ...fields } = managerOf(bootstrap, 'access_log.0.typed_config.log_format.json_format') as Record<string, unknown>;
      return fields;
    },
    gateway: (manifests) => {
      // The id that the proxy behind gave.
      const { service_request_id: _, ...fields } = at(
        specOf(manifests, 'EnvoyProxy bifrost'),
        'telemetry.accessLog.settings.0.format.json',
      ) as Record<string, unknown>;
      return fields;
    },
  },
];

/** The replies of the proxy in front have to be among those of the one behind. */
export function repliesOf(bootstrap: unknown): Readonly<Record<number, unknown>> {
  const mappers = listAt(bootstrap, `${MANAGER}.local_reply_config.mappers`).filter((mapper) => at(mapper, 'filter.and_filter') !== undefined);
  const statusOf = (mapper: unknown) => Number(at(mapper, 'filter.and_filter.filters.0.status_code_filter.comparison.value.default_value'));
  return Object.fromEntries(mappers.map((mapper) => [statusOf(mapper), at(mapper, 'body_format_override.json_format')]));
}

export const FACTS: readonly Fact[] = [...tokens, ...limits, ...timeouts, ...readings, ...logs];

export function differences(bootstrap: unknown, manifests: readonly Manifest[]): readonly Difference[] {
  const both = FACTS.map((fact) => ({ name: fact.name, bootstrap: fact.bootstrap(bootstrap), gateway: fact.gateway(manifests) }));
  return both.filter((one) => JSON.stringify(sorted(one.bootstrap)) !== JSON.stringify(sorted(one.gateway)));
}

/** Members in the order of their names: two files may list them as they like. */
function sorted(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value ?? null;
  return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
}
