/** How far a book may go. Cluster and Internet stay as they are under `restrictive`; see the guard in ARCHITECTURE.md. */
export type AccessPolicy = 'restrictive' | 'standard' | 'permissive';
/** All values of {@link AccessPolicy}. */
export const ACCESS_POLICIES = ['restrictive', 'standard', 'permissive'] as const satisfies readonly AccessPolicy[];

/** A customer's network intent. */
export interface NetworkConfiguration {
  /** CIDRs behind the customer's routers that books may reach. */
  readonly allowedNetworks: readonly string[];
  /** CIDRs that books may never reach; wins over allowed. */
  readonly blockedNetworks: readonly string[];
  readonly accessPolicy: AccessPolicy;
  readonly enableLogging: boolean;
}

/** What one book's sidecar asks for. */
export interface SidecarConfiguration {
  /** One DNS label; unique in the tailnet. */
  readonly hostname: string;
  /** CIDRs inside the pod's reach that the sidecar offers to the tailnet. */
  readonly advertiseRoutes: readonly string[];
  /** Use the routes that the customer's routers offer. */
  readonly acceptRoutes: boolean;
  readonly enableSsh: boolean;
  /** Which form of sidecar. Default `auto`: `kernel` where pod security admits it, else `userspace` where nothing can leave in clear. */
  readonly networkMode?: NetworkModeWish;
}

/**
 * `kernel`: a tun device, routes and the guard; every connection of the book can use the network. `userspace`: no privileges; the book's containers
 * get the usual proxy variables, and only what honours them reaches the network.
 */
export type NetworkMode = 'kernel' | 'userspace';
/** Which form of sidecar is asked for; `auto` leaves it to what the pod's admission allows. */
export type NetworkModeWish = 'auto' | NetworkMode;
/** All values of {@link NetworkModeWish}. */
export const NETWORK_MODE_WISHES = ['auto', 'kernel', 'userspace'] as const satisfies readonly NetworkModeWish[];

/**
 * Who owns the tailnet: the customer (their OAuth client by reference), or our organization (we create it); `shared`: the platform, with all of its
 * customers in one, told apart by tags.
 */
export type Tenancy = 'customer-owned' | 'organization' | 'shared';
/** All values of {@link Tenancy}. */
export const TENANCIES = ['customer-owned', 'organization', 'shared'] as const satisfies readonly Tenancy[];

/** Where a tailnet stands. `degraded`: it works, but something of it is not as it was wanted; the reason says what. */
export type TailnetStatus = 'creating' | 'active' | 'degraded' | 'failed' | 'deleting';
/** All values of {@link TailnetStatus}. */
export const TAILNET_STATUSES = ['creating', 'active', 'degraded', 'failed', 'deleting'] as const satisfies readonly TailnetStatus[];

/** Where a sidecar, or one pod of it, stands. `unknown`: nobody has heard of it for too long, which is not `disconnected`. */
export type SidecarStatus = 'attaching' | 'connected' | 'degraded' | 'disconnected' | 'unknown' | 'failed' | 'detaching';
/** All values of {@link SidecarStatus}. */
export const SIDECAR_STATUSES = [
  'attaching',
  'connected',
  'degraded',
  'disconnected',
  'unknown',
  'failed',
  'detaching',
] as const satisfies readonly SidecarStatus[];

/** What a connection trouble comes from. `policy` and `dns` are reserved: nothing produces them yet. */
export type Cause = 'key' | 'policy' | 'route' | 'relay' | 'dns' | 'control-plane' | 'pod' | 'agent';
/** All values of {@link Cause}. */
export const CAUSES = ['key', 'policy', 'route', 'relay', 'dns', 'control-plane', 'pod', 'agent'] as const satisfies readonly Cause[];

/** How packets to one peer travel at the moment. */
export type PathClass = 'direct' | 'peer-relay' | 'derp' | 'none';
/** All values of {@link PathClass}. */
export const PATH_CLASSES = ['direct', 'peer-relay', 'derp', 'none'] as const satisfies readonly PathClass[];
