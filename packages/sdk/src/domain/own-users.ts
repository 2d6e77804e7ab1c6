/**
 * Users of our containers, each its own: tailscaled grants another user reading only, and in a pod with one process namespace (`shareProcessNamespace`) the
 * kernel keeps /proc of one user's processes from another. The numbers lie where systemd's table of ranges has nobody (60706 to 61183) and below
 * 65536, which is all that a pod with a user namespace has. Not 65532: that is the user of every distroless image.
 */
export const USERS = { agent: 60931, tailscale: 60932 } as const;
