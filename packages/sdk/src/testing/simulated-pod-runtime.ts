import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { idlePodRuntime, type PodRuntime, type RunningPod, type RuntimePod } from '../adapters/memory/pod-runtime.ts';
import { CONTAINERS } from '../domain/names.ts';
import type { SimulatedControl } from './simulated-control.ts';
import { SimulatedPod } from './simulated-pod.ts';

/** Options of {@link SimulatedPodRuntime}. */
export interface SimulatedPodRuntimeOptions {
  /** The control plane that the pods' simulated tailscaled join. */
  readonly control: SimulatedControl;
  /** The agent's program: the bundled file of `@bifrost/agent`. It runs as a process of its own, one per pod. */
  readonly agentProgram: string;
  /** Node that runs it. @default the Node of this process */
  readonly nodeProgram?: string;
  /** Pause before an ended container runs again, milliseconds; a kubelet's is longer. @default 200 */
  readonly restartMs?: number;
}

/**
 * Runs the pods of a memory cluster: for each pod with a sidecar a **real agent process**, and a simulated tailscaled whose LocalAPI it reads over a
 * unix socket. Pods without a sidecar only say that they run. A pod whose device the control plane deletes is logged out, and joins as another device once
 * there is a key that is taken: that is a restart of its tailscale container.
 *
 * @example
 * const cluster = new MemoryCluster({ clock, runtime: new SimulatedPodRuntime({ control, agentProgram }) });
 */
export class SimulatedPodRuntime implements PodRuntime {
  readonly #options: SimulatedPodRuntimeOptions;
  readonly #idle = idlePodRuntime();
  readonly #pods = new Map<string, SimulatedPod>();

  constructor(options: SimulatedPodRuntimeOptions) {
    this.#options = options;
  }

  /** A running pod with a sidecar, by its uid: the outside hand on its tailscaled and its agent. */
  pod(podUid: string): SimulatedPod | undefined {
    return this.#pods.get(podUid);
  }

  /** Processes of agents that are alive now. */
  agentPids(): readonly number[] {
    return [...this.#pods.values()].flatMap(({ agentPid }) => agentPid ?? []);
  }

  async startPod(pod: RuntimePod, options: { readonly signal: AbortSignal }): Promise<RunningPod> {
    const agent = pod.template.spec.initContainers?.find(({ name }) => name === CONTAINERS.agent);
    if (agent === undefined) return this.#idle.startPod(pod, options);
    const folder = await mkdtemp(join(tmpdir(), 'bifrost-pod-'));
    const running = new SimulatedPod({ ...this.#options, pod, folder, onEnd: () => this.#pods.delete(pod.uid) });
    try {
      await running.start(options);
    } catch (error) {
      await running[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    this.#pods.set(pod.uid, running);
    return running;
  }
}
