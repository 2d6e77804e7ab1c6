import { BifrostError, type NetworkConfiguration, type NetworkMode, type SidecarConfiguration } from '@bifrost/types/core';
import { withHash } from './fragment-hash.ts';
import { guardScript, LIVE_PREFERENCES, type ServedPort, userspaceGuardScript } from './guard.ts';
import { GUARD_FOLDER_LIMITS, GUARD_FOLDERS, guardProbe, NETWORK_HASH } from './live-guard.ts';
import type { ClusterRanges } from './model.ts';
import { attachmentSecretName, CONTAINERS, LABELS, PORTS, TOKEN_AUDIENCE, VOLUMES } from './names.ts';
import { USERS } from './own-users.ts';
import type { ContainerShape, EnvironmentVariable, PodTemplateShape, SidecarFragment, VolumeShape } from './pod-shape.ts';
import { proxyAdditions, proxyAddress } from './proxy-variables.ts';
import { wedgeProbe } from './wedge-probe.ts';

/** All that a sidecar is rendered from. The same input gives the same fragment. */
export interface RenderInput {
  readonly sidecarId: string;
  readonly tailnetName: string;
  readonly network: NetworkConfiguration;
  /** Tells `network` from other configurations: what the guard says that it holds until it is given another. 16 hexadecimal digits. */
  readonly networkHash?: string;
  readonly config: SidecarConfiguration;
  readonly ranges: ClusterRanges;
  /** Ports on which the book answers. */
  readonly servedPorts: readonly ServedPort[];
  readonly images: { readonly tailscale: string; readonly agent: string };
  readonly ingestUrl: string;
  /** Whether the attachment's Secret carries a CA for ingest. */
  readonly ingestHasOwnCa: boolean;
  readonly heartbeatMs: number;
  /** Control server of the Tailscale clients, when it is not Tailscale's own. */
  readonly loginServer: string | undefined;
  /** Default `kernel`. */
  readonly networkMode?: NetworkMode;
  /** Userspace mode gives its containers the proxy variables, and takes a port that none of them declares. Not used in kernel mode. */
  readonly template?: PodTemplateShape;
}

const PATHS = {
  socketFolder: '/var/run/tailscale',
  stateFolder: '/var/lib/tailscale',
  keyFolder: '/var/run/bifrost/key',
  identityFolder: '/var/run/bifrost/identity',
  tun: '/dev/net/tun',
} as const;

const fieldEnvironment = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } });
const networkAdministrator = {
  runAsUser: 0,
  runAsGroup: 0,
  runAsNonRoot: false,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
  seccompProfile: { type: 'RuntimeDefault' },
} as const;
/** A shell begins by setting its groups, also those of the user that it has already: without these rights nobody who is let in gets one. */
const shellServer = {
  ...networkAdministrator,
  capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'SETGID', 'SETUID'] },
} as const;
/** What pod security level `restricted` asks for. */
const unprivileged = (user: number) =>
  ({
    runAsUser: user,
    runAsGroup: user,
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  }) as const;

const isUserspace = ({ networkMode }: RenderInput): boolean => networkMode === 'userspace';
const templateOf = ({ template }: RenderInput): PodTemplateShape => template ?? { spec: { containers: [] } };
const ingestHostOf = ({ ingestUrl }: RenderInput): string => new URL(ingestUrl).hostname.replace(/^\[|\]$/g, '');
/** A port of the pod's own address. Kubernetes puts no brackets around it, which an address and a port of IPv6 need: every pod has IPv6 first where there is no other range. */
const onPodAddress = ({ ranges }: RenderInput, port: number): string =>
  ranges.pods.length > 0 && ranges.pods.every((range) => range.includes(':')) ? `[$(POD_IP)]:${port}` : `$(POD_IP):${port}`;

function guard(input: RenderInput): ContainerShape {
  const { networkHash } = input;
  const shared = (script: string, env: readonly EnvironmentVariable[] = []): ContainerShape => ({
    name: CONTAINERS.guard,
    image: input.images.tailscale,
    command: ['/bin/sh', '-c', script],
    env: [fieldEnvironment('POD_IPS', 'status.podIPs'), fieldEnvironment('HOST_IPS', 'status.hostIPs'), ...env],
    resources: { requests: { cpu: '5m', memory: '16Mi' } },
  });
  if (isUserspace(input)) return { ...shared(userspaceGuardScript()), securityContext: unprivileged(USERS.tailscale) };
  return {
    ...shared(kernelGuardScript(input), networkHash === undefined ? [] : [{ name: NETWORK_HASH, value: networkHash }]),
    restartPolicy: 'Always',
    startupProbe: guardProbe(LIVE_PREFERENCES),
    securityContext: { ...networkAdministrator, readOnlyRootFilesystem: true },
    volumeMounts: [
      { name: VOLUMES.guard, mountPath: GUARD_FOLDERS.own },
      { name: VOLUMES.guardOrder, mountPath: GUARD_FOLDERS.order, readOnly: true },
    ],
  };
}

