/** What the agent's own HTTP server shows. */
export interface StatusSource {
  /** Why the node is not usable, as one word; undefined when it is. */
  notReady(): string | undefined;
  /** The daemon runs and does not work: whoever may restart it should. */
  isDaemonWedged(): boolean;
  /** Prometheus text. */
  metrics(): string;
}

/**
 * Opens `/healthz`, `/readyz`, `/daemon`, `/metrics`. Disposing closes it and its connections.
 *
 * @throws {BifrostError} `INVALID_OPTIONS` when it cannot listen there.
 */
export type OpenStatusServer = (source: StatusSource) => Promise<AsyncDisposable & { readonly port: number }>;
