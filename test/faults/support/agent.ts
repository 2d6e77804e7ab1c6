import type { SimulatedControl } from '@bifrost/sdk/testing';
import { pause } from '../../support/pause.ts';
import type { Admin, KubeObject } from './admin.ts';

export interface AgentOptions {
  readonly pod: KubeObject;
  readonly admin: Admin;
  readonly control: SimulatedControl;
  readonly report: (token: string, document: unknown) => Promise<number>;
}

const HEARTBEAT_MS = 1_000;
const AGAIN_MS = 100;

/**
 * Sidecar and agent of one pod: joins with the key from the Secret that the pod mounts, again when its device was deleted, and reports with the pod's
 * own token. A pod that dies takes no leave: its device stays until somebody deletes it.
 */
export class SimulatedAgent {
  readonly #options: AgentOptions;
  readonly #stop = new AbortController();
  readonly #joined = Promise.withResolvers<void>();
  readonly #startId = crypto.randomUUID();
  readonly #startedAtMs = Date.now();
  #deviceId: string | undefined;
  #token: string | undefined;
  #seq = 0;

  constructor(options: AgentOptions) {
    this.#options = options;
    void this.#run();
  }

  /** Resolves when it has joined, or was stopped. */
  joined(): Promise<void> {
    return this.#joined.promise;
  }

  stop(): void {
    this.#stop.abort();
    this.#joined.resolve();
    const { control } = this.#options;
    if (this.#deviceId !== undefined && control.device(this.#deviceId) !== undefined) control.setConnected(this.#deviceId, false);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // A refusal is an answer: it comes again with the next heartbeat. Nobody there, or no key yet: soon.
      const isAnswered = await this.#beat().catch(() => false);
      await pause(isAnswered ? HEARTBEAT_MS : AGAIN_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #beat(): Promise<boolean> {
    const { control, report } = this.#options;
    if (this.#deviceId === undefined || control.device(this.#deviceId) === undefined) await this.#join();
    this.#joined.resolve();
    this.#token ??= await this.#askToken();
    await report(this.#token, this.#document());
    return true;
  }

  async #join(): Promise<void> {
    const { pod, admin, control } = this.#options;
    const { initContainers, volumes, containers } = pod['spec'];
    const environment = new Map<string, string>();
    for (const { env } of [...(initContainers ?? []), ...containers]) for (const { name, value } of env ?? []) environment.set(name, value);
    const mounted = JSON.stringify(volumes).match(/"secretName":"([^"]+)"/)?.[1];
    const secret = await admin.get(`/api/v1/namespaces/${pod.metadata.namespace}/secrets/${mounted}`);
    const authKey = Buffer.from(secret?.['data']?.authkey ?? '', 'base64').toString('utf8');
    const routes = environment.get('TS_ROUTES');
    if (this.#stop.signal.aborted) return;
    const joining = { hostname: environment.get('TS_HOSTNAME') ?? '', advertiseRoutes: routes ? routes.split(',') : [] };
    this.#deviceId = control.join({ authKey, ...joining }).deviceId;
  }

  async #askToken(): Promise<string> {
    const { pod, admin } = this.#options;
    const { namespace, name, uid } = pod.metadata;
    const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name, uid };
    const made = await admin.must('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${pod['spec'].serviceAccountName ?? 'default'}/token`, {
      spec: { audiences: ['bifrost'], expirationSeconds: 3_600, boundObjectRef },
    });
    return made['status'].token;
  }

  #document(): unknown {
    const device = this.#deviceId === undefined ? undefined : this.#options.control.device(this.#deviceId);
    this.#seq += 1;
    return {
      ...{ v: 1, sidecar_id: this.#options.pod.metadata.labels?.['bifrost.dev/sidecar-id'], pod_uid: this.#options.pod.metadata.uid },
      ...{ agent_version: '0.1.0', start_id: this.#startId, started_at_ms: this.#startedAtMs, seq: this.#seq, sent_at_ms: Date.now() },
      reason: this.#seq === 1 ? 'start' : 'heartbeat',
      node: {
        ...{ reachable: true, backend_state: 'Running', usable: true, device_id: this.#deviceId, ips: device?.addresses ?? [] },
        ...{ health: [], home_derp: 'fra', daemon_version: '1.90.0' },
      },
      ...{ rx_bytes: this.#seq * 100, tx_bytes: this.#seq * 100 },
      peers: [{ id: 'n1', name: 'router', online: true, path: 'direct', latency_ms: 5, rx_bytes: 1, tx_bytes: 1 }],
    };
  }
}
