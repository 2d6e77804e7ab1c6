import type { SimulatedBackendState, SimulatedNode, SimulatedPeer } from './tailscaled-simulator-json.ts';

/** Options of `TailscaledSimulator`. */
export interface TailscaledSimulatorOptions {
  /** Where to listen; at most 107 bytes, as the system allows. */
  readonly socketPath: string;
  readonly node: SimulatedNode;
  readonly peers?: readonly SimulatedPeer[];
  /** Default `Running`. */
  readonly backendState?: SimulatedBackendState;
  /** Default `1.102.5`. */
  readonly version?: string;
  /** The header `Tailscale-Cap`; default 142. */
  readonly capability?: number;
  /** Its control server, as its settings tell; default empty, which means Tailscale's own. */
  readonly controlUrl?: string;
  /** Endpoints that it was built without, such as `usermetrics`: they answer 404. Default none. */
  readonly withoutEndpoints?: readonly string[];
  /** Bits of bus masks that it answers 400 to, beside those that every daemon refuses. Default 0. */
  readonly refusedBusBits?: number;
}

/** How the next request fails: an HTTP error, a closed connection, silence, or an answer that is no JSON. */
export interface SimulatedFault {
  /** Only a request to this endpoint, e.g. `status`; any when absent. */
  readonly endpoint?: string;
  readonly kind: 'error' | 'reset' | 'hang' | 'garbage';
  /** Of `error`; default 500. */
  readonly status?: number;
}
