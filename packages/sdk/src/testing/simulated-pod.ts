import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { BifrostError } from '@bifrost/types/core';
import { MainContainers } from '../adapters/memory/main-containers.ts';
import { containerEnvironment, volumeFiles } from '../adapters/memory/pod-files.ts';
import type { RunningPod, RuntimePod } from '../adapters/memory/pod-runtime.ts';
import { renderedHash } from '../domain/live-guard.ts';
import { CONTAINERS, VOLUMES } from '../domain/names.ts';
import type { ContainerState } from '../ports/cluster.ts';
import type { SimulatedControl, SimulatedDevice } from './simulated-control.ts';
import { SimulatedGuard } from './simulated-guard.ts';
import { type SimulatedNode, type SimulatedPeer, TailscaledSimulator } from './tailscaled-simulator.ts';

/** As in the agent's image. */
const AGENT_FLAGS = [
  '--max-old-space-size=24',
  '--max-semi-space-size=1',
  '--lite-mode',
  '--optimize-for-size',
  '--v8-pool-size=0',
  '--expose-gc',
] as const;
const DEFAULT_RESTART_MS = 200;
const GRACE_MS = 1_500;

interface SimulatedPodOptions {
  readonly control: SimulatedControl;
  readonly agentProgram: string;
  readonly nodeProgram?: string;
  readonly restartMs?: number;
  readonly pod: RuntimePod;
  readonly folder: string;
  readonly onEnd: () => void;
}

const peerOf = (device: SimulatedDevice): SimulatedPeer => ({
  id: device.deviceId,
  hostname: device.hostname,
  ips: device.addresses,
  routes: device.enabledRoutes,
  online: device.connected,
});

const nodeOf = ({ deviceId, hostname, addresses, name }: SimulatedDevice): SimulatedNode => ({
  ...{ id: deviceId, hostname, ips: addresses },
  tailnetDomain: name.slice(name.indexOf('.') + 1),
});

/** One pod with a sidecar: a simulated tailscaled and a real agent process. Made by `SimulatedPodRuntime`. */
export class SimulatedPod implements RunningPod {
  readonly ip = '127.0.0.1';
  readonly #options: SimulatedPodOptions;
  readonly #listeners = new Set<() => void>();
  readonly #restarts = new Map<string, number>();
  readonly #stopping = new AbortController();
  readonly #main: MainContainers;
  readonly #guard: SimulatedGuard;
  #device: SimulatedDevice | undefined;
  #tailscaled: TailscaledSimulator | undefined;
  #agent: ChildProcess | undefined;
  #watch: Disposable | undefined;
  /** While its device is gone: the way back. */
  #joining: Promise<void> | undefined;

  constructor(options: SimulatedPodOptions) {
    this.#options = options;
    this.#main = new MainContainers(options.pod.template);
    this.#guard = new SimulatedGuard(join(options.folder, VOLUMES.guard));
  }

  /** The pod's tailscaled: cut its link, stop it, let bytes pass. */
  get tailscaled(): TailscaledSimulator {
    if (this.#tailscaled === undefined) throw new BifrostError({ code: 'LOCALAPI_UNAVAILABLE', message: 'The pod has not started.' });
    return this.#tailscaled;
  }

  /** The device that the pod joined as. */
  get deviceId(): string | undefined {
    return this.#device?.deviceId;
  }

  /** The agent's process id while it runs. */
  get agentPid(): number | undefined {
    return this.#agent?.exitCode === null && this.#agent.signalCode === null ? this.#agent.pid : undefined;
  }

  /** Starts the daemon and the agent. */
  async start({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { pod, folder, control } = this.#options;
    for (const volume of [VOLUMES.key, VOLUMES.identity]) await this.#mount(volume);
    signal.throwIfAborted();
    await this.#guard.start(renderedHash(pod.template.spec.initContainers));
    const device = this.#join();
    this.#device = device;
    this.#tailscaled = new TailscaledSimulator({
      socketPath: join(folder, 'tailscaled.sock'),
      node: nodeOf(device),
      peers: control.peersOf(device.deviceId).map(peerOf),
    });
    await this.#tailscaled.start({ signal });
    this.#watch = control.subscribe(() => this.#follow());
    this.#startAgent();
  }

