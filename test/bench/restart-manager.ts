// The manager that the restart bench kills: real adapters, its own process. Tells its parent, on demand, what it has done.
import { createServer } from 'node:http';
import { NetworkManager, streamLogger } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { createReportHandler } from '@bifrost/sdk/server';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';
import { Recorder } from './recorder.ts';

export interface RestartOrder {
  /** `NAMESPACE/NAME` of workloads to attach. */
  readonly attach: readonly string[];
  readonly tailnetName: string;
}
/** Pods that have been heard, the API calls until then, and whether all orders are done. */
export interface RestartNews {
  readonly heard: number;
  readonly reads: number;
  readonly writes: number;
  readonly attached: number;
  readonly ready: boolean;
}

const [kubeconfig = '', controlUrl = '', port = '0'] = process.argv.slice(2);
const connection = new Recorder(kubernetes({ kubeconfig }));
const digest = `sha256:${'0'.repeat(64)}`;
const manager = new NetworkManager({
  cluster: kubernetesCluster({ connection }),
  store: kubernetesStore({ connection }),
  controlPlane: tailscaleControlPlane({ baseUrl: controlUrl }),
  logger: streamLogger(process.stderr, { level: 'error' }),
  images: { tailscale: `tailscale@${digest}`, agent: `agent@${digest}` },
  ingest: { url: `http://127.0.0.1:${port}/v1/reports` },
  clusterRanges: { pods: ['10.244.0.0/16'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] },
});
let attached = 0;
manager.on('sidecar:attached', () => {
  attached += 1;
});
const heard = new Set<string>();
const handle = createReportHandler(manager);
await manager.start();
createServer((request, response) => {
  const agent = String(request.headers['x-bench-agent']);
  response.on('finish', () => void (response.statusCode === 200 && heard.add(agent)));
  handle(request, response);
}).listen(Number(port), '127.0.0.1');

process.on('message', async (order: RestartOrder | 'news' | 'look') => {
  if (order === 'look') {
    // By the SDK's own word, once: to list a thousand objects again and again would be part of what is measured.
    const instances = (await manager.listSidecars()).flatMap((sidecar) => sidecar.instances);
    process.send?.(instances.filter(({ status, lastReportAt }) => status === 'connected' && lastReportAt !== undefined).length);
    return;
  }
  if (order === 'news') {
    const { reads, writes } = connection.count();
    process.send?.({ heard: heard.size, reads, writes, attached, ready: true } satisfies RestartNews);
    return;
  }
  const waiting = [...order.attach];
  const worker = async (): Promise<void> => {
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const hostname = id.slice(id.indexOf('/') + 1);
      await manager.attachSidecar({ bookDeploymentId: id, tailnetName: order.tailnetName, config: { hostname, acceptRoutes: true } });
    }
  };

  await manager.createTailnet({
    customerId: 'bench-customer',
    tailnetName: order.tailnetName,
    config: { allowedNetworks: ['10.0.0.0/8'] },
    credential: { secretName: 'credential' },
  });
  await manager.waitFor({ tailnetName: order.tailnetName, status: 'active' }, { signal: AbortSignal.timeout(30_000) });
  await Promise.all(Array.from({ length: 16 }, worker));
});
process.on('disconnect', () => process.exit(0));
