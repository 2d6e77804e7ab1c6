import { type ChildProcess, fork } from 'node:child_process';
import { on, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pause } from '../support/pause.ts';
import { type ApiBenchCommand, type ApiBenchServer, type Caller, grpcCaller, type HttpCall, httpCaller, Readers, type Sides } from './api-client.ts';
import { alternating, type BenchOptions, type BenchResult, compared, percentile, rounded } from './harness.ts';

const IN_FLIGHT = 64;
const CONNECTIONS = 20;
const KIB = 1024;

/** The server, in a process of its own. */
class Server implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly ready: ApiBenchServer;

  private constructor(child: ChildProcess, ready: ApiBenchServer) {
    this.#child = child;
    this.ready = ready;
  }

  static async start(readers: number): Promise<Server> {
    const program = fileURLToPath(new URL('api-server.ts', import.meta.url));
    const child = fork(program, [String(readers)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      execArgv: [...process.execArgv, '--expose-gc'],
    });
    const ended = once(child, 'exit').then(() => Promise.reject(new RangeError('the server has ended')));
    ended.catch(() => {}); // later on it is asked to
    const [ready] = (await Promise.race([once(child, 'message'), ended])) as [ApiBenchServer];
    return new Server(child, ready);
  }

  /** What the server says of `about` after a command; what else it says meanwhile is passed over. */
  async #ask<Answer>(command: ApiBenchCommand, about: string): Promise<Answer> {
    this.#child.send(command);
    for await (const [message] of on(this.#child, 'message')) if (about in message) return message as Answer;
    throw new RangeError('the server has ended');
  }

  async cpuMicroseconds(): Promise<number> {
    return (await this.#ask<{ cpuMicroseconds: number }>('cpu', 'cpuMicroseconds')).cpuMicroseconds;
  }

  memory(): Promise<Memory> {
    return this.#ask('memory', 'bytes');
  }

  /** A change of the pod's connection. @returns when the manager's event came */
  async change(to: 'Stopped' | 'Running'): Promise<number> {
    return (await this.#ask<{ atMs: number }>(to, to)).atMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

interface Block {
  readonly callsPerSecond: number;
  readonly cpuMicroseconds: number;
}

/** Calls with so many in flight, all the time. */
async function block(server: Server, caller: Caller, count: number): Promise<Block> {
  const before = await server.cpuMicroseconds();
  const fromMs = performance.now();
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await caller.call();
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  const tookMs = performance.now() - fromMs;
  return { callsPerSecond: (count / tookMs) * 1000, cpuMicroseconds: ((await server.cpuMicroseconds()) - before) / count };
}

/** One door against its constant: calls per second, and what a call costs the server. */
async function door(server: Server, open: Sides<() => Caller>, smoke: boolean) {
  await using ours = open.ours();
  await using baseline = open.baseline();
  const count = smoke ? 500 : 20_000;
  for (const caller of [ours, baseline]) await block(server, caller, Math.ceil(count / 4)); // warm
  const cpu = { ours: [] as number[], baseline: [] as number[] };
  const side = (name: 'ours' | 'baseline', caller: Caller) => async (): Promise<number> => {
    const { callsPerSecond, cpuMicroseconds } = await block(server, caller, count);
    cpu[name].push(cpuMicroseconds);
    return callsPerSecond;
  };
  const figures = await alternating(smoke ? 2 : 8, side('ours', ours), side('baseline', baseline));
  const { ours: oursUs, baseline: baselineUs } = compared(cpu);
  return { ...compared(figures), ours_cpu_us: oursUs, baseline_cpu_us: baselineUs, cpu_ratio: rounded(baselineUs / oursUs) };
}

/** What so many readers that have heard `changes` events cost a server, and how long an event takes to each, milliseconds. */
async function fanOut(server: Server, { port, readers, changes }: { readonly port: number; readonly readers: number; readonly changes: number }) {
  const empty = await server.memory();
  using all = new Readers(server.ready.apiKey, { port, readers, connections: CONNECTIONS });
  const opened = all.next();
  const isOpen = opened.then(() => true);
  // A stream shows that it is open by the first event that it tells.
  while (changes > 0 && !(await Promise.race([isOpen, pause(500, false)]))) {
    await server.change('Stopped');
    await server.change('Running');
  }
  await opened;
  const latenciesMs: number[] = [];
  for (let change = 0; change < changes; change += 1) {
    const heard = all.next();
    const atMs = await server.change('Stopped');
    await heard;
    latenciesMs.push(...Array.from(all.heardAtMs, (heardAtMs) => heardAtMs - atMs));
    await server.change('Running');
    await pause(200);
  }
  const full = await server.memory();
  return { latenciesMs, heapKib: rounded((full.bytes - empty.bytes) / KIB / readers) };
}

/** Each in a fresh server, so that its memory is of streams alone. The library's own stream tells once and then nothing. */
async function streams(smoke: boolean) {
  const readers = smoke ? 100 : 1_000;
  await using ours = await Server.start(readers);
  const { latenciesMs, heapKib } = await fanOut(ours, { port: ours.ready.grpc.ours, readers, changes: smoke ? 3 : 30 });
  await using library = await Server.start(readers);
  const bare = await fanOut(library, { port: library.ready.grpc.baseline, readers, changes: 0 });
  return {
    readers,
    p50_ms: rounded(percentile(latenciesMs, 0.5)),
    p99_ms: rounded(percentile(latenciesMs, 0.99)),
    heap_kib_per_stream: heapKib,
    library_heap_kib_per_stream: bare.heapKib,
  };
}

interface Memory {
  readonly bytes: number;
}

/**
 * GetNetworkStatus over gRPC and REST, 64 in flight, by a caller with a key, against the library's server answering a constant over HTTP/2
 * and as JSON over HTTP/1.1, in the same process; `page` is the constant as a page of our server. And 1,000 readers of MonitorConnectivity.
 */
export async function benchApi({ smoke, say }: BenchOptions): Promise<BenchResult> {
  const { grpc, rest, page } = await calls(smoke, say);
  const ratio = Math.min(grpc.ratio, rest.ratio);
  return { name: 'api', ours: grpc.ours, baseline: grpc.baseline, ratio, unit: 'calls per second', grpc, rest, page, streams: await streams(smoke) };
}

async function calls(smoke: boolean, say: (line: string) => void) {
  await using server = await Server.start(1);
  const { ready } = server;
  const overGrpc = (port: number) => () => grpcCaller(ready, port);
  const grpc = await door(server, { ours: overGrpc(ready.grpc.ours), baseline: overGrpc(ready.grpc.baseline) }, smoke);
  say(`gRPC: ${grpc.ours} of ${grpc.baseline} calls a second`);
  const byHttp = (call: HttpCall) => () => httpCaller(ready, call, IN_FLIGHT);
  const rest = await door(server, { ours: byHttp(ready.rest.ours), baseline: byHttp(ready.rest.baseline) }, smoke);
  say(`REST: ${rest.ours} of ${rest.baseline} calls a second`);
  await using page = byHttp(ready.page)();
  return { grpc, rest, page: rounded((await block(server, page, smoke ? 500 : 20_000)).callsPerSecond) };
}
