import { isDeepStrictEqual } from 'node:util';
import { ATTACHABLE_KINDS, BifrostError, type WorkloadKind, type WorkloadReference } from '@bifrost/types/core';
import { withFragment } from '../../domain/attach-plan.ts';
import { carriesAnother } from '../../domain/carries.ts';
import { LABELS } from '../../domain/names.ts';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import type { SidecarFragment } from '../../domain/pod-shape.ts';
import type { Workload, WorkloadChange, WorkloadHint, Workloads } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { ClusterState, WorkloadRecord } from './cluster-state.ts';
import type { Faults } from './faults.ts';
import type { HintHub } from './hint-hub.ts';
import { podSecurityViolations } from './pod-security.ts';
import { applyFragment, prependFragment, withdrawFragment } from './prepend-fields.ts';
import type { OwnedTemplate } from './template-fields.ts';

type AttachOptions = CallOptions & { readonly dryRun?: boolean; readonly repair?: boolean };

const isAttachable = (kind: WorkloadKind): boolean => ATTACHABLE_KINDS.some((attachable) => attachable === kind);

/** What an id may be, in the order in which it is looked for. */
const WAYS: readonly ((record: WorkloadRecord, id: string) => boolean)[] = [
  ({ labels }, id) => labels[LABELS.bookDeploymentId] === id,
  ({ reference }, id) => reference.uid === id,
  ({ reference }, id) => `${reference.namespace}/${reference.name}` === id,
];

/** The workloads of a memory cluster, as Bifrost's port sees them. */
export class MemoryWorkloads implements Workloads {
  readonly #state: ClusterState;
  readonly #faults: Faults;
  readonly #hub: HintHub;

  constructor({ state, faults, hub }: { readonly state: ClusterState; readonly faults: Faults; readonly hub: HintHub }) {
    this.#state = state;
    this.#faults = faults;
    this.#hub = hub;
  }

  async find(bookDeploymentId: string, options: CallOptions & { readonly customerId?: string }): Promise<Workload> {
    this.#faults.enter(options);
    const { customerId } = options;
    const isOwn = ({ reference }: WorkloadRecord): boolean => customerId === undefined || this.#customerOf(reference.namespace) === customerId;
    const matching = (isKind: (kind: WorkloadKind) => boolean) => {
      const all = [...this.#state.workloads.values()].filter(({ reference }) => isKind(reference.kind));
      const ways = WAYS.map((matches) => all.filter((record) => matches(record, bookDeploymentId)));
      return { own: ways.map((found) => found.filter(isOwn)).find((found) => found.length > 0) ?? [], any: ways.flat().slice(0, 1) };
    };
    const [attachable, injected] = [matching(isAttachable), matching((kind) => !isAttachable(kind))];
    const counting = [attachable.own, injected.own, attachable.any, injected.any].find((found) => found.length > 0) ?? [];
    const isUnsupported = counting === injected.own || counting === injected.any;
    const [first, ...others] = isUnsupported ? [] : counting;
    if (first !== undefined && others.length === 0) return this.#state.shown(first);
    if (first !== undefined) {
      throw new BifrostError({
        code: 'WORKLOAD_AMBIGUOUS',
        message: `${others.length + 1} workloads answer to this id: name one by its uid.`,
        issues: [{ path: 'bookDeploymentId', message: 'more than one workload has it' }],
      });
    }
    const [unsupported] = counting;
    if (unsupported !== undefined) {
      const { kind, namespace } = unsupported.reference;
      const owner = this.#customerOf(namespace);
      throw new BifrostError({
        code: 'WORKLOAD_UNSUPPORTED',
        message: `A ${kind} gets its sidecar before it is created: see injectSidecar.`,
        issues: [{ path: 'bookDeploymentId', message: `is a ${kind}` }],
        details: { kind, ...(owner === undefined ? {} : { customerId: owner }) },
      });
    }
    throw new BifrostError({
      code: 'WORKLOAD_NOT_FOUND',
      message: 'No workload has this label, uid or namespace/name: check the id.',
      issues: [{ path: 'bookDeploymentId', message: 'no workload has it' }],
    });
  }

  async get(workload: WorkloadReference, options: CallOptions): Promise<Workload | undefined> {
    this.#faults.enter(options);
    const record = this.#state.referred(workload);
    return record && this.#state.shown(record);
  }

  async attach(change: WorkloadChange, options: AttachOptions): Promise<Workload> {
    this.#faults.enter(options);
    const record = this.#state.existing(change.workload);
    const fragment = structuredClone(change.fragment);
    const changed = (change.form === 'apply' ? applyFragment : prependFragment)(record, fragment, options);
    return this.#state.shown(options.dryRun === true ? { ...record, ...changed } : this.#write(record, changed));
  }

  async customerOf(namespace: string, options: CallOptions): Promise<string | undefined> {
    this.#faults.enter(options);
    return this.#customerOf(namespace);
  }

  async *watch(options: CallOptions): AsyncGenerator<WorkloadHint, void, void> {
    const seen = new Map<string, WorkloadHint>();
    for await (const uid of this.#hub.watch(() => this.#state.workloads.keys(), options)) {
      const record = this.#state.workloads.get(uid);
      const hint = record ? hintOf(record) : seen.get(uid);
      if (record && hint) seen.set(uid, hint);
      else seen.delete(uid);
      if (hint !== undefined) yield { ...hint, gone: record === undefined };
    }
  }

  async detach(change: WorkloadChange, options: CallOptions): Promise<void> {
    this.#faults.enter(options);
    const record = this.#state.workload(change.workload);
    if (record === undefined || carriesAnother(record.template, change.fragment)) return;
    this.#write(record, withdrawFragment(record, change.fragment));
  }

  async admit(workload: Workload, fragment: SidecarFragment, options: CallOptions): Promise<void> {
    this.#faults.enter(options);
    const enforce = this.#state.enforcedLevel(workload.reference.namespace);
    const bare = podSecurityViolations(enforce, workload.template);
    const violations = podSecurityViolations(enforce, withFragment(workload.template, fragment)).filter((violation) => !bare.includes(violation));
    if (violations.length > 0) {
      throw new BifrostError({
        code: 'POD_SECURITY_FORBIDDEN',
        message: `The namespace enforces pod security level ${enforce}, which forbids the sidecar: ${violations.join('; ')}.`,
        issues: [{ path: 'bookDeploymentId', message: 'lies in a namespace that forbids the sidecar' }],
        details: { level: enforce },
      });
    }
    if (bare.length > 0) {
      throw new BifrostError({
        code: 'CLUSTER_REJECTED',
        message: `The book's own pod is forbidden by pod security level ${enforce}: ${bare.join('; ')}.`,
      });
    }
  }

  #customerOf(namespace: string): string | undefined {
    return this.#state.namespaces.get(namespace)?.labels[LABELS.customerId];
  }

  #write(record: WorkloadRecord, changed: OwnedTemplate): WorkloadRecord {
    if (isDeepStrictEqual(changed.template, record.template) && isDeepStrictEqual(changed.owners, record.owners)) return record;
    const template = isDeepStrictEqual(changed.template, record.template) ? record.template : changed.template;
    return this.#state.write({ ...record, template, owners: changed.owners, writes: changed.writes }, record);
  }
}

const hintOf = ({ reference, annotations, generation, version, ended }: WorkloadRecord): WorkloadHint => ({
  workload: reference,
  annotations: ownAnnotations(annotations),
  generation,
  version: String(version),
  finished: ended !== undefined,
  gone: false,
});
