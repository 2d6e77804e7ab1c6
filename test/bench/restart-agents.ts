import { Pool } from 'undici';
import { pause } from '../support/pause.ts';
import { heartbeat } from './reports.ts';

export interface PodWithToken {
  readonly podUid: string;
  readonly sidecarId: string;
  readonly token: string;
}

const HEARTBEAT_MS = 2_000;
const RETRY = { firstMs: 500, mostMs: 1.5 * HEARTBEAT_MS } as const;

/** So many agents in one process, each with an agent's own pace: a heartbeat every two seconds, and half a second, a second, … after a failure, at most one and a half heartbeats. */
export class SimulatedAgents implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #stop = new AbortController();
  readonly #running: readonly Promise<void>[];

  constructor(port: number, pods: readonly PodWithToken[]) {
    this.#pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 });
    this.#running = pods.map((pod, index) => this.#run(pod, index));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#pool.destroy();
  }

  async #run({ podUid, sidecarId, token }: PodWithToken, pod: number): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    for (let seq = 0; !signal.aborted; ) {
      const taken = await this.#send(JSON.stringify(heartbeat({ sidecarId, podUid, pod: pod % 250, seq })), { token, podUid });
      failures = taken ? 0 : failures + 1;
      if (taken) seq += 1;
      const window = taken
        ? HEARTBEAT_MS * (0.9 + 0.2 * Math.random())
        : Math.min(RETRY.mostMs, RETRY.firstMs * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
      await pause(window, undefined, { signal }).catch(() => {});
    }
  }

  async #send(body: string, { token, podUid }: { readonly token: string; readonly podUid: string }): Promise<boolean> {
    try {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'x-bench-agent': podUid };
      const answer = await this.#pool.request({ method: 'POST', path: '/v1/reports', headers, body, signal: this.#stop.signal });
      await answer.body.dump();
      return answer.statusCode === 200;
    } catch {
      return false;
    }
  }
}
