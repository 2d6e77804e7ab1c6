/**
 * Tailscale's API v2 as the control plane. Loaded apart, because it brings the HTTP library along.
 *
 * @module @bifrost/sdk/tailscale
 */
import { systemClock } from './adapters/system/clock.ts';
import { tailscaleControlPlane as create } from './adapters/tailscale/control-plane.ts';
import type { TailscaleOptions as AdapterOptions } from './adapters/tailscale/options.ts';
import type { Clock, ControlPlane } from './ports/index.ts';

export { TAILSCALE_OPERATIONS, type TailscaleOperation } from './adapters/tailscale/operations.ts';

/** Settings of the control plane; `clock` defaults to the system's. */
export type TailscaleOptions = Omit<AdapterOptions, 'clock'> & { readonly clock?: Clock };

/**
 * The ControlPlane port on Tailscale's API v2, or on any server that speaks it. Inert until its first call; disposing closes its connections.
 *
 * @throws {BifrostError} `INVALID_OPTIONS` with one issue per wrong field
 * @example
 * const controlPlane = tailscaleControlPlane({ organization: { clientId, clientSecret } });
 */
export const tailscaleControlPlane = (options: TailscaleOptions): ControlPlane => create({ ...options, clock: options.clock ?? systemClock() });
