import type { Secret } from '@bifrost/types/core';
import { LABELS, TOKEN_AUDIENCE } from '../../domain/names.ts';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import { podFormOf } from '../../domain/pod-form.ts';
import type { Identities, Pod, PodIdentity, Pods } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { Faults } from './faults.ts';
import type { HintHub } from './hint-hub.ts';
import { containersOf, type PodController, type PodRecord } from './pod-controller.ts';
import type { PodTokens } from './pod-tokens.ts';

/** The pods of a memory cluster that carry our label, as Bifrost's port sees them. */
export class MemoryPods implements Pods {
  readonly #controller: PodController;
  readonly #faults: Faults;
  readonly #hub: HintHub;

  constructor(parts: { readonly controller: PodController; readonly faults: Faults; readonly hub: HintHub }) {
    this.#controller = parts.controller;
    this.#faults = parts.faults;
    this.#hub = parts.hub;
  }

  async list({ namespace, ...options }: CallOptions & { readonly namespace?: string }): Promise<readonly Pod[]> {
    this.#faults.enter(options);
    const pods = [...this.#controller.pods.values()].filter(isLabelled).map(shownPod);
    return namespace === undefined ? pods : pods.filter((pod) => pod.namespace === namespace);
  }

  async *watch(options: CallOptions): AsyncGenerator<{ readonly uid: string; readonly pod: Pod | undefined }, void, void> {
    const labelled = (): string[] => [...this.#controller.pods.values()].filter(isLabelled).map(({ uid }) => uid);
    for await (const uid of this.#hub.watch(labelled, options)) {
      const record = this.#controller.pods.get(uid);
      if (record === undefined || isLabelled(record)) yield { uid, pod: record && shownPod(record) };
    }
  }
}

/** Vouches for tokens that the cluster issued to pods that are still there. */
export class MemoryIdentities implements Identities {
  readonly #controller: PodController;
  readonly #faults: Faults;
  readonly #tokens: PodTokens;

  constructor(parts: { readonly controller: PodController; readonly faults: Faults; readonly tokens: PodTokens }) {
    this.#controller = parts.controller;
    this.#faults = parts.faults;
    this.#tokens = parts.tokens;
  }

  async reviewPodToken(token: Secret, options: CallOptions): Promise<PodIdentity | undefined> {
    this.#faults.enter(options);
    const pod = this.#controller.pods.get(this.#tokens.podUidOf(token, TOKEN_AUDIENCE) ?? '');
    if (pod === undefined) return undefined;
    const serviceAccount = pod.template.spec.serviceAccountName ?? 'default';
    return { namespace: pod.workload.namespace, serviceAccount, podName: pod.name, podUid: pod.uid };
  }
}

const isLabelled = ({ template }: PodRecord): boolean => template.metadata?.labels?.[LABELS.sidecarId] !== undefined;

/** The record as the port shows it: a copy. */
export function shownPod(record: PodRecord): Pod {
  const { uid, name, workload, rootUid, template, createdAtMs, running, over } = record;
  const { ip, ips } = over ?? running ?? {};
  return {
    namespace: workload.namespace,
    name,
    uid,
    labels: { ...template.metadata?.labels },
    annotations: ownAnnotations(template.metadata?.annotations),
    workloadUid: rootUid,
    createdAtMs,
    phase: over?.outcome ?? (running === undefined ? 'Pending' : 'Running'),
    deleting: record.stop.signal.aborted,
    ip,
    ...(ips === undefined ? {} : { ips }),
    containers: containersOf(record).map((state) => ({ ...state })),
    form: podFormOf(template.spec),
  };
}
