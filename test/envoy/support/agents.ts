import {
  idlePodRuntime,
  type ManualClock,
  type PodRuntime,
  type RunningPod,
  type RuntimePod,
  type SimulatedControl,
  volumeFiles,
} from '@bifrost/sdk/testing';
import type { Secret } from '@bifrost/types/core';

type Deliver = (token: Secret, document: unknown) => Promise<unknown>;

interface Parts {
  readonly control: SimulatedControl;
  readonly clock: ManualClock;
  readonly deliver: Deliver;
}

/** What an agent says beside who it is; wire names. */
interface Said {
  readonly reason?: 'start' | 'change' | 'heartbeat';
  readonly usable?: boolean;
  readonly rxBytes?: number;
  readonly txBytes?: number;
  readonly peers?: readonly unknown[];
}

/** The agent of one pod, without a process: it reports once when its pod starts, and then when a test says so. */
class Agent {
  readonly #parts: Parts;
  readonly #pod: RuntimePod;
  readonly #device: { readonly deviceId: string; readonly addresses: readonly string[] };
  #seq = 0;

  constructor(parts: Parts, pod: RuntimePod, device: { readonly deviceId: string; readonly addresses: readonly string[] }) {
    this.#parts = parts;
    this.#pod = pod;
    this.#device = device;
  }

  get sidecarId(): string {
    return environment(this.#pod, 'bifrost-agent', 'BIFROST_SIDECAR_ID');
  }

  async report({ reason = 'change', usable = true, rxBytes = 0, txBytes = 0, peers = [] }: Said = {}): Promise<void> {
    await this.#parts.deliver(this.#pod.serviceAccountToken, {
      v: 1,
      sidecar_id: this.sidecarId,
      pod_uid: this.#pod.uid,
      agent_version: '0.0.0',
      start_id: this.#pod.uid,
      started_at_ms: 1,
      seq: this.#seq++,
      sent_at_ms: this.#parts.clock.nowMs(),
      reason,
      rx_bytes: rxBytes,
      tx_bytes: txBytes,
      peers,
      node: {
        reachable: true,
        backend_state: 'Running',
        usable,
        device_id: this.#device.deviceId,
        ips: this.#device.addresses.slice(0, 1),
        health: [],
      },
    });
  }
}

const environment = (pod: RuntimePod, container: string, name: string): string =>
  pod.template.spec.initContainers?.find((each) => each.name === container)?.env?.find((each) => each.name === name)?.value ?? '';

/** Runs pods as a kubelet, a tailscaled and an agent would, all without processes. */
export class Agents implements PodRuntime {
  readonly #parts: Parts;
  readonly #idle = idlePodRuntime();
  readonly #agents = new Map<string, Agent>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The agent of a sidecar that has one pod. */
  of(sidecarId: string): Agent {
    const agent = [...this.#agents.values()].find((each) => each.sidecarId === sidecarId);
    if (agent === undefined) throw new RangeError('this sidecar has no agent');
    return agent;
  }

  async startPod(pod: RuntimePod, options: { readonly signal: AbortSignal }): Promise<RunningPod> {
    const running = await this.#idle.startPod(pod, options);
    if (environment(pod, 'bifrost-agent', 'BIFROST_SIDECAR_ID') === '') return running;
    const authKey = volumeFiles(pod, 'bifrost-key').get('authkey');
    if (authKey === undefined) throw new RangeError('the pod waits for its key');
    const device = this.#parts.control.join({ authKey, hostname: environment(pod, 'tailscale', 'TS_HOSTNAME'), advertiseRoutes: [] });
    const agent = new Agent(this.#parts, pod, device);
    this.#agents.set(pod.uid, agent);
    setImmediate(() => void agent.report({ reason: 'start' }).catch(() => {}));
    return {
      ...running,
      [Symbol.asyncDispose]: async () => {
        this.#agents.delete(pod.uid);
        await running[Symbol.asyncDispose]();
      },
    };
  }
}
