/** What a request does to the cluster: nothing, a change, or a stream of changes. */
export type OperationEffect = 'read' | 'write' | 'watch';

/**
 * Every request that the Kubernetes adapters make, by name. The name goes out as a comment in `User-Agent` (`bifrost (secrets.create)`), so that
 * audit logs of the API server say what a request was for; the fault suite breaks off at each of them. Dry runs are reads: nothing is written.
 */
export const KUBERNETES_OPERATIONS = {
  'namespaces.get': 'read',
  'nodes.list': 'read',
  'servicecidrs.list': 'read',
  'pods.list': 'read',
  'pods.watch': 'watch',
  'pods.admit': 'read',
  'replicasets.get': 'read',
  'jobs.get': 'read',
  'tokenreviews.create': 'read',
  'secrets.get': 'read',
  'secrets.list': 'read',
  'secrets.metadata': 'read',
  'secrets.create': 'write',
  'secrets.replace': 'write',
  'secrets.delete': 'write',
  'networkpolicies.list': 'read',
  'networkpolicies.apply': 'write',
  'networkpolicies.delete': 'write',
  'services.get': 'read',
  'workloads.get': 'read',
  'workloads.list': 'read',
  'workloads.watch': 'watch',
  'workloads.try': 'read',
  'workloads.attach': 'write',
  'workloads.detach': 'write',
  'tailnets.get': 'read',
  'tailnets.list': 'read',
  'tailnets.watch': 'watch',
  'tailnets.create': 'write',
  'tailnets.replace': 'write',
  'tailnets.state': 'write',
  'tailnets.guard': 'write',
  'tailnets.remove': 'write',
  'tailnets.finalize': 'write',
  'sidecarattachments.get': 'read',
  'sidecarattachments.list': 'read',
  'sidecarattachments.watch': 'watch',
  'sidecarattachments.create': 'write',
  'sidecarattachments.replace': 'write',
  'sidecarattachments.state': 'write',
  'sidecarattachments.guard': 'write',
  'sidecarattachments.remove': 'write',
  'sidecarattachments.finalize': 'write',
} as const satisfies Readonly<Record<string, OperationEffect>>;

/** Name of one request of the Kubernetes adapters, such as `secrets.create`. */
export type KubernetesOperation = keyof typeof KUBERNETES_OPERATIONS;

/** Requests of people who look for what is wrong (`bifrost doctor`, `bifrost --cluster`): a running manager makes none of them. All read. */
export type DiagnosticOperation = `doctor.${'version' | 'definitions' | 'rights' | 'namespaces' | 'pods' | 'deployment' | 'settings' | 'endpoints'}`;
