import type { Condition, ManagerEventName, NetworkConfiguration, SidecarStatus } from '@bifrost/sdk';
import type { KubernetesObject, V1ObjectMeta } from '@kubernetes/client-node';

/** What the platform keeps of a book: the custom resource of deploy/book-crd.yaml. It speaks of the Deployment of its own namespace and name. */
export interface Book extends KubernetesObject {
  readonly metadata: V1ObjectMeta & { readonly namespace: string; readonly name: string; readonly generation: number };
  readonly spec: BookSpec;
  readonly status?: BookStatus;
}

export interface BookSpec {
  /** Of its devices in the customer's network. Cannot be changed. */
  readonly hostname: string;
  /** What it uses of the customer's network, and what of its own it announces there. */
  readonly acceptRoutes: boolean;
  readonly advertiseRoutes: readonly string[];
  /** The customer's network; all books of a customer say the same. Cannot be changed. */
  readonly network: NetworkConfiguration;
}

/** Written by the controller only. */
export interface BookStatus {
  readonly observedGeneration: number;
  readonly customerId?: string;
  /** `none`: Bifrost has no sidecar for it. */
  readonly connection: SidecarStatus | 'none';
  /** In the customer's network. */
  readonly ipAddress?: string;
  /** Why it is not well: an error code, or what a connection suffers from. */
  readonly reason?: string;
  readonly message?: string;
  readonly conditions: readonly Condition[];
}

/** What may change how a Book stands. Each is a hint to look, and no more. */
export const NEWS = [
  ...(['sidecar:attached', 'sidecar:failed', 'sidecar:updated', 'sidecar:reverted', 'sidecar:detached'] as const),
  ...(['instance:connected', 'instance:degraded', 'instance:disconnected', 'instance:lost', 'instance:removed'] as const),
] as const satisfies readonly ManagerEventName[];

/** What Bifrost is asked for. */
export interface WantedBook {
  /** `namespace/name` of its Deployment. */
  readonly id: string;
  readonly customerId: string;
  readonly spec: BookSpec;
}

/** `namespace/name`: names the Book, and the Deployment that it speaks of. */
export const idOf = ({ metadata: { namespace, name } }: Pick<Book, 'metadata'>): string => `${namespace}/${name}`;

export const isDeleted = ({ metadata }: Book): boolean => metadata.deletionTimestamp !== undefined;
