import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createRequire } from 'node:module';
import { type ManagedPod, managedPod } from '../support/managed-pod.ts';
import { pause } from '../support/pause.ts';
import { type BenchOptions, type BenchResult, median, percentile, rounded } from './harness.ts';

/** Ten times as often as by default: heartbeats, pings and surveys get in the way of changes as often. */
const HEARTBEAT_MS = 1_000;
/** Changes that have nothing to do with each other: further apart than any pause of the agent's. */
const APART_MS = { least: 300, spread: 400 } as const;

/** Milliseconds from a change of the daemon's state to the manager's event. */
async function change({ manager, pod }: ManagedPod, to: 'Stopped' | 'Running'): Promise<number> {
  const heard = Promise.withResolvers<number>();
  using _listening = manager.on(to === 'Stopped' ? 'instance:disconnected' : 'instance:connected', () => heard.resolve(performance.now()));
  const late = AbortSignal.timeout(10_000);
  late.addEventListener('abort', () => heard.reject(late.reason));
  const fromMs = performance.now();
  pod.tailscaled.setBackendState(to);
  return (await heard.promise) - fromMs;
}

const BARE = `require('node:http').createServer((q, r) => q.resume().on('end', () => r.end('{"v":1,"next_heartbeat_ms":1000}')))
  .listen(0, '127.0.0.1', function () { process.stdout.write(String(this.address().port)); });`;

/** Milliseconds of one POST of a report's size to a server in another process, on a warm connection. */
async function bareRoundTrips(count: number, stack: AsyncDisposableStack): Promise<() => Promise<number>> {
  const server = spawn(process.execPath, ['-e', BARE], { stdio: ['ignore', 'pipe', 'inherit'] });
  stack.defer(async () => {
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  });
  const [port] = (await once(server.stdout, 'data')) as [Buffer];
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  stack.defer(() => agent.destroy());
  const body = 'x'.repeat(1_000);
  const options = { host: '127.0.0.1', port: Number(String(port)), method: 'POST', agent, headers: { 'content-length': body.length } };
  const one = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const fromMs = performance.now();
      request(options, (incoming) => incoming.resume().on('end', () => resolve(performance.now() - fromMs)))
        .on('error', reject)
        .end(body);
    });
  for (let warm = 0; warm < count; warm += 1) await one();
  return one;
}

/** From a change in tailscaled to the SDK's event, through bus, agent process, HTTP and ingest; beside it one bare HTTP round trip. */
export async function benchEventLatency({ smoke, say }: BenchOptions): Promise<BenchResult> {
  const pairs = smoke ? 10 : 200;
  await using stack = new AsyncDisposableStack();
  const agentProgram = createRequire(import.meta.url).resolve('@bifrost/agent/agent.cjs');
  const world = stack.use(await managedPod({ agentProgram, heartbeatMs: HEARTBEAT_MS }));
  const bare = await bareRoundTrips(smoke ? 10 : 200, stack);
  const figures = { ours: [] as number[], bare: [] as number[] };
  await pause(2 * HEARTBEAT_MS); // what follows a start is over
  for (let pair = 0; pair < pairs; pair += 1) {
    for (const to of ['Stopped', 'Running'] as const) {
      figures.ours.push(await change(world, to));
      figures.bare.push(await bare());
      await pause(APART_MS.least + APART_MS.spread * Math.random());
    }
    if ((pair + 1) % 50 === 0) say(`${2 * (pair + 1)} changes, median ${rounded(median(figures.ours))} ms`);
  }
  const [ours, baseline] = [median(figures.ours), median(figures.bare)];
  return {
    name: 'event-latency',
    ours: rounded(ours),
    baseline: rounded(baseline),
    ratio: rounded(ours / baseline),
    unit: 'ms, median',
    p99_ms: rounded(percentile(figures.ours, 0.99)),
    max_ms: rounded(Math.max(...figures.ours)),
    baseline_p99_ms: rounded(percentile(figures.bare, 0.99)),
    changes: figures.ours.length,
    heartbeat_ms: HEARTBEAT_MS,
  };
}
