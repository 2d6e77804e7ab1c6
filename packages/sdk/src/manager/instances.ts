import type { Cause, PathClass, ReportV1, SidecarStatus } from '@bifrost/types/core';
import type { Connection } from '../domain/connectivity.ts';
import type { InstanceState, StoredSidecar } from '../domain/model.ts';
import type { SeenPeer } from './live-peers.ts';

/** One pod of an attachment, as this manager knows it from reports. Lives in memory; state changes are also kept in the store. */
export interface Instance {
  readonly podUid: string;
  podName: string;
  /** Key of the stored sidecar. */
  readonly sidecarKey: string;
  readonly sidecarId: string;
  readonly tailnetName: string;
  readonly customerId: string;
  readonly bookDeploymentId: string;
  connection: Connection;
  /** When `connection.state` last changed. */
  sinceMs: number;
  /** When a report last came, or when this manager began to wait for one. */
  heardAtMs: number;
  reported: boolean;
  ipAddress: string | undefined;
  deviceId: string | undefined;
  startId: string | undefined;
  /** Agent starts that are over, newest last: a late report of one must not count as a new start. */
  formerStartIds: readonly string[];
  lastSeq: number;
  /** Of the agent's current start, absolute. */
  current: { readonly rxBytes: number; readonly txBytes: number };
  latencyMs: number | undefined;
  /** What the agent itself finds wrong. */
  signs: readonly string[];
  lastActivityMs: number | undefined;
  /** Of those that its reports named: bounded. */
  peers: readonly SeenPeer[];
  /** How it reached the routers of its tailnet, by its last report. */
  routers: readonly RouterPath[];
  /** Its daemon had a relay then. */
  relayWorks: boolean;
  /** Hash of the configuration that its guard holds, as its agent last said. */
  guardHolds: string | undefined;
  /** When its agent last said that the guard holds what is wanted then. */
  guardCurrentAtMs: number | undefined;
}

/** How packets of one pod travel to one router. */
export interface RouterPath {
  readonly deviceId: string;
  readonly path: PathClass;
  readonly online: boolean;
  /** Since when its reports have said so. */
  readonly sinceMs: number;
}

/** Bytes of agent starts and pods that are over. */
interface Past {
  rxBytes: bigint;
  txBytes: bigint;
  lastActivityMs: number | undefined;
}

export interface Traffic {
  readonly bytesSent: bigint;
  readonly bytesReceived: bigint;
  readonly lastActivityMs: number | undefined;
}

const FORMER_STARTS = 16;

const latest = (a: number | undefined, b: number | undefined): number | undefined => (a === undefined ? b : b === undefined ? a : Math.max(a, b));

/** All instances of one manager, by pod uid and by sidecar. */
export class Instances {
  readonly #byPod = new Map<string, Instance>();
  readonly #bySidecar = new Map<string, Map<string, Instance>>();
  readonly #past = new Map<string, Past>();

  get(podUid: string): Instance | undefined {
    return this.#byPod.get(podUid);
  }

  all(): Iterable<Instance> {
    return this.#byPod.values();
  }

