import type { AttachOrigin, StoredSidecar } from '../domain/model.ts';
import { WORKLOAD_ANNOTATIONS } from '../domain/names.ts';
import type { Pod, WorkloadHint } from '../ports/index.ts';
import { sameJson } from './same-json.ts';

/** What the watches have seen: enough to tell whose a pod is, and where a sidecar is stored, without asking for it each time. Hints; the store has the say. */
export class Observed {
  readonly #pods = new Map<string, Pod>();
  readonly #sidecars = new Map<string, StoredSidecar>();
  readonly #keyOfWorkload = new Map<string, string>();
  readonly #keyOfSidecar = new Map<string, string>();
  readonly #keysOfHostname = new Map<string, Set<string>>();
  /** Workloads by the key that their attachment has or would have: those that are annotated, and those that changed lately. */
  readonly #workloads = new Map<string, WorkloadHint>();
  /** By the attachment's key: the version of the workload that our last write made. */
  readonly #ownWrites = new Map<string, string>();
  readonly #refusals = new Map<string, string>();
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

  /** The version that was last seen or written. */
  versionOf(key: string): string | undefined {
    return this.#sidecars.get(key)?.version;
  }

  /** Whose sidecar it is. */
  customerOf(key: string): string | undefined {
    return this.#sidecars.get(key)?.spec.customerId;
  }

  hasSidecar(key: string): boolean {
    return this.#sidecars.has(key);
  }

  /** How it came to be attached, if it is. */
  originOf(key: string): AttachOrigin | undefined {
    return this.#sidecars.get(key)?.spec.origin;
  }

  get sidecars(): readonly StoredSidecar[] {
    return [...this.#sidecars.values()];
  }

  get sidecarKeys(): readonly string[] {
    return [...this.#sidecars.keys()];
  }

  /** The known attachments of a tailnet, in the order of their keys. */
  sidecarsOf(tailnetName: string): readonly StoredSidecar[] {
    const found = [...this.#sidecars.values()].filter(({ spec }) => spec.tailnetName === tailnetName);
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  keyOfPod(pod: Pod | undefined): string | undefined {
    return pod?.workloadUid === undefined ? undefined : this.#keyOfWorkload.get(pod.workloadUid);
  }

  workloadOf(key: string): WorkloadHint | undefined {
    return this.#workloads.get(key);
  }

  /** Keys of workloads that ask for a sidecar by annotation. */
  get annotatedKeys(): readonly string[] {
    return [...this.#workloads].filter(([, { annotations, gone }]) => !gone && WORKLOAD_ANNOTATIONS.tailnet in annotations).map(([key]) => key);
  }

  /** Keeps what the loop will ask for. `own`: nothing but our own write, which the loop has seen the answer of; `old`: nothing that concerns us. */
  sawWorkload(key: string, hint: WorkloadHint): 'news' | 'own' | 'old' {
    const before = this.#workloads.get(key);
    if (hint.gone && before !== undefined && before.workload.uid !== hint.workload.uid) return 'old'; // another of its name is there already
    this.#workloads.set(key, hint);
    if (before === undefined) return 'news';
    const { version } = hint;
    if (sameJson({ ...before, version }, hint)) return 'old';
    const isOwn = this.#ownWrites.get(key) === version && sameJson({ ...before, version, generation: before.generation + 1 }, hint);
    return isOwn ? 'own' : 'news';
  }

  /** We have just written the workload of that attachment; `version` is what came of it. */
  wroteWorkload(key: string, version: string): void {
    this.#ownWrites.set(key, version);
  }

  /** What is gone, and needs no further look, is forgotten. */
  forgetWorkload(key: string): void {
    if (this.#workloads.get(key)?.gone) this.#workloads.delete(key);
  }

  /** True when this refusal has not been told yet. */
  refused(key: string, code: string): boolean {
    if (this.#refusals.get(key) === code) return false;
    this.#refusals.set(key, code);
    return true;
  }

  unrefused(key: string): void {
    this.#refusals.delete(key);
  }

  sawPod(uid: string, pod: Pod | undefined): void {
    if (pod === undefined) this.#pods.delete(uid);
    else this.#pods.set(uid, pod);
  }

  sawSidecar(key: string, sidecar: StoredSidecar | undefined): void {
    this.#forget(key);
    if (sidecar === undefined) {
      this.#ownWrites.delete(key);
      return;
    }
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
