import { BifrostError, type GuardOrder, type ReportAnswerV1, type ReportReason, type Secret } from '@bifrost/types/core';
import { volumeFiles } from '../../src/adapters/memory/pod-files.ts';
import { idlePodRuntime, type PodRuntime, type RunningPod, type RuntimePod } from '../../src/adapters/memory/pod-runtime.ts';
import type { SimulatedControl } from '../../src/adapters/memory/simulated-control.ts';
import { renderedHash } from '../../src/domain/live-guard.ts';
import { CONTAINERS, TOKEN_AUDIENCE, VOLUMES } from '../../src/domain/names.ts';
import type { Clock } from '../../src/ports/clock.ts';

/** What a report says beside who sends it; wire names. */
export type ReportChange = Readonly<Record<string, unknown>> & { readonly node?: Readonly<Record<string, unknown>> };

/** Takes a report as a door would. */
export type Deliver = (token: Secret, document: unknown) => Promise<unknown>;

/** One pod's agent, without a process: it reports when a test says so, and once when its pod starts. */
export class FakeAgent {
  readonly pod: RuntimePod;
  readonly deviceId: string;
  readonly ip: string;
  /** False: it neither beats nor says that it starts. */
  speaks = true;
  /** False: its guard does not take the orders that it is handed. */
  guardObeys = true;
  rxBytes = 0;
  txBytes = 0;
  seq = 0;
  startId: string;
  /** What the manager has ordered its guard to hold, the newest last. */
  readonly orders: GuardOrder[] = [];
  readonly #parts: Parts;
  #node: Readonly<Record<string, unknown>> = {};
  #starts = 0;
  #guard: { readonly holds?: string; readonly received?: string } | undefined;

  constructor(parts: Parts, pod: RuntimePod, device: { readonly deviceId: string; readonly addresses: readonly string[] }) {
    this.#parts = parts;
    this.pod = pod;
    this.deviceId = device.deviceId;
    this.ip = device.addresses[0] ?? '';
    this.startId = `${pod.uid}-0`;
    const holds = renderedHash(pod.template.spec.initContainers);
    this.#guard = holds === undefined ? undefined : { holds };
  }

  get hasLiveGuard(): boolean {
    return this.#guard !== undefined;
  }

  get sidecarId(): string {
    const agent = this.pod.template.spec.initContainers?.find(({ name }) => name === CONTAINERS.agent);
    return agent?.env?.find(({ name }) => name === 'BIFROST_SIDECAR_ID')?.value ?? '';
  }

  /** The daemon's state from now on, over a healthy one. */
  set node(change: Readonly<Record<string, unknown>>) {
    this.#node = change;
  }

  /** A new agent process: counts from zero. */
  restart(): void {
    this.#starts += 1;
    this.startId = `${this.pod.uid}-${this.#starts}`;
    this.seq = 0;
    this.rxBytes = 0;
    this.txBytes = 0;
  }

  document(reason: ReportReason, { node, ...change }: ReportChange = {}): Record<string, unknown> {
    const healthy = { reachable: true, backend_state: 'Running', usable: true, device_id: this.deviceId, ips: [this.ip], health: [] };
    return {
      v: 1,
      sidecar_id: this.sidecarId,
      pod_uid: this.pod.uid,
      agent_version: '0.0.0',
      start_id: this.startId,
      started_at_ms: 1,
      seq: this.seq++,
      sent_at_ms: this.#parts.clock.nowMs(),
      reason,
      rx_bytes: this.rxBytes,
      tx_bytes: this.txBytes,
      peers: [],
      ...(this.#guard === undefined ? {} : { guard: this.#guard }),
      ...change,
      node: { ...healthy, ...this.#node, ...node },
    };
  }

  /** Sends one report. @throws what the manager answers */
  async report(reason: ReportReason = 'heartbeat', change: ReportChange = {}): Promise<unknown> {
    const onTheWire: unknown = JSON.parse(JSON.stringify(this.document(reason, change)));
    const answer = await this.#parts.deliver(this.pod.serviceAccountToken, onTheWire);
    const { guard } = answer as ReportAnswerV1;
    if (guard !== undefined) this.orders.push(guard);
    if (guard !== undefined && this.#guard !== undefined)
      this.#guard = this.guardObeys ? { holds: guard.hash } : { ...this.#guard, received: guard.hash };
    return answer;
  }
}

interface Parts {
  readonly control: SimulatedControl;
  readonly clock: Clock;
  readonly deliver: Deliver;
}

/** The address of IPv6 of a pod by that of IPv4, as Kubernetes writes it. */
const sixOf = (ip: string): string =>
  `fd00:244::${ip
    .split('.')
    .slice(2)
    .reduce((number, part) => number * 256 + Number(part), 0)
    .toString(16)}`;

/**
 * Runs pods as a kubelet, a tailscaled and an agent would, all without processes: a pod with a sidecar joins the simulated control plane with the
 * key from its Secret volume; its agent is {@link FakeAgent}.
 */
export class FakeAgents implements PodRuntime {
  readonly audience = TOKEN_AUDIENCE;
  readonly #parts: Parts;
  readonly #idle = idlePodRuntime();
  readonly #agents = new Map<string, FakeAgent>();
  /** False: pods that start from now on say nothing. */
  speak = true;
  /** True: pods that start from now on have an address of IPv6 too. */
  dualStack = false;
  #held: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get all(): readonly FakeAgent[] {
    return [...this.#agents.values()];
  }

  /** The only agent there is. */
  get one(): FakeAgent {
    const [first, second] = this.all;
    if (first === undefined || second !== undefined) throw new BifrostError({ code: 'INTERNAL', message: `${this.#agents.size} agents, not one` });
    return first;
  }

  /** Until disposed no pod comes to its end: a long grace, or a node that is dead. */
  holdPods(): Disposable {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    return { [Symbol.dispose]: resolve };
  }

  /** A heartbeat of every agent that speaks; refusals are left alone, as an agent would try again. */
  async beat(): Promise<void> {
    for (const agent of this.all) if (agent.speaks) await agent.report().catch(() => {});
  }

  async startPod(pod: RuntimePod, options: { readonly signal: AbortSignal }): Promise<RunningPod> {
    const tailscale = pod.template.spec.initContainers?.find(({ name }) => name === CONTAINERS.tailscale);
    const running = await this.#idle.startPod(pod, options);
    if (tailscale === undefined) return running;
    const authKey = volumeFiles(pod, VOLUMES.key).get('authkey');
    if (authKey === undefined) throw new BifrostError({ code: 'CLUSTER_REJECTED', message: 'the pod waits for its key' });
    const value = (name: string): string => tailscale.env?.find((variable) => variable.name === name)?.value ?? '';
    const routes = value('TS_ROUTES').split(',').filter(Boolean);
    const device = this.#parts.control.join({ authKey, hostname: value('TS_HOSTNAME'), advertiseRoutes: routes });
    const agent = new FakeAgent(this.#parts, pod, device);
    agent.speaks = this.speak;
    this.#agents.set(pod.uid, agent);
    if (this.speak) setImmediate(() => void agent.report('start').catch(() => {}));
    return {
      ...running,
      ...(this.dualStack ? { ips: [running.ip, sixOf(running.ip)] } : {}),
      [Symbol.asyncDispose]: async () => {
        await this.#held;
        this.#agents.delete(pod.uid);
        if (this.#parts.control.device(device.deviceId) !== undefined) this.#parts.control.setConnected(device.deviceId, false);
        await running[Symbol.asyncDispose]();
      },
    };
  }
}
