import type { Secret, WorkloadReference } from '@bifrost/types/core';
import type { PodTemplateShape } from '../../domain/pod-shape.ts';
import type { ContainerState } from '../../ports/cluster.ts';
import { MainContainers } from './main-containers.ts';

/** A pod that a {@link PodRuntime} is to run, with all that a kubelet would be told. */
export interface RuntimePod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly workload: WorkloadReference;
  /** As it was when the pod was made; a later change of the workload makes a new pod. */
  readonly template: PodTemplateShape;
  /** Its projected token with audience `bifrost`; dead when the pod is gone. */
  readonly serviceAccountToken: Secret;
  /** A Secret of the pod's namespace as it is now; undefined when absent. */
  readSecret(name: string): ReadonlyMap<string, Secret> | undefined;
  /** Calls `listener` after each change of that Secret, as a kubelet refreshes a mounted one. Dispose to stop; stopped with the pod as well. */
  onSecretChange(name: string, listener: () => void): Disposable;
}

/** A pod that runs. Disposing it stops all its containers and resolves when they are gone. */
export interface RunningPod extends AsyncDisposable {
  readonly ip: string;
  /** With both families: one of each, `ip` first. Default: `ip` alone. */
  readonly ips?: readonly string[];
  /** One per container and init container. A finished init container is not running and ready; the pod is ready when all are. */
  containers(): readonly ContainerState[];
  /** Calls `listener` after each change of {@link RunningPod.containers}. */
  onChange(listener: () => void): Disposable;
  /** Ends the container as a crash would; the runtime starts it again by its own rules. */
  kill(containerName: string): void;
  /** Ends a main container as its own program does, with that exit code; whether it starts again is for the pod's `restartPolicy`. Leave it out where none ends. */
  end?(containerName: string, exitCode: number): void;
  /** Once every main container has ended for good: how. The pod is over then, and the cluster disposes it, with the sidecars that still run. */
  outcome?(): 'Succeeded' | 'Failed' | undefined;
}

/**
 * Where the pods of a memory cluster run: the kubelet's part. The runtime starts containers in order, restarts those that end (native sidecars and
 * book containers: always, with a back-off of its own) and counts restarts; the cluster only makes pods, reads their state and disposes them.
 */
export interface PodRuntime {
  /**
   * Resolves once the pod has its address; its containers may still be starting. A rejection means the pod cannot start now (a Secret lacks, say):
   * the cluster tries again with a growing pause for as long as the pod is wanted. When `signal` aborts, everything started so far is ended first.
   */
  startPod(pod: RuntimePod, options: { readonly signal: AbortSignal }): Promise<RunningPod>;
}

/** A runtime that runs nothing: every container is running and ready at once, until it is told to end; a killed one is back at once with one restart more. */
export function idlePodRuntime(): PodRuntime {
  let lastAddress = 0;
  return {
    startPod: async (pod, { signal }) => {
      signal.throwIfAborted();
      lastAddress += 1;
      return idlePod(`10.244.${(lastAddress >> 8) & 255}.${lastAddress & 255}`, pod.template);
    },
  };
}

function idlePod(ip: string, template: PodTemplateShape): RunningPod {
  const listeners = new Set<() => void>();
  const initial = new Map<string, ContainerState>();
  for (const { name, restartPolicy } of template.spec.initContainers ?? []) {
    initial.set(name, { name, running: restartPolicy === 'Always', ready: true, restarts: 0 });
  }
  const main = new MainContainers(template);
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  const end = (name: string, exitCode: number): void => {
    if (main.end(name, exitCode)) changed();
  };
  return {
    ip,
    containers: () => [...initial.values(), ...main.states()],
    onChange: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    kill: (name) => {
      const state = initial.get(name);
      if (state === undefined) return end(name, 137);
      initial.set(name, { ...state, restarts: state.restarts + 1 });
      changed();
    },
    end,
    outcome: () => main.outcome(),
    [Symbol.asyncDispose]: async () => listeners.clear(),
  };
}
