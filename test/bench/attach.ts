import { BifrostError, NetworkManager, streamLogger } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { MemoryControlPlane, SimulatedControl } from '@bifrost/sdk/testing';
import { type ApiServer, apiServerIsBuilt, applyManifest, startApiServer } from '../support/api-server.ts';
import { pause } from '../support/pause.ts';
import { alternating, type BenchOptions, type BenchResult, compared, rounded } from './harness.ts';
import { Recorder, replay, type Target } from './recorder.ts';
import { IN_FLIGHT, inFlight, must } from './requests.ts';

const SPACE = 'bench';
const CUSTOMER = 'bench-customer';
const BOOKS_PER_TAILNET = 10_000;

interface World {
  readonly api: ApiServer;
  readonly manager: NetworkManager;
  readonly recorder: Recorder;
}

/** An API server with our resource kinds and the namespaces. */
async function openServer(stack: AsyncDisposableStack): Promise<ApiServer> {
  const api = stack.use(await startApiServer());
  await applyManifest(api.call, new URL('../../examples/deploy/crds.yaml', import.meta.url));
  await must(api, 'POST', '/api/v1/namespaces', { metadata: { name: SPACE, labels: { 'bifrost.dev/customer-id': CUSTOMER } } });
  await must(api, 'POST', '/api/v1/namespaces', { metadata: { name: 'bifrost' } });
  return api;
}

async function open(stack: AsyncDisposableStack): Promise<World> {
  const api = await openServer(stack);
  const control = new SimulatedControl();
  const { credential } = control.addTailnet({ displayName: 'bench', tags: ['tag:bifrost-book'] });
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const data = { client_id: encode(credential.clientId), client_secret: encode(credential.clientSecret.reveal()) };
  await must(api, 'POST', '/api/v1/namespaces/bifrost/secrets', { metadata: { name: 'credential' }, data });
  const recorder = new Recorder(kubernetes({ kubeconfig: api.kubeconfig }));
  const digest = `sha256:${'0'.repeat(64)}`;
  const manager = stack.use(
    new NetworkManager({
      cluster: kubernetesCluster({ connection: recorder }),
      store: kubernetesStore({ connection: recorder }),
      controlPlane: new MemoryControlPlane({ control }),
      logger: streamLogger(process.stderr, { level: 'error' }),
      images: { tailscale: `tailscale@${digest}`, agent: `agent@${digest}` },
      ingest: { url: 'https://bifrost.bifrost.svc/v1/reports' },
      clusterRanges: { pods: ['10.244.0.0/16'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] },
      concurrency: IN_FLIGHT,
    }),
  );
  await manager.start();
  await manager.createTailnet({
    customerId: CUSTOMER,
    tailnetName: 'bench',
    config: { allowedNetworks: ['10.0.0.0/8'] },
    credential: { secretName: 'credential' },
  });
  await manager.waitFor({ tailnetName: 'bench', status: 'active' }, { signal: AbortSignal.timeout(10_000) });
  return { api, manager, recorder };
}

async function copy(from: ApiServer, to: ApiServer, { collection, name }: { readonly collection: string; readonly name: string }): Promise<void> {
  const object = (await must(from, 'GET', `${collection}/${name}`)) as Readonly<Record<string, unknown>>;
  await must(to, 'POST', collection, { ...object, metadata: { name } });
}

/** Deployments with 0 replicas, as their owner made them. */
async function makeBooks(api: ApiServer, names: readonly string[]): Promise<readonly Target[]> {
  const targets: Target[] = [];
  await inFlight(names, async (name) => {
    const labels = { app: name };
    const template = {
      metadata: { labels },
      spec: { serviceAccountName: 'default', containers: [{ name: 'book', image: 'book', ports: [{ containerPort: 8080 }] }] },
    };
    const body = { metadata: { name }, spec: { replicas: 0, selector: { matchLabels: labels }, template } };
    const { metadata } = (await must(api, 'POST', `/apis/apps/v1/namespaces/${SPACE}/deployments`, body)) as { metadata: { uid: string } };
    targets.push({ name, uid: metadata.uid, sidecarId: crypto.randomUUID() });
  });
  return targets;
}

