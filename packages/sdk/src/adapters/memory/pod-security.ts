import type { ContainerShape, PodTemplateShape } from '../../domain/pod-shape.ts';

/** Levels of Kubernetes' Pod Security Standards. */
export type PodSecurityLevel = 'privileged' | 'baseline' | 'restricted';

const BASELINE_CAPABILITIES: ReadonlySet<string> = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);

interface SecurityContext {
  readonly privileged?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  readonly seccompProfile?: { readonly type?: string };
}

/**
 * What the level forbids in a pod of this template; empty when it may run. The checks that a sidecar or a plain book can meet, not all of the
 * standard: SELinux, AppArmor, sysctls, procMount and Windows are left out.
 */
export function podSecurityViolations(level: PodSecurityLevel, { spec }: PodTemplateShape): readonly string[] {
  if (level === 'privileged') return [];
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const volumes = spec.volumes ?? [];
  const baseline = [
    ...(['hostNetwork', 'hostPID', 'hostIPC'] as const).filter((member) => spec[member] === true),
    ...volumes.filter((volume) => 'hostPath' in volume).map(({ name }) => `hostPath volume ${name}`),
    ...containers.flatMap(baselineViolations),
  ];
  if (level === 'baseline') return baseline;
  const pod = (spec['securityContext'] ?? {}) as SecurityContext;
  return [...baseline, ...containers.flatMap((container) => restrictedViolations(container, pod))];
}

function contextOf(container: ContainerShape): SecurityContext {
  return (container['securityContext'] ?? {}) as SecurityContext;
}

function baselineViolations(container: ContainerShape): readonly string[] {
  const { privileged, capabilities } = contextOf(container);
  const added = (capabilities?.add ?? []).filter((name) => !BASELINE_CAPABILITIES.has(name));
  const hostPorts = (container.ports ?? []).filter((port) => 'hostPort' in port && port.hostPort !== 0);
  return [
    ...(privileged === true ? [`container ${container.name} is privileged`] : []),
    ...added.map((name) => `container ${container.name} adds capability ${name}`),
    ...hostPorts.map(() => `container ${container.name} uses a host port`),
  ];
}

function restrictedViolations(container: ContainerShape, pod: SecurityContext): readonly string[] {
  const own = contextOf(container);
  const { add = [], drop = [] } = own.capabilities ?? {};
  const nonRoot = own.runAsNonRoot ?? pod.runAsNonRoot;
  const user = own.runAsUser ?? pod.runAsUser;
  const seccomp = own.seccompProfile?.type ?? pod.seccompProfile?.type;
  return [
    ...(own.allowPrivilegeEscalation === false ? [] : [`container ${container.name} must set allowPrivilegeEscalation=false`]),
    ...(drop.includes('ALL') ? [] : [`container ${container.name} must drop ALL capabilities`]),
    ...add.filter((name) => name !== 'NET_BIND_SERVICE').map((name) => `container ${container.name} adds capability ${name}`),
    ...(nonRoot === true && user !== 0 ? [] : [`container ${container.name} must run as non-root`]),
    ...(seccomp === 'RuntimeDefault' || seccomp === 'Localhost' ? [] : [`container ${container.name} must set a seccompProfile`]),
  ];
}
