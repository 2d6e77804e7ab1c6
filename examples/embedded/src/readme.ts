import { createServer, type ServerOptions } from 'node:https';
import { NetworkManager, type NetworkManagerOptions } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { createReportHandler } from '@bifrost/sdk/server';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';

/** Gives one book its customer's network, and tells its address there. */
export async function connectBook(options: Pick<NetworkManagerOptions, 'images' | 'ingest'>, tls: ServerOptions): Promise<string | undefined> {
  const connection = kubernetes(); // where kubectl looks, or the pod's own account
  const [cluster, store] = [kubernetesCluster({ connection }), kubernetesStore({ connection })];
  await using manager = new NetworkManager({ ...options, cluster, store, controlPlane: tailscaleControlPlane({}) });
  await using _reports = createServer(tls, createReportHandler(manager)).listen(8443);
  await manager.start();
  manager.on('instance:disconnected', ({ podName, cause }) => process.stderr.write(`${podName}: ${cause}\n`));
  const credential = { secretName: 'acme-oauth-client' }; // the customer's OAuth client, in the manager's namespace
  await manager.createTailnet({ customerId: 'customer-123', tailnetName: 'acme', config: { allowedNetworks: ['10.0.0.0/8'] }, credential });
  const config = { hostname: 'book-customer-support', acceptRoutes: true };
  const { sidecarId } = await manager.attachSidecar({ bookDeploymentId: 'customer-support-book', tailnetName: 'acme', config });
  const { ipAddress } = await manager.waitFor({ sidecarId, status: 'connected' }, { signal: AbortSignal.timeout(300_000) });
  return ipAddress;
}
