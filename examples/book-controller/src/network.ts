import { NetworkManager, type NetworkManagerOptions, type Sidecar } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { NEWS, type WantedBook } from './book.ts';

type Options = Omit<NetworkManagerOptions, 'cluster' | 'store'>;
export async function startManager(options: Options, changed: (id: string) => void): Promise<NetworkManager> {
  const connection = kubernetes(); // where kubectl looks, or the pod's own account
  const manager = new NetworkManager({ ...options, cluster: kubernetesCluster({ connection }), store: kubernetesStore({ connection }) });
  for (const event of NEWS) manager.on(event, ({ bookDeploymentId }) => changed(bookDeploymentId)); // 'instance:disconnected' and such
  await manager.start();
  return manager;
}

/** Both calls record what is wanted and answer at once: a loop does the work. */
export async function connect(manager: NetworkManager, { id, customerId, spec }: WantedBook): Promise<void> {
  const { network, hostname, acceptRoutes, advertiseRoutes } = spec;
  await manager.createTailnet({ customerId, tailnetName: customerId, config: network });
  await manager.attachSidecar({ bookDeploymentId: id, tailnetName: customerId, config: { hostname, acceptRoutes, advertiseRoutes } });
}

/** What is true now: its status, its address, its pods, and why it is not well. */
export const sidecarOf = async (manager: NetworkManager, id: string): Promise<Sidecar | undefined> =>
  (await manager.listSidecars()).find(({ bookDeploymentId }) => bookDeploymentId === id);