  of(sidecarKey: string): readonly Instance[] {
    return [...(this.#bySidecar.get(sidecarKey)?.values() ?? [])];
  }

  /** The instance of a pod, made on first sight; `known` is what the store remembers of it. */
  ensure(sidecar: StoredSidecar, pod: { readonly uid: string; readonly name: string }, nowMs: number): Instance {
    const present = this.#byPod.get(pod.uid);
    if (present) return present;
    const known = sidecar.state.instances.find(({ podUid }) => podUid === pod.uid);
    const instance: Instance = {
      podUid: pod.uid,
      podName: pod.name,
      sidecarKey: sidecar.key,
      sidecarId: sidecar.spec.sidecarId,
      tailnetName: sidecar.spec.tailnetName,
      customerId: sidecar.spec.customerId,
      bookDeploymentId: sidecar.spec.bookDeploymentId,
      connection: known ? restored(known) : { state: 'attaching', leaning: 0 },
      sinceMs: known?.sinceMs ?? nowMs,
      heardAtMs: nowMs,
      reported: false,
      ipAddress: known?.ipAddress,
      deviceId: known?.deviceId,
      startId: undefined,
      formerStartIds: [],
      lastSeq: -1,
      current: { rxBytes: 0, txBytes: 0 },
      latencyMs: undefined,
      signs: [],
      lastActivityMs: undefined,
      peers: [],
      routers: [],
      relayWorks: false,
      guardHolds: undefined,
      guardCurrentAtMs: undefined,
    };
    this.#byPod.set(pod.uid, instance);
    const siblings = this.#bySidecar.get(sidecar.key) ?? new Map<string, Instance>();
    siblings.set(pod.uid, instance);
    this.#bySidecar.set(sidecar.key, siblings);
    return instance;
  }

  /** Takes a report's counters and place in the order of reports. Counters never go down: a new agent start adds to what was. */
  count(instance: Instance, report: ReportV1, nowMs: number): void {
    if (instance.startId !== report.startId) {
      this.#retire(instance);
      if (instance.startId !== undefined) instance.formerStartIds = [...instance.formerStartIds, instance.startId].slice(-FORMER_STARTS);
    }
    const rxBytes = Math.max(report.rxBytes, instance.current.rxBytes);
    const txBytes = Math.max(report.txBytes, instance.current.txBytes);
    if (rxBytes !== instance.current.rxBytes || txBytes !== instance.current.txBytes) instance.lastActivityMs = nowMs;
    instance.current = { rxBytes, txBytes };
    instance.startId = report.startId;
    instance.lastSeq = report.seq;
  }

  /** Whether the report was overtaken by one that has been taken already. */
  isStale({ startId, lastSeq, formerStartIds }: Instance, report: ReportV1): boolean {
    return startId === report.startId ? report.seq <= lastSeq : formerStartIds.includes(report.startId);
  }

  /** Forgets an instance whose pod is gone; its bytes stay counted. */
  remove(podUid: string): void {
    const instance = this.#byPod.get(podUid);
    if (!instance) return;
    this.#retire(instance);
    this.#byPod.delete(podUid);
    this.#bySidecar.get(instance.sidecarKey)?.delete(podUid);
  }

  /** Forgets a detached sidecar and all its counts. */
  forget(sidecarKey: string): void {
    for (const { podUid } of this.of(sidecarKey)) this.#byPod.delete(podUid);
    this.#bySidecar.delete(sidecarKey);
    this.#past.delete(sidecarKey);
  }

  /** Bytes of a sidecar as its book sees them, over all its pods, past and present. */
  traffic(sidecarKey: string): Traffic {
    const past = this.#past.get(sidecarKey);
    let bytesSent = past?.txBytes ?? 0n;
    let bytesReceived = past?.rxBytes ?? 0n;
    let lastActivityMs = past?.lastActivityMs;
    for (const instance of this.of(sidecarKey)) {
      bytesSent += BigInt(instance.current.txBytes);
      bytesReceived += BigInt(instance.current.rxBytes);
      lastActivityMs = latest(lastActivityMs, instance.lastActivityMs);
    }
    return { bytesSent, bytesReceived, lastActivityMs };
  }

  #retire(instance: Instance): void {
    const past = this.#past.get(instance.sidecarKey) ?? { rxBytes: 0n, txBytes: 0n, lastActivityMs: undefined };
    past.rxBytes += BigInt(instance.current.rxBytes);
    past.txBytes += BigInt(instance.current.txBytes);
    past.lastActivityMs = latest(past.lastActivityMs, instance.lastActivityMs);
    this.#past.set(instance.sidecarKey, past);
    instance.current = { rxBytes: 0, txBytes: 0 };
  }
}

function restored({ status, cause }: InstanceState): Connection {
  const states: readonly SidecarStatus[] = ['attaching', 'connected', 'degraded', 'disconnected', 'unknown'];
  const state = states.includes(status) ? (status as Connection['state']) : 'unknown';
  return { state, leaning: 0, ...(cause === undefined ? {} : { cause: cause as Cause }) };
}

/** What the store keeps of an instance. */
export function instanceState(instance: Instance): InstanceState {
  const { podName, podUid, connection, ipAddress, deviceId, sinceMs } = instance;
  return {
    podName,
    podUid,
    status: connection.state,
    sinceMs,
    ...(connection.cause === undefined ? {} : { cause: connection.cause }),
    ...(ipAddress === undefined ? {} : { ipAddress }),
    ...(deviceId === undefined ? {} : { deviceId }),
  };
}
