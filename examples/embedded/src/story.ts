import { setTimeout as pause } from 'node:timers/promises';
import type { ConnectionMetric, ConnectivityEvent, NetworkStatus, Sidecar, Tailnet } from '@bifrost/sdk';
import { type Leftovers, readBack, readIsolation } from './read-back.ts';
import { addBook, addCustomerTailnet, addRouter, openWorld, type World } from './world.ts';

/** What the run saw; `main.ts` prints it. */
export interface Outcome {
  readonly tailnets: readonly Tailnet[];
  readonly sidecars: readonly Sidecar[];
  readonly status: NetworkStatus;
  readonly metrics: readonly ConnectionMetric[];
  readonly events: readonly ConnectivityEvent[];
  readonly isolation: { readonly crossTailnetVisible: number };
  readonly leftovers: Leftovers;
  readonly timingsMs: Readonly<Record<string, number>>;
}

export interface StoryOptions {
  readonly say: (line: string) => void;
  /** Resolves when the person has seen enough; at once when nobody watches. */
  readonly linger: () => Promise<void>;
  /** Ends the story early: it rejects with the reason, after everything that it started has ended. */
  readonly signal: AbortSignal;
}

const ACME = 'acme-corp-production';
const GLOBEX = 'globex-production';
const LIMIT_MS = 20_000;

/** Two customers, three books, a cut link, a killed agent, and everything taken away again. */
export async function tell({ say, linger, signal }: StoryOptions): Promise<Outcome> {
  const startedMs = performance.now();
  const timingsMs: Record<string, number> = {};
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
  interrupted.catch(() => {}); // told by whichever step it interrupts
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    const fromMs = performance.now();
    const result = await Promise.race([work(), interrupted]);
    timingsMs[name] = Math.round(performance.now() - fromMs);
    return result;
  };
  await using world = await openWorld();
  timingsMs['start'] = Math.round(performance.now() - startedMs);
  using listener = listen(world, say);
  await timed('attach_to_connected', () => connect(world, say));
  await timed('traffic', () => traffic(world));
  const { tailnets, sidecars, status, metrics, isolation } = await show(world, say);
  await timed('link_cut_to_recovered', () => cutLink(world, { say, listener }));
  await timed('agent_killed_to_recovered', () => killAgent(world, { say, listener }));
  await Promise.race([linger(), interrupted]);
  await timed('detach', () => leave(world, say));
  const leftovers = await readBack(world);
  say(`left over: ${JSON.stringify(leftovers)}`);
  timingsMs['total'] = Math.round(performance.now() - startedMs);
  return { tailnets, sidecars, status, metrics, events: listener.events, isolation, leftovers, timingsMs };
}

interface Listener extends Disposable {
  readonly events: readonly ConnectivityEvent[];
  next(matches: (event: ConnectivityEvent) => boolean): Promise<ConnectivityEvent>;
}

/** Follows the event stream, as a book controller would. */
function listen({ manager }: World, say: (line: string) => void): Listener {
  const events: ConnectivityEvent[] = [];
  const stopping = new AbortController();
  let wake = (): void => {};
  const follow = async (): Promise<void> => {
    for await (const event of manager.monitorConnectivity({ signal: stopping.signal })) {
      const { state, cause, book_deployment_id: book } = event.details;
      say(`event: ${event.eventType} ${book} (${state}${cause === undefined ? '' : `, cause: ${cause}`})`);
      events.push(event);
      wake();
    }
  };
  follow().catch((error: unknown) => {
    if (!stopping.signal.aborted) throw error;
  });
  return {
    events,
    async next(matches) {
      const deadline = AbortSignal.timeout(LIMIT_MS);
      let from = events.length;
      for (;;) {
        const found = events.slice(from).find(matches);
        if (found !== undefined) return found;
        from = events.length;
        deadline.throwIfAborted();
        await Promise.race([new Promise<void>((resolve) => (wake = resolve)), pause(500)]);
      }
    },
    [Symbol.dispose]: () => stopping.abort(),
  };
}

