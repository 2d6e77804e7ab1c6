/**
 * Working fakes and simulators, for an embedded manager and for users' own tests. Nothing here imports a test runner.
 *
 * @module @bifrost/sdk/testing
 */
export { MemoryAuditSink } from '../adapters/memory/audit-sink.ts';
export { MemoryCluster, type MemoryClusterOptions, type MemoryWorkload } from '../adapters/memory/cluster.ts';
export { MemoryControlPlane } from '../adapters/memory/control-plane.ts';
export { MemoryLogger } from '../adapters/memory/logger.ts';
export { containerEnvironment, volumeFiles } from '../adapters/memory/pod-files.ts';
export { idlePodRuntime, type PodRuntime, type RunningPod, type RuntimePod } from '../adapters/memory/pod-runtime.ts';
export { MemoryStore } from '../adapters/memory/store.ts';
export { ManualClock } from './manual-clock.ts';
export * from './simulated-control.ts';
export type { SimulatedPod } from './simulated-pod.ts';
export { SimulatedPodRuntime, type SimulatedPodRuntimeOptions } from './simulated-pod-runtime.ts';
export * from './tailscale-api-simulator.ts';
export * from './tailscaled-simulator.ts';
