import { isDeepStrictEqual } from 'node:util';
import { BifrostError, type Secret, type WorkloadKind, type WorkloadReference } from '@bifrost/types/core';
import { LABELS } from '../../domain/names.ts';
import { ownAnnotations } from '../../domain/own-annotations.ts';
import type { PodTemplateShape } from '../../domain/pod-shape.ts';
import type { SecretReference, Workload } from '../../ports/cluster.ts';
import type { PodSecurityLevel } from './pod-security.ts';
import { lastWriterOf, type OwnedTemplate } from './template-fields.ts';

export interface NamespaceRecord {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export const ENFORCE_LABEL = 'pod-security.kubernetes.io/enforce';

export interface WorkloadRecord extends OwnedTemplate {
  readonly reference: WorkloadReference;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Of a Job how many pods are to succeed; means nothing for a DaemonSet or CronJob. */
  readonly replicas: number;
  /** The CronJob that a Job was made by. */
  readonly owner?: WorkloadReference;
  /** How many of a Job's pods may fail before it does. */
  readonly backoffLimit: number;
  /** Set once a Job has come to its end. */
  readonly ended?: 'Complete' | 'Failed';
  readonly version: number;
  /** Counts changes of the template and of how many pods are wanted. */
  readonly generation: number;
  /** Templates before the present one, oldest first; what `rollout undo` goes back to. */
  readonly history: readonly PodTemplateShape[];
}

export interface SecretRecord extends SecretReference {
  readonly labels: Readonly<Record<string, string>>;
  readonly data: ReadonlyMap<string, Secret>;
}

const HISTORY = 10;

/** What a memory cluster holds besides its pods. Records are replaced, never changed in place. */
export class ClusterState {
  readonly namespaces = new Map<string, NamespaceRecord>();
  readonly workloads = new Map<string, WorkloadRecord>();
  readonly secrets = new Map<string, SecretRecord>();
  /** Called with the uid of a workload after each change, and after its end. */
  onWorkload: (uid: string) => void = () => {};
  /** Called after each change of a Secret. */
  onSecret: (secret: SecretReference) => void = () => {};
  /** How many nodes there are: as many pods has a DaemonSet. */
  nodes = 1;
  #lastVersion = 0;

  /** @throws {BifrostError} `CLUSTER_REJECTED` */
  namespace(name: string): NamespaceRecord {
    const found = this.namespaces.get(name);
    if (found === undefined) throw new BifrostError({ code: 'CLUSTER_REJECTED', message: `there is no namespace ${name}: create it first` });
    return found;
  }

  /** The pod security level that the namespace's label says. @throws {BifrostError} `CLUSTER_REJECTED` */
  enforcedLevel(name: string): PodSecurityLevel {
    const level = this.namespace(name).labels[ENFORCE_LABEL];
    return level === 'baseline' || level === 'restricted' ? level : 'privileged';
  }

  /** The workload of that uid, or undefined. */
  workload({ uid }: { readonly uid: string }): WorkloadRecord | undefined {
    return this.workloads.get(uid);
  }

  /** The workload of that uid, or with an empty uid the one of that kind and name. */
  referred({ uid, kind, namespace, name }: WorkloadReference): WorkloadRecord | undefined {
    return uid === '' ? this.named(kind, namespace, name) : this.workloads.get(uid);
  }

  /** @throws {BifrostError} `WORKLOAD_NOT_FOUND` */
  existing(reference: WorkloadReference): WorkloadRecord {
    const found = this.workload(reference);
    if (found !== undefined) return found;
    const { kind, namespace, name } = reference;
    throw new BifrostError({
      code: 'WORKLOAD_NOT_FOUND',
      message: `there is no ${kind} ${namespace}/${name} with that uid`,
      issues: [{ path: 'bookDeploymentId', message: 'its workload is gone' }],
    });
  }

  named(kind: WorkloadKind, namespace: string, name: string): WorkloadRecord | undefined {
    return [...this.workloads.values()].find(
      ({ reference }) => reference.kind === kind && reference.namespace === namespace && reference.name === name,
    );
  }

  /** Keeps the record under a new version, remembers the template it replaces, and says so. */
  write(record: Omit<WorkloadRecord, 'version' | 'generation' | 'history'>, before: WorkloadRecord | undefined): WorkloadRecord {
    this.#lastVersion += 1;
    const isSameTemplate = before !== undefined && isDeepStrictEqual(before.template, record.template);
    const known = before?.history ?? [];
    const history = before === undefined || isSameTemplate ? known : [...known, before.template].slice(-HISTORY);
    const generation = (before?.generation ?? 0) + (isSameTemplate && before.replicas === record.replicas ? 0 : 1);
    const written = { ...record, version: this.#lastVersion, generation, history };
    this.workloads.set(record.reference.uid, written);
    this.onWorkload(record.reference.uid);
    return written;
  }

  end(reference: WorkloadReference): void {
    if (this.workloads.delete(reference.uid)) this.onWorkload(reference.uid);
  }

  /** Of a DaemonSet one on each node; a CronJob wants none itself, since its Jobs do. */
  wantedPods({ reference: { kind }, replicas, ended }: Pick<WorkloadRecord, 'reference' | 'replicas'> & { readonly ended?: unknown }): number {
    if (kind === 'DaemonSet') return this.nodes;
    return kind === 'CronJob' || ended !== undefined ? 0 : replicas;
  }

  /** The record as the port shows it: a copy. */
  shown(record: WorkloadRecord): Workload {
    const { reference, labels, annotations, template, version } = record;
    const customerId = this.namespaces.get(reference.namespace)?.labels[LABELS.customerId];
    return structuredClone({
      reference,
      customerId,
      labels,
      annotations: ownAnnotations(annotations),
      template,
      replicas: this.wantedPods(record),
      finished: record.ended !== undefined,
      lastWriter: lastWriterOf(record),
      version: String(version),
    });
  }
}

export const secretKey = ({ namespace, name }: SecretReference): string => `${namespace}/${name}`;
