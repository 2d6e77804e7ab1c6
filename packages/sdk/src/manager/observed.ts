import type { StoredSidecar } from '../domain/model.ts';
import type { Pod } from '../ports/index.ts';

/** What the watches have seen: enough to tell whose a pod is, and where a sidecar is stored, without asking for it each time. Hints; the store has the say. */
export class Observed {
  readonly #pods = new Map<string, Pod>();
  readonly #sidecars = new Map<string, StoredSidecar>();
  readonly #keyOfWorkload = new Map<string, string>();
  readonly #keyOfSidecar = new Map<string, string>();
  readonly #keysOfHostname = new Map<string, Set<string>>();
  /** True once everything that is stored has been seen. */
  complete = false;

  /** The pod of that uid, if the cluster still has it. */
  podOf(podUid: string): Pod | undefined {
    return this.#pods.get(podUid);
  }

  /** The attachment of that workload. */
  sidecarOf(workloadUid: string): StoredSidecar | undefined {
    const key = this.#keyOfWorkload.get(workloadUid);
    return key === undefined ? undefined : this.#sidecars.get(key);
  }

  keyOfSidecar(sidecarId: string): string | undefined {
    return this.#keyOfSidecar.get(sidecarId);
  }

  keysOfHostname(hostname: string): readonly string[] {
    return [...(this.#keysOfHostname.get(hostname) ?? [])];
  }

  get sidecarKeys(): readonly string[] {
    return [...this.#sidecars.keys()];
  }

  keyOfPod(pod: Pod | undefined): string | undefined {
    return pod?.workloadUid === undefined ? undefined : this.#keyOfWorkload.get(pod.workloadUid);
  }

  sawPod(uid: string, pod: Pod | undefined): void {
    if (pod === undefined) this.#pods.delete(uid);
    else this.#pods.set(uid, pod);
  }

  sawSidecar(key: string, sidecar: StoredSidecar | undefined): void {
    this.#forget(key);
    if (sidecar === undefined) return;
    const { sidecarId, workload, config } = sidecar.spec;
    this.#sidecars.set(key, sidecar);
    this.#keyOfWorkload.set(workload.uid, key);
    this.#keyOfSidecar.set(sidecarId, key);
    this.#keysOfHostname.set(config.hostname, (this.#keysOfHostname.get(config.hostname) ?? new Set()).add(key));
  }

  #forget(key: string): void {
    const before = this.#sidecars.get(key);
    if (before === undefined) return;
    const { sidecarId, workload, config } = before.spec;
    this.#sidecars.delete(key);
    this.#keyOfWorkload.delete(workload.uid);
    this.#keyOfSidecar.delete(sidecarId);
    const keys = this.#keysOfHostname.get(config.hostname);
    keys?.delete(key);
    if (keys?.size === 0) this.#keysOfHostname.delete(config.hostname);
  }
}
