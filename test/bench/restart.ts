import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { BifrostError } from '@bifrost/sdk';
import { SimulatedControl, TailscaleApiSimulator } from '@bifrost/sdk/testing';
import { Pool } from 'undici';
import { type ApiServer, apiServerIsBuilt, applyManifest, startApiServer } from '../support/api-server.ts';
import { freePort } from '../support/free-port.ts';
import { pause } from '../support/pause.ts';
import { type BenchOptions, type BenchResult, rounded } from './harness.ts';
import { IN_FLIGHT, inFlight, must } from './requests.ts';
import { SimulatedAgents } from './restart-agents.ts';
import type { RestartNews, RestartOrder } from './restart-manager.ts';
import { type Book, makeBooks, makePods } from './restart-objects.ts';

const SPACE = 'bench';

interface World {
  readonly api: ApiServer;
  readonly control: TailscaleApiSimulator;
  readonly port: number;
}

async function open(stack: AsyncDisposableStack): Promise<World> {
  const api = stack.use(await startApiServer());
  await applyManifest(api.call, new URL('../../examples/deploy/crds.yaml', import.meta.url));
  await must(api, 'POST', '/api/v1/namespaces', { metadata: { name: SPACE, labels: { 'bifrost.dev/customer-id': 'bench-customer' } } });
  await must(api, 'POST', '/api/v1/namespaces', { metadata: { name: 'bifrost' } });
  await must(api, 'POST', `/api/v1/namespaces/${SPACE}/serviceaccounts`, { metadata: { name: 'default' } });
  const simulated = new SimulatedControl();
  const { credential } = simulated.addTailnet({ displayName: 'bench', tags: ['tag:bifrost-book'] });
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const data = { client_id: encode(credential.clientId), client_secret: encode(credential.clientSecret.reveal()) };
  await must(api, 'POST', '/api/v1/namespaces/bifrost/secrets', { metadata: { name: 'credential' }, data });
  const control = stack.use(new TailscaleApiSimulator(simulated));
  await control.start();
  return { api, control, port: await freePort() };
}

function startManager({ api, control, port }: World): ChildProcess {
  const file = fileURLToPath(new URL('restart-manager.ts', import.meta.url));
  return fork(file, [api.kubeconfigPath, control.url, String(port)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

async function ask<Answer>(manager: ChildProcess, order: 'news' | 'look'): Promise<Answer> {
  const answer = once(manager, 'message') as Promise<[Answer]>;
  manager.send(order);
  return (await answer)[0];
}

const news = (manager: ChildProcess): Promise<RestartNews> => ask(manager, 'news');
/** Instances that the manager calls connected, and has heard itself. */
const observed = (manager: ChildProcess): Promise<number> => ask(manager, 'look');

async function until(manager: ChildProcess, done: (now: RestartNews) => boolean): Promise<RestartNews> {
  for (;;) {
    const now = await news(manager);
    if (done(now)) return now;
    await pause(50);
  }
}

/** What nobody can do without: the objects once, and one TokenReview for each pod, by a bare client. Seconds. */
async function bare({ api }: World, tokens: readonly string[]): Promise<number> {
  const pool = new Pool(api.url, { connections: IN_FLIGHT, connect: { ca: api.certificateAuthority } });
  const headers = { authorization: `Bearer ${api.adminToken}`, 'content-type': 'application/json' };
  const send = async (method: 'GET' | 'POST', path: string, body?: unknown): Promise<void> => {
    const answer = await pool.request({ method, path, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    JSON.parse(await answer.body.text());
    if (answer.statusCode > 299) throw new RangeError(`${method} ${path}: HTTP ${answer.statusCode}`);
  };
  try {
    const fromMs = performance.now();
    const group = '/apis/network.bifrost.dev/v1alpha1';
    for (const path of [`${group}/tailnets`, `${group}/sidecarattachments`, '/api/v1/pods']) await send('GET', path);
    await inFlight(tokens, (token) => {
      const spec = { token, audiences: ['bifrost'] };
      return send('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec });
    });
    return (performance.now() - fromMs) / 1_000;
  } finally {
    await pool.close();
  }
}

/** From `kill -9` of a manager with so many attachments until the next one has heard every pod; agents try again as real ones do. */
export async function benchRestart({ smoke, say }: BenchOptions): Promise<BenchResult> {
  if (!apiServerIsBuilt()) throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'build the lab first: bash test/lab/lab build' });
  const count = smoke ? 50 : 1_000;
  await using stack = new AsyncDisposableStack();
  const world = await open(stack);
  let manager = startManager(world);
  stack.defer(() => void manager.kill('SIGKILL'));
  const books: readonly Book[] = await makeBooks(world.api, { space: SPACE, count });
  manager.send({ attach: books.map(({ name }) => `${SPACE}/${name}`), tailnetName: 'bench' } satisfies RestartOrder);
  await until(manager, ({ attached }) => attached === count);
  say(`${count} workloads are attached`);
  const pods = await makePods(world.api, { space: SPACE, books });
  const agents = stack.use(new SimulatedAgents(world.port, pods));
  await until(manager, ({ heard }) => heard === count);
  say('every pod has been heard');
  const ended = once(manager, 'exit');
  manager.kill('SIGKILL');
  await ended;
  const last = world.control.requests.at(-1);
  const killedAtMs = performance.now();
  manager = startManager(world);
  const { reads, writes } = await until(manager, ({ heard }) => heard === count);
  const seconds = (performance.now() - killedAtMs) / 1_000;
  const { requests } = world.control;
  const controlCalls = requests.length - 1 - (last === undefined ? -1 : requests.lastIndexOf(last));
  const seen = await observed(manager);
  if (seen !== count) throw new RangeError(`${seen} of ${count} are observed`);
  await agents.stop();
  const settled = await news(manager);
  await pause(2_000);
  const after = await news(manager);
  const baseline = await bare(
    world,
    pods.map(({ token }) => token),
  );
  say(
    `heard after ${seconds.toFixed(1)} s; calls until then: Kubernetes ${reads} reads (watches among them) and ${writes} writes, control plane ${controlCalls}; two seconds later ${after.reads - settled.reads} reads more`,
  );
  return {
    name: 'restart',
    ours: rounded(seconds),
    baseline: rounded(baseline),
    ratio: rounded(seconds / baseline),
    unit: 's from kill -9 until all pods are heard',
    attachments: count,
    kubernetes_reads: reads,
    kubernetes_writes: writes,
    control_plane_calls: controlCalls,
  };
}