  containers(): readonly ContainerState[] {
    const state = (name: string, running: boolean): ContainerState => ({ name, running, ready: running, restarts: this.#restarts.get(name) ?? 0 });
    const initial = (this.#options.pod.template.spec.initContainers ?? []).map(({ name, restartPolicy }): ContainerState => {
      if (name === CONTAINERS.agent) return state(name, this.agentPid !== undefined);
      if (name === CONTAINERS.tailscale) return state(name, this.#tailscaled?.running === true);
      return { ...state(name, restartPolicy === 'Always'), ready: true };
    });
    return [...initial, ...this.#main.states()];
  }

  /** Ends one of the book's containers as its own program does; nobody runs these. A Job's pod is over when all have ended. */
  end(containerName: string, exitCode: number): void {
    if (this.#main.end(containerName, exitCode)) this.#changed();
  }

  outcome(): 'Succeeded' | 'Failed' | undefined {
    return this.#main.outcome();
  }

  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** SIGKILL: the agent's process, the simulated daemon, which run again after a short pause, or a container of the book. */
  kill(containerName: string): void {
    if (containerName === CONTAINERS.agent) this.#agent?.kill('SIGKILL');
    else if (containerName === CONTAINERS.tailscale) void this.#bounceDaemon();
    else this.end(containerName, 137);
  }

  /** Ends both processes of the pod. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort(new BifrostError({ code: 'MANAGER_STOPPED', message: 'The pod ends.' }));
    this.#watch?.[Symbol.dispose]();
    await this.#joining;
    await this.#endAgent();
    await this.#guard[Symbol.asyncDispose]();
    await this.#tailscaled?.[Symbol.asyncDispose]();
    if (this.#device !== undefined && this.#options.control.device(this.#device.deviceId) !== undefined) {
      this.#options.control.setConnected(this.#device.deviceId, false);
    }
    await rm(this.#options.folder, { recursive: true, force: true });
    this.#listeners.clear();
    this.#options.onEnd();
  }

  /** @throws {BifrostError} `CLUSTER_REJECTED` — it has no key; `CONTROL_DENIED` — the control plane does not take it */
  #join(): SimulatedDevice {
    const { pod, control } = this.#options;
    const environment = this.#environmentOf(CONTAINERS.tailscale);
    const authKey = volumeFiles(pod, VOLUMES.key).get('authkey');
    if (authKey === undefined) throw new BifrostError({ code: 'CLUSTER_REJECTED', message: `Pod ${pod.name} waits for its key.` });
    const routes = environment['TS_ROUTES'];
    return control.join({ authKey, hostname: environment['TS_HOSTNAME'] ?? pod.name, advertiseRoutes: routes ? routes.split(',') : [] });
  }

  /** The network map follows the control plane; a device that was deleted there is logged out. */
  #follow(): void {
    const { control } = this.#options;
    const device = this.#device;
    if (device === undefined || this.#joining !== undefined || this.#stopping.signal.aborted) return;
    if (control.device(device.deviceId) !== undefined) {
      this.tailscaled.setPeers(control.peersOf(device.deviceId).map(peerOf));
      return;
    }
    this.tailscaled.setPeers([]);
    this.tailscaled.setBackendState('NeedsLogin');
    this.#joining = this.#joinAgain();
  }

  /** With the key that is there then, as another device, as a container that starts again does. The pod's end ends it. */
  async #joinAgain(): Promise<void> {
    let device: SimulatedDevice | undefined;
    while (device === undefined) {
      await this.#rest();
      if (this.#stopping.signal.aborted) return;
      try {
        device = this.#join();
      } catch (error) {
        if (!BifrostError.is(error)) throw error;
      }
    }
    this.#device = device;
    await this.#bounceDaemon(nodeOf(device));
    this.#joining = undefined;
    this.#follow(); // what has changed meanwhile
  }

  async #mount(volume: string): Promise<void> {
    for (const [path, value] of volumeFiles(this.#options.pod, volume)) {
      const file = join(this.#options.folder, volume, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, value.reveal(), { mode: 0o600 });
    }
  }

  #environmentOf(containerName: string): Readonly<Record<string, string>> {
    const { pod } = this.#options;
    const container = pod.template.spec.initContainers?.find(({ name }) => name === containerName);
    return container === undefined ? {} : containerEnvironment(container, pod, { podIp: this.ip, hostIp: this.ip });
  }

  #startAgent(): void {
    const { agentProgram, nodeProgram = process.execPath, folder } = this.#options;
    const rendered = this.#environmentOf(CONTAINERS.agent);
    const identity = join(folder, VOLUMES.identity);
    const { order, holds } = this.#guard.files;
    const environment = {
      ...rendered,
      BIFROST_TOKEN_FILE: join(identity, 'token'),
      ...(rendered['BIFROST_CA_FILE'] === undefined ? {} : { BIFROST_CA_FILE: join(identity, 'ca.crt') }),
      BIFROST_TAILSCALED_SOCKET: join(folder, 'tailscaled.sock'),
      BIFROST_LISTEN: `${this.ip}:0`, // all pods share this machine's address
      ...(rendered['BIFROST_GUARD_ORDER_FILE'] === undefined ? {} : { BIFROST_GUARD_ORDER_FILE: order, BIFROST_GUARD_HOLDS_FILE: holds }),
    };
    const agent = spawn(nodeProgram, [...AGENT_FLAGS, agentProgram], { env: environment, stdio: 'ignore' });
    this.#agent = agent;
    agent.once('exit', () => void this.#agentEnded(agent));
    agent.once('error', () => {}); // told by its exit
    this.#changed();
  }

  async #agentEnded(agent: ChildProcess): Promise<void> {
    this.#changed();
    await this.#rest();
    if (this.#stopping.signal.aborted || this.#agent !== agent) return;
    this.#restarts.set(CONTAINERS.agent, (this.#restarts.get(CONTAINERS.agent) ?? 0) + 1);
    this.#startAgent();
  }

  async #endAgent(): Promise<void> {
    const agent = this.#agent;
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = once(agent, 'exit');
    agent.kill('SIGTERM');
    const grace = new AbortController();
    const late = pause(GRACE_MS, undefined, { signal: grace.signal }).then(
      () => agent.kill('SIGKILL'),
      () => {},
    );
    await ended;
    grace.abort();
    await late;
  }

  async #bounceDaemon(joined?: SimulatedNode): Promise<void> {
    await this.#tailscaled?.stop();
    if (joined !== undefined) {
      this.#tailscaled?.setNode(joined);
      this.#tailscaled?.setBackendState('Running');
    }
    this.#changed();
    await this.#rest();
    if (this.#stopping.signal.aborted) return;
    this.#restarts.set(CONTAINERS.tailscale, (this.#restarts.get(CONTAINERS.tailscale) ?? 0) + 1);
    await this.#tailscaled?.start({ signal: this.#stopping.signal }).catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) throw error;
    });
    this.#changed();
  }

  /** Until an ended container runs again; the pod's end ends it. */
  async #rest(): Promise<void> {
    await pause(this.#options.restartMs ?? DEFAULT_RESTART_MS, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
