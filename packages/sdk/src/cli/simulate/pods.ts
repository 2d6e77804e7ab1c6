import { BifrostError, type ReportAnswerV1, type Secret } from '@bifrost/types/core';
import { volumeFiles } from '../../adapters/memory/pod-files.ts';
import { idlePodRuntime, type PodRuntime, type RunningPod, type RuntimePod } from '../../adapters/memory/pod-runtime.ts';
import type { SimulatedControl } from '../../adapters/memory/simulated-control.ts';
import type { SimulatedDevice } from '../../adapters/memory/simulated-tailnet.ts';
import { renderedHash } from '../../domain/live-guard.ts';
import { CONTAINERS, VOLUMES } from '../../domain/names.ts';
import type { Clock } from '../../ports/clock.ts';

const CUT_BEATS = 3;

interface Parts {
  readonly control: SimulatedControl;
  readonly clock: Clock;
  readonly heartbeatMs: number;
  /** So often each pod's link is lost for a few heartbeats, milliseconds; 0: never. */
  readonly disturbMs: number;
  /** Takes a report as the door for agents would. */
  readonly deliver: (token: Secret, document: unknown) => Promise<ReportAnswerV1>;
}

/** Runs pods without processes: one with a sidecar joins the simulated control plane, and reports some traffic at each heartbeat. */
export function simulatedPods(parts: Parts): PodRuntime {
  const idle = idlePodRuntime();
  return {
    startPod: async (pod, options) => {
      const running = await idle.startPod(pod, options);
      const tailscale = pod.template.spec.initContainers?.find(({ name }) => name === CONTAINERS.tailscale);
      if (tailscale === undefined) return running;
      const value = (container: string, name: string): string =>
        pod.template.spec.initContainers?.find((one) => one.name === container)?.env?.find((variable) => variable.name === name)?.value ?? '';
      const routes = value(CONTAINERS.tailscale, 'TS_ROUTES')
        .split(',')
        .filter((route) => route !== '');
      const join = (): SimulatedDevice => {
        const authKey = volumeFiles(pod, VOLUMES.key).get('authkey');
        if (authKey === undefined) throw new BifrostError({ code: 'CLUSTER_REJECTED', message: 'The pod waits for its key.' });
        return parts.control.join({ authKey, hostname: value(CONTAINERS.tailscale, 'TS_HOSTNAME'), advertiseRoutes: routes });
      };
      return reporting(parts, { pod, running, sidecarId: value(CONTAINERS.agent, 'BIFROST_SIDECAR_ID'), joined: join(), join });
    },
  };
}

interface Reporter {
  readonly pod: RuntimePod;
  readonly running: RunningPod;
  readonly sidecarId: string;
  readonly joined: SimulatedDevice;
  /** As another device. @throws {BifrostError} there is no key, or the control plane does not take it */
  readonly join: () => SimulatedDevice;
}

function reporting(parts: Parts, { pod, running, sidecarId, joined, join }: Reporter): RunningPod {
  const { clock, control, heartbeatMs, disturbMs, deliver } = parts;
  const ended = new AbortController();
  const startedAtMs = clock.nowMs();
  let holds = renderedHash(pod.template.spec.initContainers);
  let device = joined;
  let beats = 0;
  const document = (seq: number): unknown => {
    const isIn = control.device(device.deviceId) !== undefined;
    const usable = isIn && !isCut(seq);
    if (usable && seq > 0) beats += 1;
    const state = isIn ? (usable ? 'Running' : 'Starting') : 'NeedsLogin';
    return {
      ...(holds === undefined ? {} : { guard: { holds } }),
      ...{ v: 1, sidecar_id: sidecarId, pod_uid: pod.uid, agent_version: '0.0.0', start_id: `${pod.uid}-0`, started_at_ms: startedAtMs },
      ...{ seq, sent_at_ms: clock.nowMs(), reason: seq === 0 ? 'start' : 'heartbeat', rx_bytes: beats * 48_000, tx_bytes: beats * 12_000, peers: [] },
      node: { reachable: true, backend_state: state, usable, device_id: device.deviceId, ips: device.addresses.slice(0, 1), health: [] },
    };
  };
  const every = Math.ceil(disturbMs / heartbeatMs);
  const isCut = (seq: number): boolean => every > 0 && seq > every && seq % every < CUT_BEATS;
  // A pod whose device was deleted joins as another one as soon as there is a key for it.
  const joinAgain = (): void => {
    if (control.device(device.deviceId) !== undefined) return;
    try {
      device = join();
    } catch (error) {
      if (!BifrostError.is(error)) throw error;
    }
  };
  const report = async (): Promise<void> => {
    for (let seq = 0; ; seq += 1) {
      joinAgain();
      const answer = await deliver(pod.serviceAccountToken, document(seq)).catch(() => undefined); // an agent would try again too
      if (holds !== undefined) holds = answer?.guard?.hash ?? holds;
      await clock.sleep(seq === 0 ? 200 : heartbeatMs, { signal: ended.signal });
    }
  };
  const reports = report().catch(() => {}); // ends with the pod
  return {
    ...running,
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await reports;
      if (control.device(device.deviceId) !== undefined) control.setConnected(device.deviceId, false);
      await running[Symbol.asyncDispose]();
    },
  };
}
