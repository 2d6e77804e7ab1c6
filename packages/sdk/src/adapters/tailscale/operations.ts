/**
 * Every request that the Tailscale adapter makes, by name, and what it does to the tailnet. The name goes out as a comment in `User-Agent`
 * (`bifrost (keys.create)`); the fault suite breaks off at each of them.
 */
export const TAILSCALE_OPERATIONS = {
  'token.create': 'read',
  'tailnets.list': 'read',
  'tailnets.create': 'write',
  'tailnets.delete': 'write',
  'tailnets.describe': 'read',
  'keys.list': 'read',
  'keys.create': 'write',
  'keys.revoke': 'write',
  'devices.list': 'read',
  'devices.get': 'read',
  'devices.delete': 'write',
  'routes.approve': 'write',
  'policy.read': 'read',
  'policy.write': 'write',
  'relays.read': 'read',
} as const satisfies Readonly<Record<string, 'read' | 'write'>>;

/** Name of one request of the Tailscale adapter, such as `keys.create`. */
export type TailscaleOperation = keyof typeof TAILSCALE_OPERATIONS;
