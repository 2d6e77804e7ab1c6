/** The parts of Kubernetes' pod JSON that Bifrost reads or writes. Structural: unknown members pass through untouched. */

export interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: unknown;
}

export interface ContainerPort {
  readonly name?: string;
  readonly containerPort: number;
  readonly protocol?: string;
}

export interface ProbeShape {
  readonly httpGet?: { readonly port: number | string; readonly [member: string]: unknown };
  readonly tcpSocket?: { readonly port: number | string; readonly [member: string]: unknown };
  readonly grpc?: { readonly port: number; readonly [member: string]: unknown };
  readonly [member: string]: unknown;
}

export interface ContainerShape {
  readonly name: string;
  readonly image?: string;
  readonly restartPolicy?: string;
  readonly env?: readonly EnvironmentVariable[];
  readonly ports?: readonly ContainerPort[];
  readonly readinessProbe?: ProbeShape;
  readonly livenessProbe?: ProbeShape;
  readonly startupProbe?: ProbeShape;
  readonly [member: string]: unknown;
}

export interface VolumeShape {
  readonly name: string;
  readonly [member: string]: unknown;
}

/** A pod template, as far as Bifrost reads it. */
export interface PodTemplateShape {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly initContainers?: readonly ContainerShape[];
    readonly containers: readonly ContainerShape[];
    readonly volumes?: readonly VolumeShape[];
    readonly hostNetwork?: boolean;
    readonly serviceAccountName?: string;
    readonly shareProcessNamespace?: boolean;
    readonly [member: string]: unknown;
  };
}

/** Of a pod or its template what decides over its network: of its containers who they are and what they may do, of the guard all. */
export type PodForm = Pick<PodTemplateShape['spec'], 'initContainers' | 'containers' | 'hostNetwork'>;

/** What Bifrost adds to a pod template, rendered once and stored: a newer SDK never changes a running book by itself. */
export interface SidecarFragment {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** In start order; they come before the book's own init containers. */
  readonly initContainers: readonly ContainerShape[];
  readonly volumes: readonly VolumeShape[];
  /** What is added to the book's own containers and init containers, by name; absent: nothing. The proxy variables of userspace mode. */
  readonly containers?: readonly ContainerAddition[];
}

/** Variables for one container of the book. A container that is not there any more needs none. */
export interface ContainerAddition {
  readonly name: string;
  readonly env: readonly EnvironmentVariable[];
}
