import type { AccessPolicy, ProofInput, ProofSource } from '@bifrost/types/core';
import type { ClusterRanges } from '../model.ts';
import type { NetworkPolicyShape } from '../network-policy-shape.ts';

/** What the manager goes by. */
export interface SettingsEvidence {
  readonly installation: string;
  /** Tags of all books' devices, and of routers, where customers are not told apart by them. */
  readonly deviceTags: readonly string[];
  readonly routerTag: string;
  /** Undefined: nobody tells them. */
  readonly clusterRanges?: ClusterRanges;
  /** Outside of the tunnel by intent: an ingest that is named by address. */
  readonly directAddresses: readonly string[];
  /** The cluster's network plugin enforces NetworkPolicies. */
  readonly networkPolicyEnforced: boolean;
  /** We write some for every book. */
  readonly networkPoliciesKept: boolean;
}

/** A tailnet as stored. */
export interface TailnetEvidence {
  readonly tailnetId: string;
  readonly customerId: string;
  readonly tenancy: string;
  readonly controlId?: string;
  readonly credentialSecretName: string;
  readonly allowedNetworks: readonly string[];
  readonly blockedNetworks: readonly string[];
  readonly accessPolicy: AccessPolicy;
  /** Of the three: what guards say that they hold. */
  readonly networkHash: string;
  /** The policy has been written by us: its entries follow the intent. */
  readonly managed: boolean;
}

/** A stored tailnet that is being deleted: nothing is proven of it, but its devices may still be there. */
export type LeavingEvidence = Pick<TailnetEvidence, 'customerId' | 'tenancy'>;

/** The guard as a template or a stored fragment carries it. */
export interface GuardEvidence {
  /** `4 5110 to 10.0.0.0/8 lookup 52`. Of one that was put in they are left out where the workload's is the same. */
  readonly rules: readonly string[];
  /** Of the container: image, command, variables, restart policy. */
  readonly sha256: string;
  /** It takes orders. */
  readonly live: boolean;
  /** Hash of the configuration that it was rendered for. */
  readonly renderedFor?: string;
}

/** An attachment as stored. */
export interface SidecarEvidence {
  readonly sidecarId: string;
  readonly tailnetName: string;
  readonly customerId: string;
  readonly bookDeploymentId: string;
  readonly namespace: string;
  readonly userspace: boolean;
  /** Its guards are to let nothing through, whatever the tailnet's configuration is. */
  readonly quarantined?: boolean;
  /** Of the fragment that is wanted, and of its predecessor while that may still run. */
  readonly guards: readonly GuardEvidence[];
}

/** A workload as it is now. */
export interface WorkloadEvidence {
  /** False: it is not there, or carries nothing of ours. */
  readonly carries: boolean;
  /** Of its namespace. */
  readonly customerId?: string;
  /** What its template says that it carries. */
  readonly sidecarId?: string;
  readonly hostNetwork: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly guard?: GuardEvidence;
  /** Where the guard stands among the init containers; 0 is first. */
  readonly guardAt: number;
  /** The book's own. */
  readonly containers: readonly ContainerEvidence[];
}

/** Pods of an attachment that run otherwise than their workload's template says: of an older one, or changed on their way in. Those alike are one. */
export interface RunningEvidence extends Omit<WorkloadEvidence, 'carries'> {
  /** Key of the attachment. */
  readonly sidecar: string;
  /** One of them, `namespace/name`. */
  readonly pod: string;
  readonly pods: number;
}

/** What a container of a book may do. */
export interface ContainerEvidence {
  readonly name: string;
  readonly privileged: boolean;
  readonly add: readonly string[];
  readonly drop: readonly string[];
}

/** What the agent of a pod said last. */
export interface AgentEvidence {
  readonly podName: string;
  readonly heard: boolean;
  readonly holds?: string;
  readonly deviceId?: string;
}

/** A machine of a tailnet, as its control plane has it. */
export interface DeviceEvidence {
  readonly deviceId: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly addresses: readonly string[];
  /** Approved. */
  readonly routes: readonly string[];
}

