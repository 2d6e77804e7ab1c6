import { createHash } from 'node:crypto';
import type { Secret, WorkloadReference } from '@bifrost/types/core';
import { TOKEN_AUDIENCE } from '../../domain/names.ts';
import type { PodTemplateShape } from '../../domain/pod-shape.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ContainerState, SecretReference } from '../../ports/cluster.ts';
import type { Logger } from '../../ports/logger.ts';
import { nextRolloutStep, type RolloutGoal, type RolloutStep } from './cluster-rollout.ts';
import { type ClusterState, secretKey, type WorkloadRecord } from './cluster-state.ts';
import type { PodRuntime, RunningPod, RuntimePod } from './pod-runtime.ts';
import { podSecurityViolations } from './pod-security.ts';
import type { PodTokens } from './pod-tokens.ts';

interface PodEnd {
  readonly outcome: 'Succeeded' | 'Failed';
  readonly containers: readonly ContainerState[];
}

/** A pod of a memory cluster, from its making until its last container is gone. */
export interface PodRecord {
  readonly uid: string;
  readonly name: string;
  readonly workload: WorkloadReference;
  /** The workload at the end of the owner walk: the CronJob of a Job that one made, else the workload itself. */
  readonly rootUid: string;
  readonly template: PodTemplateShape;
  readonly revision: string;
  readonly ordinal: number;
  readonly createdAtMs: number;
  readonly stop: AbortController;
  readonly secretListeners: Set<{ readonly name: string; readonly listener: () => void }>;
  running: RunningPod | undefined;
  /** Set when it has run to its end; it is there until its Job goes. */
  over: (PodEnd & Pick<RunningPod, 'ip' | 'ips'>) | undefined;
  gone: Promise<void>;
}

interface Parts {
  readonly state: ClusterState;
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tokens: PodTokens;
  /** Called after each change of a pod, its coming and its end included. */
  readonly onPod: (uid: string) => void;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const NAME_LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

/** Makes and ends pods until each workload has what it wants: the part of kube-controller-manager, scheduler and kubelet. */
export class PodController implements AsyncDisposable {
  readonly #parts: Parts;
  readonly #pods = new Map<string, PodRecord>();
  readonly #queue = new Set<string>();
  readonly #waiters = new Set<() => void>();
  #busy = false;
  #closed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get pods(): ReadonlyMap<string, PodRecord> {
    return this.#pods;
  }

