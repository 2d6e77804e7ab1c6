import type { Pod } from '../ports/index.ts';

/** All addresses of a pod, as the cluster writes them. */
export const addressesOfPod = ({ ip, ips = [] }: Pick<Pod, 'ip' | 'ips'>): readonly string[] => [
  ...new Set([...(ip === undefined ? [] : [ip]), ...ips]),
];
