import { BifrostError, type ReportAnswerV1, type Secret } from '@bifrost/types/core';
import { volumeFiles } from '../../adapters/memory/pod-files.ts';
import { idlePodRuntime, type PodRuntime, type RunningPod, type RuntimePod } from '../../adapters/memory/pod-runtime.ts';
import type { SimulatedControl } from '../../adapters/memory/simulated-control.ts';
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
      const authKey = volumeFiles(pod, VOLUMES.key).get('authkey');
      if (authKey === undefined) throw new BifrostError({ code: 'CLUSTER_REJECTED', message: 'The pod waits for its key.' });
      const value = (container: string, name: string): string =>
        pod.template.spec.initContainers?.find((one) => one.name === container)?.env?.find((variable) => variable.name === name)?.value ?? '';
      const routes = value(CONTAINERS.tailscale, 'TS_ROUTES')
        .split(',')
        .filter((route) => route !== '');
      const device = parts.control.join({ authKey, hostname: value(CONTAINERS.tailscale, 'TS_HOSTNAME'), advertiseRoutes: routes });
      const sidecarId = value(CONTAINERS.agent, 'BIFROST_SIDECAR_ID');
      return reporting(parts, { pod, running, sidecarId, deviceId: device.deviceId, ip: device.addresses[0] ?? '' });
    },
  };
}

interface Reporter {
  readonly pod: RuntimePod;
  readonly running: RunningPod;
  readonly sidecarId: string;
  readonly deviceId: string;
  readonly ip: string;
}

function reporting(parts: Parts, { pod, running, sidecarId, deviceId, ip }: Reporter): RunningPod {
  const { clock, control, heartbeatMs, disturbMs, deliver } = parts;
  const ended = new AbortController();
  const startedAtMs = clock.nowMs();
  let holds = renderedHash(pod.template.spec.initContainers);
  const document = (seq: number): unknown => ({
    ...(holds === undefined ? {} : { guard: { holds } }),
    ...{ v: 1, sidecar_id: sidecarId, pod_uid: pod.uid, agent_version: '0.0.0', start_id: `${pod.uid}-0`, started_at_ms: startedAtMs },
    ...{ seq, sent_at_ms: clock.nowMs(), reason: seq === 0 ? 'start' : 'heartbeat', rx_bytes: seq * 48_000, tx_bytes: seq * 12_000, peers: [] },
    node: { reachable: true, backend_state: isCut(seq) ? 'Starting' : 'Running', usable: !isCut(seq), device_id: deviceId, ips: [ip], health: [] },
  });
  const every = Math.ceil(disturbMs / heartbeatMs);
  const isCut = (seq: number): boolean => every > 0 && seq > every && seq % every < CUT_BEATS;
  const report = async (): Promise<void> => {
    for (let seq = 0; ; seq += 1) {
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
      if (control.device(deviceId) !== undefined) control.setConnected(deviceId, false);
      await running[Symbol.asyncDispose]();
    },
  };
}
