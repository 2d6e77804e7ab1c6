/** What the agent's own HTTP server shows. */
export interface StatusSource {
  /** Why the node is not usable, as one word; undefined when it is. */
  notReady(): string | undefined;
  /** Prometheus text. */
  metrics(): string;
}

/** Opens `/healthz`, `/readyz`, `/metrics`. Disposing closes it and its connections. @throws {BifrostError} `INVALID_OPTIONS` when it cannot listen there. */
export type OpenStatusServer = (source: StatusSource) => Promise<AsyncDisposable & { readonly port: number }>;