function kernelGuardScript(input: RenderInput): string {
  const ingestHost = ingestHostOf(input);
  const isAddress = /^[0-9.]+$/.test(ingestHost) || ingestHost.includes(':');
  const own: readonly ServedPort[] = Object.values(PORTS).map((port) => ({ protocol: 'tcp', port }));
  return guardScript({
    allowedNetworks: input.network.allowedNetworks,
    blockedNetworks: input.network.blockedNetworks,
    accessPolicy: input.network.accessPolicy,
    ranges: input.ranges,
    servedPorts: [...input.servedPorts, ...own],
    directAddresses: isAddress ? [`${ingestHost}/${ingestHost.includes(':') ? 128 : 32}`] : [],
  });
}

function agent(input: RenderInput): ContainerShape {
  const environment = [
    fieldEnvironment('POD_IP', 'status.podIP'),
    fieldEnvironment('BIFROST_POD_UID', 'metadata.uid'),
    { name: 'BIFROST_SIDECAR_ID', value: input.sidecarId },
    { name: 'BIFROST_INGEST_URL', value: input.ingestUrl },
    { name: 'BIFROST_TOKEN_FILE', value: `${PATHS.identityFolder}/token` },
    ...(input.ingestHasOwnCa ? [{ name: 'BIFROST_CA_FILE', value: `${PATHS.identityFolder}/ca.crt` }] : []),
    { name: 'BIFROST_TAILSCALED_SOCKET', value: `${PATHS.socketFolder}/tailscaled.sock` },
    // The pod's own address, never the tailnet's.
    { name: 'BIFROST_LISTEN', value: onPodAddress(input, PORTS.agent) },
    { name: 'BIFROST_HEARTBEAT_MS', value: String(input.heartbeatMs) },
    { name: 'BIFROST_ACCEPT_ROUTES', value: String(input.config.acceptRoutes) },
    ...(isUserspace(input)
      ? []
      : [
          { name: 'BIFROST_GUARD_ORDER_FILE', value: `${GUARD_FOLDERS.order}/order` },
          { name: 'BIFROST_GUARD_HOLDS_FILE', value: `${GUARD_FOLDERS.own}/holds` },
        ]),
  ];
  return {
    name: CONTAINERS.agent,
    image: input.images.agent,
    restartPolicy: 'Always',
    env: environment,
    ports: [{ name: 'bifrost-agent', containerPort: PORTS.agent, protocol: 'TCP' }],
    // It never waits for tailscaled: that container starts after this one.
    startupProbe: { httpGet: { path: '/healthz', port: PORTS.agent, scheme: 'HTTP' }, periodSeconds: 1, failureThreshold: 60 },
    resources: { requests: { cpu: '5m', memory: '64Mi' } },
    securityContext: unprivileged(USERS.agent),
    volumeMounts: [
      // Another uid than tailscaled's: the daemon grants it reading only.
      { name: VOLUMES.socket, mountPath: PATHS.socketFolder, readOnly: true },
      { name: VOLUMES.identity, mountPath: PATHS.identityFolder, readOnly: true },
      ...(isUserspace(input)
        ? []
        : [
            { name: VOLUMES.guardOrder, mountPath: GUARD_FOLDERS.order },
            { name: VOLUMES.guard, mountPath: GUARD_FOLDERS.own, readOnly: true },
          ]),
    ],
  };
}

/** Arguments of `tailscale up`. Words must hold no white space: containerboot splits them there. */
function upArguments(input: RenderInput): string {
  const { config } = input;
  const reachable = config.advertiseRoutes.length > 0 || config.enableSsh || input.servedPorts.length > 0;
  return [
    ...(input.loginServer === undefined ? [] : [`--login-server=${input.loginServer}`]),
    `--accept-routes=${config.acceptRoutes}`,
    `--ssh=${config.enableSsh}`,
    `--shields-up=${!reachable}`,
  ].join(' ');
}

/** Kernel mode: a tun device and nftables; iptables-legacy would need NET_RAW, which is dropped. Userspace mode: both proxies on one port of the loopback. */
function modeEnvironment(input: RenderInput): readonly EnvironmentVariable[] {
  if (!isUserspace(input)) {
    return [
      { name: 'TS_USERSPACE', value: 'false' },
      { name: 'TS_DEBUG_FIREWALL_MODE', value: 'nftables' },
    ];
  }
  const address = proxyAddress(templateOf(input));
  return [
    { name: 'TS_USERSPACE', value: 'true' },
    { name: 'TS_SOCKS5_SERVER', value: address },
    { name: 'TS_OUTBOUND_HTTP_PROXY_LISTEN', value: address },
  ];
}

