/**
 * Bifrost on a real Kubernetes API server: the Cluster port on workloads, pods and Secrets, and the Store port on custom resources. Importing
 * this loads no Kubernetes library: that happens with the first request.
 *
 * @module @bifrost/sdk/kubernetes
 */
export { type KubernetesClusterOptions, kubernetesCluster } from './adapters/kubernetes/cluster.ts';
export { type KubernetesConnection, type KubernetesOptions, kubernetes } from './adapters/kubernetes/connection.ts';
export type { CredentialOptions } from './adapters/kubernetes/credentials.ts';
export { KUBERNETES_OPERATIONS, type KubernetesOperation, type OperationEffect } from './adapters/kubernetes/operations.ts';
export { type KubernetesStoreOptions, kubernetesStore } from './adapters/kubernetes/store.ts';
