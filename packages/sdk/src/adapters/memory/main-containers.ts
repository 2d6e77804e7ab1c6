import type { PodTemplateShape } from '../../domain/pod-shape.ts';
import type { ContainerState } from '../../ports/cluster.ts';

interface MainContainer {
  readonly name: string;
  readonly restarts: number;
  /** Set when it has ended for good. */
  readonly exitCode: number | undefined;
}

/** The main containers of a pod whose programs nobody runs: each runs and is ready until it is told to end. What ends is started again as the pod's restartPolicy says. */
export class MainContainers {
  readonly #policy: unknown;
  readonly #containers: Map<string, MainContainer>;

  constructor({ spec }: PodTemplateShape) {
    this.#policy = spec['restartPolicy'] ?? 'Always';
    this.#containers = new Map(spec.containers.map(({ name }) => [name, { name, restarts: 0, exitCode: undefined }]));
  }

  states(): readonly ContainerState[] {
    return [...this.#containers.values()].map(({ name, restarts, exitCode }) => {
      const running = exitCode === undefined;
      return { name, running, ready: running, restarts };
    });
  }

  /** Ends the program with that code. True when the pod has such a container and it ran. */
  end(name: string, exitCode: number): boolean {
    const container = this.#containers.get(name);
    if (container === undefined || container.exitCode !== undefined) return false;
    const again = this.#policy === 'Always' || (this.#policy === 'OnFailure' && exitCode !== 0);
    this.#containers.set(name, again ? { ...container, restarts: container.restarts + 1 } : { ...container, exitCode });
    return true;
  }

  /** Undefined while any runs. */
  outcome(): 'Succeeded' | 'Failed' | undefined {
    const codes = [...this.#containers.values()].map(({ exitCode }) => exitCode);
    if (codes.includes(undefined)) return undefined;
    return codes.every((code) => code === 0) ? 'Succeeded' : 'Failed';
  }
}
