import type { Secret } from '@bifrost/types/core';
import { MemoryControlPlane } from '../src/adapters/memory/control-plane.ts';
import { systemClock } from '../src/adapters/system/clock.ts';
import { tailscaleControlPlane } from '../src/tailscale.ts';
import { type ControlPlaneAdmin, describeControlPlane } from '../src/testing/conformance/control-plane.ts';
import { SimulatedControl } from '../src/testing/simulated-control.ts';
import { TailscaleApiSimulator } from '../src/testing/tailscale-api-simulator.ts';

function adminOf(control: SimulatedControl): ControlPlaneAdmin {
  return {
    join: async (machine: { authKey: Secret; hostname: string; advertiseRoutes?: readonly string[] }) => {
      const { deviceId } = control.join(machine);
      const regions = [{ name: control.relays[0]?.regionName ?? '', latencyMs: 12.5, isHome: true }];
      return control.setConnectivity(deviceId, { regions, udp: true, ipv6: undefined, mappingVaries: false });
    },
    room: async () => 9 - control.tailnets().filter(({ inOrganization }) => inOrganization).length,
  };
}

describeControlPlane('memory', async () => {
  const controlPlane = new MemoryControlPlane();
  return { controlPlane, admin: adminOf(controlPlane.control), [Symbol.asyncDispose]: () => controlPlane[Symbol.asyncDispose]() };
});

describeControlPlane('tailscale over the API simulator', async () => {
  const control = new SimulatedControl();
  const api = new TailscaleApiSimulator(control);
  await api.start();
  const controlPlane = tailscaleControlPlane({ baseUrl: api.url, organization: control.organization, clock: systemClock() });
  const dispose = async (): Promise<void> => {
    await controlPlane[Symbol.asyncDispose]();
    await api.stop();
  };
  return { controlPlane, admin: adminOf(control), [Symbol.asyncDispose]: dispose };
});
