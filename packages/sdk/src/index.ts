/**
 * The manager, its types, and the one error class. Adapters for real systems are `@bifrost/sdk/kubernetes` and `@bifrost/sdk/tailscale`.
 *
 * @module @bifrost/sdk
 */
export type {
  AttachSidecarInput,
  CreateTailnetInput,
  ExplainInput,
  InjectSidecarInput,
  MonitorConnectivityInput,
  QuarantineSidecarInput,
  UpdateSidecarInput,
  UpdateTailnetInput,
  UpgradeSidecarsInput,
} from '@bifrost/types';
export * from '@bifrost/types/core';
export { streamAuditSink } from './adapters/stream/audit-sink.ts';
export { streamLogger } from './adapters/stream/logger.ts';
export { systemClock } from './adapters/system/clock.ts';
export { injectSidecar, stripSidecar, type WorkloadManifest } from './domain/inject-sidecar.ts';
export type { AttachForm, ClusterRanges } from './domain/model.ts';
export type { PodForm, PodTemplateShape, SidecarFragment } from './domain/pod-shape.ts';
export {
  compilePolicy,
  type Grant,
  type NodeAttribute,
  type PolicyBook,
  type PolicyInput,
  type PolicyMember,
  type PolicySections,
  type PolicyTest,
  type SshRule,
} from './domain/policy/compile-policy.ts';
export type { DeviceConnectivity } from './domain/policy/firewall-check.ts';
export { firewallCsv, firewallJson, firewallMarkdown } from './domain/policy/firewall-writers.ts';
export {
  CLUSTER_DNS,
  type NetworkPoliciesInput,
  type NetworkPolicyDestination,
  type NetworkPolicyEndpoint,
  type NetworkPolicyManifest,
  type NetworkPolicyPort,
  networkPoliciesOf,
  RELAY_PORTS,
} from './domain/policy/network-policies.ts';
export type { ServiceName, ServiceShape } from './domain/policy/network-policy-endpoints.ts';
export { type IsOurs, mergePolicy } from './domain/policy/policy-document.ts';
export { type IsolationFinding, type ProvenCustomer, proveIsolation } from './domain/policy/prove-isolation.ts';
export type { Relay } from './domain/policy/relays.ts';
export { type RenderInput, renderSidecar } from './domain/render-sidecar.ts';
export type { Injected } from './manager/inject-calls.ts';
export type { CallerOptions, ChangeOptions } from './manager/manager-core.ts';
export { NetworkManager } from './manager/network-manager.ts';
export type { NetworkPolicyEndpoints, NetworkPolicyUse } from './manager/network-policy-options.ts';
export type { NetworkManagerOptions } from './manager/options.ts';
export { verifyProof } from './manager/prove-calls.ts';
export type { AttachPlan } from './manager/sidecar-calls.ts';
export type { Awaited } from './manager/wait-for.ts';
export type * from './ports/index.ts';