  podsOf({ uid }: { readonly uid: string }): readonly PodRecord[] {
    return [...this.#pods.values()].filter(({ workload, rootUid }) => workload.uid === uid || rootUid === uid);
  }

  /** Looks at a workload, and goes on with it whenever one of its pods changes. */
  look(workloadUid: string): void {
    this.#queue.add(workloadUid);
    if (this.#busy) return; // a runtime that reports while it is being called
    this.#busy = true;
    try {
      for (const uid of this.#queue) {
        this.#queue.delete(uid);
        this.#work(uid);
      }
    } finally {
      this.#busy = false;
    }
    for (const waiter of this.#waiters) waiter();
  }

  secretChanged(secret: SecretReference): void {
    for (const pod of this.#pods.values()) {
      if (pod.workload.namespace !== secret.namespace) continue;
      for (const { name, listener } of pod.secretListeners) if (name === secret.name) listener();
    }
  }

  /** True when no workload wants another step of its pods. A pod that pod security forbids is never made, and nobody waits for it. */
  get isSettled(): boolean {
    const owners = new Set([...this.#parts.state.workloads.keys(), ...[...this.#pods.values()].map(({ workload }) => workload.uid)]);
    return [...owners].every((uid) => {
      const { kind } = this.#step(uid);
      return kind === 'settled' || (kind === 'start' && this.#forbidden(uid).length > 0);
    });
  }

  /** Calls `listener` whenever {@link PodController.isSettled} may have changed. */
  onLook(listener: () => void): Disposable {
    this.#waiters.add(listener);
    return { [Symbol.dispose]: () => void this.#waiters.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const pods = [...this.#pods.values()];
    for (const { stop } of pods) stop.abort();
    await Promise.all(pods.map(({ gone }) => gone));
  }

  #goal(workloadUid: string): RolloutGoal {
    const record = this.#parts.state.workload({ uid: workloadUid });
    if (record === undefined) return { kind: 'Deployment', replicas: 0, revision: '' };
    const { reference, backoffLimit, ended } = record;
    const replicas = this.#parts.state.wantedPods({ ...record, ended: undefined });
    return { kind: reference.kind, replicas, revision: revisionOf(record.template), backoffLimit, ended: ended !== undefined };
  }

  #step(workloadUid: string): RolloutStep {
    const own = [...this.#pods.values()].filter(({ workload }) => workload.uid === workloadUid);
    const pods = own.map((pod) => ({ ...pod, ready: isReady(pod), deleting: pod.stop.signal.aborted, outcome: pod.over?.outcome }));
    return nextRolloutStep(this.#goal(workloadUid), pods);
  }

  #forbidden(workloadUid: string): readonly string[] {
    const record = this.#parts.state.workload({ uid: workloadUid });
    return record === undefined ? [] : podSecurityViolations(this.#parts.state.enforcedLevel(record.reference.namespace), record.template);
  }

  #work(workloadUid: string): void {
    while (!this.#closed) {
      const step = this.#step(workloadUid);
      const record = this.#parts.state.workload({ uid: workloadUid });
      if (step.kind === 'stop') this.#stop(step.uid);
      else if (step.kind === 'end' && record !== undefined) this.#parts.state.write({ ...record, ended: step.as }, record);
      else if (step.kind !== 'start' || record === undefined) return;
      else if (this.#forbidden(workloadUid).length > 0) {
        const { namespace, name } = record.reference;
        this.#parts.logger.log('warn', 'pod security forbids the pods of a workload', { namespace, workload: name });
        return;
      } else this.#start(record, step.ordinal);
    }
  }

  #stop(uid: string): void {
    this.#pods.get(uid)?.stop.abort();
    this.#parts.onPod(uid);
  }

  #start(record: WorkloadRecord, ordinal: number): void {
    const { clock, onPod } = this.#parts;
    const revision = revisionOf(record.template);
    const { kind, name } = record.reference;
    const suffix = Array.from({ length: 5 }, () => NAME_LETTERS[Math.floor(clock.random() * NAME_LETTERS.length)] ?? 'x').join('');
    const pod: PodRecord = {
      uid: clock.newId(),
      name: kind === 'StatefulSet' ? `${name}-${ordinal}` : kind === 'Deployment' ? `${name}-${revision}-${suffix}` : `${name}-${suffix}`,
      workload: record.reference,
      rootUid: record.owner?.uid ?? record.reference.uid,
      template: structuredClone(record.template),
      revision,
      ordinal,
      createdAtMs: clock.nowMs(),
      stop: new AbortController(),
      secretListeners: new Set(),
      running: undefined,
      over: undefined,
      gone: Promise.resolve(),
    };
    this.#pods.set(pod.uid, pod);
    onPod(pod.uid);
    pod.gone = this.#run(pod);
  }

  async #run(pod: PodRecord): Promise<void> {
    const { logger, onPod, tokens } = this.#parts;
    const { namespace } = pod.workload;
    try {
      await this.#untilOver(pod);
    } catch (error) {
      logger.log('error', 'a pod did not stop cleanly', { namespace, pod: pod.name, error: nameOf(error) });
    }
    if (pod.over !== undefined) {
      pod.running = undefined;
      this.#changed(pod);
      await aborted(pod.stop.signal);
    }
    this.#pods.delete(pod.uid);
    pod.secretListeners.clear();
    tokens.revoke(pod.uid);
    onPod(pod.uid);
    this.look(pod.workload.uid);
  }

  /** Runs it until it is no longer wanted, or all its main containers have ended. What still runs in it ends with it. */
  async #untilOver(pod: PodRecord): Promise<void> {
    await using running = await this.#started(pod);
    pod.running = running;
    const ended = Promise.withResolvers<void>();
    const look = (): void => {
      const outcome = running?.outcome?.();
      if (running !== undefined && outcome !== undefined && pod.over === undefined) {
        const containers = running.containers().map((state) => ({ ...state, running: false, ready: false }));
        pod.over = { outcome, containers, ip: running.ip, ...(running.ips === undefined ? {} : { ips: running.ips }) };
        ended.resolve();
      }
      this.#changed(pod);
    };
    using _changes = running?.onChange(look);
    look();
    await Promise.race([aborted(pod.stop.signal), ended.promise]);
  }

  /** Tries until the pod runs, or is no longer wanted: then undefined. */
  async #started(pod: PodRecord): Promise<RunningPod | undefined> {
    const { runtime, clock, logger } = this.#parts;
    const { signal } = pod.stop;
    const { namespace } = pod.workload;
    for (let pause = FIRST_PAUSE_MS; !signal.aborted; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        return await runtime.startPod(this.#told(pod), { signal });
      } catch (error) {
        if (signal.aborted) break;
        logger.log('warn', 'a pod cannot start yet', { namespace, pod: pod.name, pauseMs: pause, error: nameOf(error) });
        await clock.sleep(pause, { signal }).catch(() => {}); // only its abort, which the loop sees
      }
    }
    return undefined;
  }

  #told(pod: PodRecord): RuntimePod {
    const { state, tokens } = this.#parts;
    const { namespace } = pod.workload;
    return {
      namespace,
      name: pod.name,
      uid: pod.uid,
      workload: pod.workload,
      template: structuredClone(pod.template),
      serviceAccountToken: tokens.issue(pod.uid, TOKEN_AUDIENCE),
      readSecret: (name): ReadonlyMap<string, Secret> | undefined => {
        const found = state.secrets.get(secretKey({ namespace, name }));
        return found && new Map(found.data);
      },
      onSecretChange: (name, listener) => {
        const entry = { name, listener };
        pod.secretListeners.add(entry);
        return { [Symbol.dispose]: () => void pod.secretListeners.delete(entry) };
      },
    };
  }

  #changed(pod: PodRecord): void {
    this.#parts.onPod(pod.uid);
    this.look(pod.workload.uid);
  }
}

/** The pod's containers, all of them waiting while it does not run. */
export function containersOf({ running, over, template: { spec } }: PodRecord): readonly ContainerState[] {
  if (over !== undefined) return over.containers;
  const waiting = [...(spec.initContainers ?? []), ...spec.containers].map(({ name }) => ({ name, running: false, ready: false, restarts: 0 }));
  return running?.containers() ?? waiting;
}

const isReady = (pod: PodRecord): boolean => containersOf(pod).every(({ ready }) => ready);

const nameOf = (error: unknown): string => (error instanceof Error ? `${error.name}: ${error.message}` : typeof error);

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Equal templates have equal revisions, whatever the order of their members. */
function revisionOf(template: PodTemplateShape): string {
  const sorted = JSON.stringify(template, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort()) : value,
  );
  const digest = createHash('sha256').update(sorted).digest().subarray(0, 10);
  return Array.from(digest, (byte) => NAME_LETTERS[byte % NAME_LETTERS.length]).join('');
}
