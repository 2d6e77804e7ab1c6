import { systemClock } from '../src/adapters/system/clock.ts';
import type { ControlPlane } from '../src/ports/control-plane.ts';
import { type TailscaleOptions, tailscaleControlPlane } from '../src/tailscale.ts';
import { SimulatedControl, type SimulatedControlOptions } from '../src/testing/simulated-control.ts';
import { TailscaleApiSimulator } from '../src/testing/tailscale-api-simulator.ts';

export const KEY = { description: 'bifrost-test', tags: ['tag:bifrost'], reusable: true, ephemeral: true, lifetimeSeconds: 600 };
export const options = () => ({ signal: AbortSignal.timeout(10_000) });

export interface Bench {
  readonly api: TailscaleApiSimulator;
  readonly control: SimulatedControl;
  readonly plane: ControlPlane;
}

/** An adapter over its own simulator, both closed at the end. */
export async function bench(
  work: (given: Bench) => Promise<void>,
  init: { readonly adapter?: Partial<TailscaleOptions>; readonly control?: SimulatedControlOptions; readonly nowMs?: () => number } = {},
): Promise<void> {
  const control = new SimulatedControl(init.control);
  await using api = new TailscaleApiSimulator(control, init.nowMs ? { nowMs: init.nowMs } : {});
  await api.start();
  await using plane = tailscaleControlPlane({ baseUrl: api.url, organization: control.organization, clock: systemClock(), ...init.adapter });
  await work({ api, control, plane });
}

export const tokenCalls = (api: TailscaleApiSimulator): number => api.requests.filter(({ path }) => path === '/oauth/token').length;
export const calls = (api: TailscaleApiSimulator, path: string): number => api.requests.filter((seen) => seen.path.startsWith(path)).length;