/** Attaches and waits until the fragment is in the Deployment and the state is written. */
async function attachAll({ manager }: World, names: readonly string[]): Promise<number> {
  const waiting = new Map<string, () => void>();
  const early = new Set<string>();
  using _attached = manager.on('sidecar:attached', ({ bookDeploymentId }) => {
    early.add(bookDeploymentId);
    waiting.get(bookDeploymentId)?.();
  });
  const fromMs = performance.now();
  await inFlight(names, async (name) => {
    const bookDeploymentId = `${SPACE}/${name}`;
    await manager.attachSidecar({ bookDeploymentId, tailnetName: 'bench', config: { hostname: name, acceptRoutes: true } });
    if (!early.has(bookDeploymentId)) await new Promise<void>((resolve) => waiting.set(bookDeploymentId, resolve));
  });
  return names.length / ((performance.now() - fromMs) / 1_000);
}

async function inserted(api: ApiServer, names: readonly string[]): Promise<number> {
  const { items } = (await must(api, 'GET', `/apis/apps/v1/namespaces/${SPACE}/deployments?limit=${BOOKS_PER_TAILNET}`)) as {
    items: { metadata: { name: string }; spec: { template: { spec: { initContainers?: unknown[] } } } }[];
  };
  const wanted = new Set(names);
  return items.filter(({ metadata, spec }) => wanted.has(metadata.name) && spec.template.spec.initContainers?.length === 3).length;
}

/** Attaches per second on a real API server, 16 in flight; the baseline sends the same requests in the same order by a bare client. */
export async function benchAttach({ smoke, say }: BenchOptions): Promise<BenchResult> {
  if (!apiServerIsBuilt()) throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'build the lab first: bash test/lab/lab build' });
  const [rounds, perRound] = smoke ? [1, 16] : [5, 200];
  await using stack = new AsyncDisposableStack();
  const world = await open(stack);
  const named = (prefix: string): string[] => Array.from({ length: rounds * perRound }, (_, index) => `${prefix}-${index}`);
  const [oursNames, baseNames] = [named('ours'), named('base')];
  const recorded = (await makeBooks(world.api, ['recorded', 'warm'])).find(({ name }) => name === 'recorded');
  await makeBooks(world.api, oursNames);
  // A server of its own: the manager would work on what the baseline writes.
  const other = await openServer(stack);
  await copy(world.api, other, { collection: '/apis/network.bifrost.dev/v1alpha1/tailnets', name: 'bench' });
  await copy(world.api, other, { collection: '/api/v1/namespaces/bifrost/secrets', name: 'credential' });
  const targets = await makeBooks(other, baseNames);
  say(`${oursNames.length} + ${targets.length} Deployments are there`);
  await attachAll(world, ['warm']);
  await pause(2_000); // what follows an attach by itself is over
  const trace = await world.recorder.trace(() => attachAll(world, ['recorded']));
  if (recorded === undefined) throw new RangeError('no Deployment to record');
  say(`one attach: ${trace.map(({ method, path }) => `${method} ${path.replace(/^\/apis?\//, '')}`).join(', ')}`);
  const slice = <T>(items: readonly T[], round: number): readonly T[] => items.slice(round * perRound, (round + 1) * perRound);
  const counted = world.recorder.count();
  const figures = await alternating(
    rounds,
    (round) => attachAll(world, slice(oursNames, round)),
    (round) => replay({ api: other, trace, recorded, targets: slice(targets, round), inFlight: IN_FLIGHT }),
  );
  const { reads, writes } = world.recorder.since(counted);
  const done = [await inserted(world.api, oursNames), await inserted(other, baseNames)];
  if (done.some((count) => count !== oursNames.length)) throw new RangeError(`attached ${done.join(' and ')} of ${oursNames.length} each`);
  const { ours, baseline } = compared(figures);
  return {
    name: 'attach',
    ours,
    baseline,
    ratio: compared(figures).ratio,
    unit: 'attaches per second',
    deployments: oursNames.length,
    in_flight: IN_FLIGHT,
    reads_per_attach: rounded(reads / oursNames.length),
    writes_per_attach: rounded(writes / oursNames.length),
  };
}
