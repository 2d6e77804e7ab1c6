import { request } from 'node:http';
import type { World } from './world.ts';

/** What is left of Bifrost's making, counted in the simulated control plane and cluster themselves. */
export interface Leftovers {
  readonly devices: number;
  readonly keys: number;
  readonly secrets: number;
  readonly tailnets: number;
}

export async function readBack({ control, cluster }: World): Promise<Leftovers> {
  const signal = AbortSignal.timeout(5_000);
  return {
    devices: control.devices().filter(({ tags }) => tags.includes('tag:bifrost-book')).length,
    keys: control.keys().length,
    secrets: (await cluster.secrets.list({ signal })).length,
    tailnets: control.tailnets().filter(({ inOrganization }) => inOrganization).length,
  };
}

/** Asks every pod's daemon over its socket which peers it sees, and counts those of another tailnet. */
export async function readIsolation({ manager, control, runtime }: World): Promise<{ readonly crossTailnetVisible: number }> {
  const owner = new Map(control.devices().map(({ deviceId, tailnetId }) => [deviceId, tailnetId]));
  let crossTailnetVisible = 0;
  for (const { instances } of await manager.listSidecars()) {
    for (const { podUid, deviceId } of instances) {
      const pod = runtime.pod(podUid);
      const seen = pod === undefined ? [] : await peersSeenBy(pod.tailscaled.socketPath);
      crossTailnetVisible += seen.filter((peer) => owner.get(peer) !== owner.get(deviceId ?? '')).length;
    }
  }
  return { crossTailnetVisible };
}

const peersSeenBy = (socketPath: string): Promise<readonly string[]> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: '/localapi/v0/status', headers: { host: 'local-tailscaled.sock' } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('error', reject).on('end', () => {
        const { Peer } = JSON.parse(text) as { readonly Peer: Readonly<Record<string, { readonly ID: string }>> | null };
        resolve(Object.values(Peer ?? {}).map(({ ID }) => ID));
      });
    });
    asked.on('error', reject).end();
  });
