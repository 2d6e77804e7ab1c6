import { NetworkManager, type NetworkManagerOptions, type Sidecar } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import type { WantedBook } from './book.ts';

export async function startManager(
  options: Omit<NetworkManagerOptions, 'cluster' | 'store'>,
  changed: (id: string) => void,
): Promise<NetworkManager> {
  const connection = kubernetes(); // where kubectl looks, or the pod's own account
  const manager = new NetworkManager({ ...options, cluster: kubernetesCluster({ connection }), store: kubernetesStore({ connection }) });
  const events = [
    'sidecar:attached',
    'sidecar:detached',
    'instance:connected',
    'instance:degraded',
    'instance:disconnected',
    'instance:lost',
  ] as const;
  for (const name of events) manager.on(name, (event) => changed(event.bookDeploymentId)); // hints: look again
  await manager.start();
  return manager;
}

/** Both calls record what is wanted and answer at once; a loop does the work. */
export async function connect(manager: NetworkManager, { id, customerId, spec: { network, ...config } }: WantedBook): Promise<void> {
  await manager.createTailnet({ customerId, tailnetName: customerId, config: network });
  await manager.attachSidecar({ bookDeploymentId: id, tailnetName: customerId, config });
}

/** What is true now: `status`, `ipAddress`, `instances` with the cause of any trouble. */
export const sidecarOf = async (manager: NetworkManager, id: string): Promise<Sidecar | undefined> =>
  (await manager.listSidecars()).find(({ bookDeploymentId }) => bookDeploymentId === id);
