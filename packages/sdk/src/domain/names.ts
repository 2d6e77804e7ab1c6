/** Every name that Bifrost writes into a cluster or a control plane, in one place. */

export const LABELS = {
  /** On namespaces; only the platform may set it. */
  customerId: 'bifrost.dev/customer-id',
  /** On workloads, by their owner: the id that callers know the book by. */
  bookDeploymentId: 'bifrost.dev/book-deployment-id',
  /** On pods with a sidecar, and on Secrets of an attachment. */
  sidecarId: 'bifrost.dev/sidecar-id',
  /** On Secrets that hold a tailnet's credential. */
  tailnetId: 'bifrost.dev/tailnet-id',
  tailnetName: 'bifrost.dev/tailnet-name',
  /** On pods with a sidecar: the hash of the fragment that they run. */
  fragment: 'bifrost.dev/fragment',
  managedBy: 'app.kubernetes.io/managed-by',
} as const;

/** Under which people annotate workloads; every annotation of ours begins so. */
export const ANNOTATION_PREFIX = 'bifrost.dev/';
/** On a workload: attaches it to that tailnet by itself. The others say what `SidecarConfiguration` says; lists are comma-separated. */
export const WORKLOAD_ANNOTATIONS = {
  tailnet: 'bifrost.dev/tailnet',
  hostname: 'bifrost.dev/hostname',
  advertiseRoutes: 'bifrost.dev/advertise-routes',
  acceptRoutes: 'bifrost.dev/accept-routes',
  enableSsh: 'bifrost.dev/enable-ssh',
  networkMode: 'bifrost.dev/network-mode',
} as const;

export const MANAGED_BY = 'bifrost';
export const FIELD_MANAGER = 'bifrost';

export const CONTAINERS = { guard: 'bifrost-guard', agent: 'bifrost-agent', tailscale: 'tailscale' } as const;
export const VOLUMES = {
  tun: 'bifrost-tun',
  key: 'bifrost-key',
  state: 'bifrost-tailscale-state',
  socket: 'bifrost-tailscale-socket',
  identity: 'bifrost-identity',
  guardOrder: 'bifrost-guard-order',
  guard: 'bifrost-guard',
} as const;
/** Audience of the projected token that agents show. */
export const TOKEN_AUDIENCE = 'bifrost';
export const PORTS = { tailscaleHealth: 9002, agent: 9003 } as const;

/** The Secret of one attachment: keys `authkey` and, when ingest has its own CA, `ca.crt`. */
export const attachmentSecretName = (sidecarId: string): string => `bifrost-${sidecarId}`;
/** The Secret, in the manager's own namespace, of a tailnet that we created: keys `client_id` and `client_secret`. */
export const tailnetSecretName = (tailnetId: string): string => `bifrost-tailnet-${tailnetId}`;
/** Customer ids that can be part of the name of a Secret. */
const IN_A_NAME = /^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$/;
/** The Secret of a customer-owned tailnet that names none; undefined where the customer's id cannot be part of a name. */
export const customerSecretName = (customerId: string): string | undefined =>
  IN_A_NAME.test(customerId) ? `bifrost-customer-${customerId}` : undefined;
/** Tells our keys from others in a control plane: at most 50 characters, letters, digits, hyphen. */
export const keyDescription = (sidecarId: string): string => `bifrost-${sidecarId}`;
export const sidecarIdOfDescription = (description: string): string | undefined => /^bifrost-([0-9a-f-]{36})$/.exec(description)?.[1];
/** The name of a stored attachment: one per workload, so that the store itself refuses a second. */
export const attachmentKey = (workload: { readonly namespace: string; readonly kind: string; readonly name: string }): string =>
  `${workload.namespace}/${workload.kind.toLowerCase()}-${workload.name}`;

/** The id of a tailnet that its control plane has not told yet: "the credential's own". Two tailnets that have it need not be one. */
export const UNTOLD_CONTROL_ID = '-';