/** A pod with a sidecar. */
export interface PodEvidence {
  readonly namespace: string;
  readonly name: string;
  readonly customerId?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** All that it has: one, or one of each family. */
  readonly addresses: readonly string[];
}

/** What is read, by kind; `policy` is text as it came, the others are JSON. */
export interface EvidenceKinds {
  readonly settings: SettingsEvidence;
  readonly tailnet: TailnetEvidence;
  readonly leaving: LeavingEvidence;
  readonly sidecar: SidecarEvidence;
  readonly workload: WorkloadEvidence;
  readonly running: readonly RunningEvidence[];
  readonly agents: readonly AgentEvidence[];
  readonly devices: readonly DeviceEvidence[];
  readonly policy: string;
  readonly 'network-policies': readonly NetworkPolicyShape[];
  readonly pods: readonly PodEvidence[];
}
export type EvidenceKind = keyof EvidenceKinds;

const SOURCES: Readonly<Record<EvidenceKind, ProofSource>> = {
  settings: 'manager',
  tailnet: 'store',
  leaving: 'store',
  sidecar: 'store',
  workload: 'cluster',
  running: 'cluster',
  agents: 'agents',
  devices: 'control-plane',
  policy: 'control-plane',
  'network-policies': 'cluster',
  pods: 'cluster',
};

/** Members in one order: the same evidence gives the same text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}

/** What was read of `key`; keys of one kind are unique. */
export function proofInput<Kind extends EvidenceKind>(kind: Kind, key: string, evidence: EvidenceKinds[Kind]): ProofInput {
  return { name: `${kind} ${key}`, from: SOURCES[kind], text: kind === 'policy' ? String(evidence) : JSON.stringify(sorted(evidence)) };
}

/** What could not be read, and why. */
export const unreadInput = (kind: EvidenceKind, key: string, code: string): ProofInput => ({
  ...{ name: `${kind} ${key}`, from: SOURCES[kind], text: '', unread: code },
});

/** The keys of inputs that there is one of. */
export const PODS = 'with sidecars';
export const UNLIKE = 'pods unlike their template';

/** Inputs by kind and key. */
export class Evidence {
  readonly #texts = new Map<string, ProofInput>();
  readonly #keys = new Map<string, string[]>();
  readonly #read = new Map<string, unknown>();

  constructor(inputs: readonly ProofInput[]) {
    for (const input of [...inputs].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const [kind = ''] = input.name.split(' ', 1);
      this.#texts.set(input.name, input);
      const keys = this.#keys.get(kind);
      if (keys === undefined) this.#keys.set(kind, [input.name.slice(kind.length + 1)]);
      else keys.push(input.name.slice(kind.length + 1));
    }
  }

  /** Sorted, those that could not be read among them. */
  keys(kind: EvidenceKind): readonly string[] {
    return this.#keys.get(kind) ?? [];
  }

  /** Undefined: there is none, or it was not read. */
  get<Kind extends EvidenceKind>(kind: Kind, key: string): EvidenceKinds[Kind] | undefined {
    const name = `${kind} ${key}`;
    const input = this.#texts.get(name);
    if (input === undefined || input.unread !== undefined) return undefined;
    if (!this.#read.has(name)) this.#read.set(name, kind === 'policy' ? input.text : JSON.parse(input.text));
    return this.#read.get(name) as EvidenceKinds[Kind];
  }

  unread(kind: EvidenceKind, key: string): string | undefined {
    return this.#texts.get(`${kind} ${key}`)?.unread;
  }

  all<Kind extends EvidenceKind>(kind: Kind): readonly (readonly [key: string, evidence: EvidenceKinds[Kind]])[] {
    return this.keys(kind).flatMap((key) => {
      const evidence = this.get(kind, key);
      return evidence === undefined ? [] : [[key, evidence] as const];
    });
  }
}

/** Names its control tailnet among the inputs: those of tenancy `shared` stand for one. */
export const SHARED = 'shared';
export const controlKeyOf = (tailnetName: string, { tenancy }: Pick<TailnetEvidence, 'tenancy'>): string =>
  tenancy === SHARED ? '(shared)' : tailnetName;
