// The state lives beside the memory adapter, which may not import from here.
export { type CustomerTailnet, SimulatedControl, type SimulatedControlOptions, type SimulatedGrant } from '../adapters/memory/simulated-control.ts';
export type { SimulatedDevice, SimulatedKey } from '../adapters/memory/simulated-tailnet.ts';
