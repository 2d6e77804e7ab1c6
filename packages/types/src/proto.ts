/**
 * The network API as generated from `proto/`: messages, the service `NetworkManager`, and what of Google's and gRPC's the doors need.
 *
 * @module @bifrost/types/proto
 */
export * from './gen/bifrost/network/v1/connectivity_pb.js';
export * from './gen/bifrost/network/v1/firewall_pb.js';
export * from './gen/bifrost/network/v1/network_manager_pb.js';
export * from './gen/bifrost/network/v1/network_pb.js';
export * from './gen/bifrost/network/v1/plan_pb.js';
export * from './gen/bifrost/network/v1/policy_pb.js';
export * from './gen/bifrost/network/v1/sidecar_pb.js';
export * from './gen/bifrost/network/v1/tailnet_pb.js';
export { http as httpOption } from './gen/google/api/annotations_pb.js';
export type { HttpRule } from './gen/google/api/http_pb.js';
export { BadRequestSchema, ErrorInfoSchema, HelpSchema, RetryInfoSchema } from './gen/google/rpc/error_details_pb.js';
export { type Status as RpcStatus, StatusSchema as RpcStatusSchema } from './gen/google/rpc/status_pb.js';
export { Health, HealthCheckResponse_ServingStatus } from './gen/grpc/health/v1/health_pb.js';
export { ServerReflection, type ServerReflectionRequest, type ServerReflectionResponse } from './gen/grpc/reflection/v1/reflection_pb.js';