function tailscale(input: RenderInput): ContainerShape {
  const environment = [
    fieldEnvironment('POD_IP', 'status.podIP'),
    // By file: a key given by value ends up in process arguments.
    { name: 'TS_AUTHKEY', value: `file:${PATHS.keyFolder}/authkey` },
    { name: 'TS_AUTH_ONCE', value: 'true' },
    // Explicitly empty: a state Secret shared by replicas would clone machine keys.
    { name: 'TS_KUBE_SECRET', value: '' },
    // A folder that tailscaled makes: it wants to set the rights of its folder, and the volume's own belongs to root.
    { name: 'TS_STATE_DIR', value: isUserspace(input) ? `${PATHS.stateFolder}/own` : PATHS.stateFolder },
    { name: 'TS_SOCKET', value: `${PATHS.socketFolder}/tailscaled.sock` },
    ...modeEnvironment(input),
    { name: 'TS_HOSTNAME', value: input.config.hostname },
    { name: 'TS_ROUTES', value: input.config.advertiseRoutes.join(',') },
    { name: 'TS_EXTRA_ARGS', value: upArguments(input) },
    { name: 'TS_NO_LOGS_NO_SUPPORT', value: 'true' },
    { name: 'TS_LOCAL_ADDR_PORT', value: onPodAddress(input, PORTS.tailscaleHealth) },
    { name: 'TS_ENABLE_HEALTH_CHECK', value: 'true' },
    { name: 'TS_ENABLE_METRICS', value: 'true' },
  ];
  return {
    name: CONTAINERS.tailscale,
    image: input.images.tailscale,
    restartPolicy: 'Always',
    env: environment,
    ports: [{ name: 'bifrost-ts', containerPort: PORTS.tailscaleHealth, protocol: 'TCP' }],
    // Joined: the book starts after that.
    startupProbe: { httpGet: { path: '/healthz', port: PORTS.tailscaleHealth, scheme: 'HTTP' }, periodSeconds: 1, failureThreshold: 120 },
    livenessProbe: wedgeProbe(),
    resources: { requests: { cpu: '10m', memory: '64Mi' } },
    securityContext: isUserspace(input) ? unprivileged(USERS.tailscale) : input.config.enableSsh ? shellServer : networkAdministrator,
    volumeMounts: [
      ...(isUserspace(input) ? [] : [{ name: VOLUMES.tun, mountPath: PATHS.tun }]),
      { name: VOLUMES.key, mountPath: PATHS.keyFolder, readOnly: true },
      { name: VOLUMES.state, mountPath: PATHS.stateFolder },
      { name: VOLUMES.socket, mountPath: PATHS.socketFolder },
    ],
  };
}

function volumes(input: RenderInput): readonly VolumeShape[] {
  const secretName = attachmentSecretName(input.sidecarId);
  const token = { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: 3600, path: 'token' } };
  const authority = { secret: { name: secretName, items: [{ key: 'ca.crt', path: 'ca.crt' }] } };
  return [
    ...(isUserspace(input) ? [] : [{ name: VOLUMES.tun, hostPath: { path: PATHS.tun, type: 'CharDevice' } }]),
    // A folder, not a subPath: a rotated key appears in running pods.
    { name: VOLUMES.key, secret: { secretName, items: [{ key: 'authkey', path: 'authkey' }] } },
    { name: VOLUMES.state, emptyDir: { medium: 'Memory' } },
    { name: VOLUMES.socket, emptyDir: { medium: 'Memory' } },
    { name: VOLUMES.identity, projected: { sources: input.ingestHasOwnCa ? [token, authority] : [token] } },
    ...(isUserspace(input)
      ? []
      : [
          { name: VOLUMES.guardOrder, emptyDir: { medium: 'Memory', sizeLimit: GUARD_FOLDER_LIMITS.order } },
          { name: VOLUMES.guard, emptyDir: { medium: 'Memory', sizeLimit: GUARD_FOLDER_LIMITS.own } },
        ]),
  ];
}

/**
 * Renders what an attachment adds to a pod template: guard, agent, tailscale, in start order, and their volumes. In userspace mode there is no tun
 * device and no privilege, and the guard writes no rules and ends; the book's containers get the proxy variables instead. The annotation `bifrost.dev/fragment` tells fragments apart.
 *
 * @throws {BifrostError} `WORKLOAD_UNSUPPORTED` — ssh in userspace mode: its user is none that a shell can be opened for
 */
export function renderSidecar(input: RenderInput): SidecarFragment {
  const userspace = isUserspace(input);
  const { network, ranges } = input;
  if (userspace && input.config.enableSsh)
    throw new BifrostError({
      code: 'WORKLOAD_UNSUPPORTED',
      message: 'Without privileges a sidecar can open no shell for anybody: leave ssh off, or let the pod have one with NET_ADMIN.',
      issues: [{ path: 'config.enableSsh', message: 'needs network mode kernel' }],
    });
  const containers = userspace ? proxyAdditions({ template: templateOf(input), network, ranges, ingestHost: ingestHostOf(input) }) : [];
  return withHash({
    labels: { [LABELS.sidecarId]: input.sidecarId },
    annotations: { [LABELS.tailnetName]: input.tailnetName },
    initContainers: [guard(input), agent(input), tailscale(input)],
    volumes: volumes(input),
    ...(containers.length === 0 ? {} : { containers }),
  });
}