async function connect(world: World, say: (line: string) => void): Promise<void> {
  const { manager } = world;
  const signal = AbortSignal.timeout(LIMIT_MS);
  const config = {
    allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'],
    blockedNetworks: ['169.254.0.0/16'],
    accessPolicy: 'restrictive',
    enableLogging: true,
  } as const;
  await addCustomerTailnet(world, { customerId: 'acme', tags: ['tag:bifrost-book'] });
  await manager.createTailnet({ customerId: 'acme', tailnetName: ACME, config, tags: ['production', 'customer-acme'] });
  await manager.createTailnet({ customerId: 'globex', tailnetName: GLOBEX, config, tenancy: 'organization' });
  for (const tailnetName of [ACME, GLOBEX]) await manager.waitFor({ tailnetName, status: 'active' }, { signal });
  addRouter(world, GLOBEX);
  say('two tailnets are active: one is the customer’s own, one was made for them');
  const books = [
    { customerId: 'acme', name: 'customer-support-book', tailnetName: ACME, hostname: 'book-customer-support' },
    { customerId: 'acme', name: 'billing-book', tailnetName: ACME, hostname: 'book-billing' },
    { customerId: 'globex', name: 'customer-support-book', tailnetName: GLOBEX, hostname: 'book-customer-support' },
  ];
  for (const { customerId, name, tailnetName, hostname } of books) {
    await addBook(world, { customerId, name });
    const bookDeploymentId = `customer-${customerId}/${name}`;
    const { sidecarId } = await manager.attachSidecar({ bookDeploymentId, tailnetName, config: { hostname, acceptRoutes: true } });
    await manager.waitFor({ sidecarId, status: 'connected' }, { signal });
    say(`${bookDeploymentId} is connected to ${tailnetName}`);
  }
}

/** Stands in for the books' requests: the agents read these counters from the daemons. */
async function traffic({ manager, runtime, control }: World): Promise<void> {
  for (const { instances } of await manager.listSidecars()) {
    for (const { podUid } of instances) {
      const pod = runtime.pod(podUid);
      const [peer] = pod?.deviceId === undefined ? [] : control.peersOf(pod.deviceId);
      if (peer !== undefined) pod?.tailscaled.addTraffic(peer.deviceId, 2_097_152, 1_048_576);
    }
  }
  const deadline = AbortSignal.timeout(LIMIT_MS);
  const expected = new Map([
    [ACME, 2n * 1_048_576n],
    [GLOBEX, 1_048_576n],
  ]);
  const counted = async (): Promise<boolean> =>
    (await manager.getConnectionMetrics()).every(({ tailnetName, bytesSent }) => bytesSent >= (expected.get(tailnetName) ?? 0n));
  while (!(await counted())) {
    deadline.throwIfAborted();
    await pause(100);
  }
}

async function show(world: World, say: (line: string) => void) {
  const { manager } = world;
  const [tailnets, sidecars] = [await manager.listTailnets(), await manager.listSidecars()];
  const [status, metrics, isolation] = [await manager.getNetworkStatus(ACME), await manager.getConnectionMetrics(), await readIsolation(world)];
  say(`status of ${ACME}: ${status.status}, ${status.connectedDevices} devices, ${status.metrics.averageLatencyMs.toFixed(1)} ms`);
  for (const metric of metrics) say(`metrics of ${metric.tailnetName}: ${metric.bytesSent} bytes sent, ${metric.bytesReceived} received`);
  say(`devices that see another customer's: ${isolation.crossTailnetVisible}`);
  return { tailnets, sidecars, status, metrics, isolation };
}

interface Watching {
  readonly say: (line: string) => void;
  readonly listener: Listener;
}

async function firstPod({ manager, runtime }: World) {
  const [sidecar] = await manager.listSidecars({ tailnetName: ACME });
  const [instance] = sidecar?.instances ?? [];
  const pod = instance === undefined ? undefined : runtime.pod(instance.podUid);
  if (instance === undefined || pod === undefined) throw new RangeError('the first book has no pod');
  return { pod, podName: instance.podName };
}

async function cutLink(world: World, { say, listener }: Watching): Promise<void> {
  const { pod, podName } = await firstPod(world);
  say(`cutting the link of ${podName}`);
  const lost = listener.next(({ eventType, details }) => eventType === 'disconnected' && details['pod_name'] === podName);
  pod.tailscaled.cutLink();
  await lost;
  const back = listener.next(({ eventType, details }) => eventType === 'connected' && details['pod_name'] === podName);
  pod.tailscaled.restoreLink();
  await back;
}

async function killAgent(world: World, { say, listener }: Watching): Promise<void> {
  const { pod, podName } = await firstPod(world);
  say(`killing the agent of ${podName} (process ${pod.agentPid})`);
  const unknown = listener.next(({ details }) => details['state'] === 'unknown' && details['pod_name'] === podName);
  pod.kill('bifrost-agent');
  await unknown;
  await listener.next(({ eventType, details }) => eventType === 'connected' && details['pod_name'] === podName);
}

async function leave({ manager }: World, say: (line: string) => void): Promise<void> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  for (const { sidecarId } of await manager.listSidecars()) {
    await manager.detachSidecar(sidecarId);
    await manager.waitFor({ sidecarId, status: 'gone' }, { signal });
  }
  const found = await manager.listLeftovers();
  say(`the books are detached; the manager finds ${found.length} leftovers`);
  for (const tailnetName of [ACME, GLOBEX]) {
    await manager.deleteTailnet(tailnetName);
    await manager.waitFor({ tailnetName, status: 'gone' }, { signal });
  }
}
