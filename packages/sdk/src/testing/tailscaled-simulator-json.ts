import type { PathClass } from '@bifrost/types/core';

/** The daemon's own words for its state, in the order of their numbers on the bus. */
export const BACKEND_STATES = ['NoState', 'InUseOtherUser', 'NeedsLogin', 'NeedsMachineAuth', 'Stopped', 'Starting', 'Running'] as const;
/** One of the daemon's own words for its state. */
export type SimulatedBackendState = (typeof BACKEND_STATES)[number];

/** The machine that the simulated daemon runs on. */
export interface SimulatedNode {
  /** The control plane's stable id. */
  readonly id: string;
  readonly hostname: string;
  readonly ips: readonly string[];
  /** Such as `tail1000.ts.net`. */
  readonly tailnetDomain: string;
  readonly tags?: readonly string[];
  /** RFC 3339; absent when the key does not expire. */
  readonly keyExpiry?: string;
  /** Ranges that it offers to the tailnet. */
  readonly advertisedRoutes?: readonly string[];
  /** Those of them that the tailnet's owner has approved. */
  readonly approvedRoutes?: readonly string[];
}

/** Another machine of the tailnet. */
export interface SimulatedPeer {
  readonly id: string;
  readonly hostname: string;
  readonly ips: readonly string[];
  /** Ranges that it routes for us. */
  readonly routes?: readonly string[];
  readonly tags?: readonly string[];
  /** Login name of its owner; default: a tagged machine's stand-in. */
  readonly user?: string;
  /** What control says; default true. */
  readonly online?: boolean;
  /** Packets went there lately; default true. */
  readonly active?: boolean;
  /** While the link is not cut and not relayed; default `direct`. */
  readonly path?: PathClass;
  /** Of a ping; default 5. */
  readonly latencyMs?: number;
  /** Larger packets get lost on the direct way; default: none. UDP payload, bytes. */
  readonly maxPacketBytes?: number;
}

/** One health warning, with what the daemon tells about it. */
export interface SimulatedWarning {
  readonly code: string;
  /** Default `medium`. */
  readonly severity?: 'high' | 'medium' | 'low';
  /** Default false. */
  readonly impactsConnectivity?: boolean;
}

/** Checks that the daemon makes of its surroundings: the text of what they find, empty when all is well. */
export interface SimulatedChecks {
  readonly 'ip-forwarding': string;
  readonly 'udp-gro-forwarding': string;
}

/** What the answers are made from. */
export interface SimulatedWorld {
  readonly version: string;
  readonly backendState: SimulatedBackendState;
  readonly node: SimulatedNode;
  readonly peers: readonly SimulatedPeer[];
  readonly traffic: ReadonlyMap<string, { readonly rxBytes: number; readonly txBytes: number }>;
  /** When packets last passed, by peer id; RFC 3339. */
  readonly handshakes: ReadonlyMap<string, string>;
  /** Packets dropped because of errors. */
  readonly drops: { readonly inbound: number; readonly outbound: number };
  readonly checks: SimulatedChecks;
  readonly controlUrl: string;
  readonly health: readonly SimulatedWarning[];
  readonly link: 'up' | 'relayed' | 'cut';
  readonly controlLinked: boolean;
  readonly startedAt: string;
}

export const NEVER = '0001-01-01T00:00:00Z'; // Go's zero time
const DERP = 'sim';
const prefixOf = (ip: string): string => `${ip}/${ip.includes(':') ? 128 : 32}`;
export const orNull = <T>(list: readonly T[]): readonly T[] | null => (list.length > 0 ? list : null); // Go writes an empty list as null
const hexOf = (text: string): string => Buffer.from(text).toString('hex').slice(0, 64).padEnd(64, '0');
export const nodeKeyOf = (id: string): string => `nodekey:${hexOf(id)}`;
/** The legacy number beside the stable id. */
export const nodeNumberOf = (id: string): number => Number.parseInt(hexOf(id).slice(-12), 16) || Number.parseInt(hexOf(id).slice(0, 12), 16);
const knowsMap = (state: SimulatedBackendState): boolean => state === 'Running' || state === 'Starting' || state === 'Stopped';

/** How packets to the peer travel in this world. */
export function pathIn(world: SimulatedWorld, peer: SimulatedPeer): PathClass {
  if (world.link === 'cut' || world.backendState === 'Stopped' || peer.online === false) return 'none';
  return world.link === 'relayed' ? 'derp' : (peer.path ?? 'direct');
}
/** The address and port that a direct or peer-relayed path uses. */
export const endpointOf = (peer: SimulatedPeer): string => `192.0.2.${(nodeNumberOf(peer.id) % 250) + 1}:41641`;

/** What the tailnet sends to the node: advertised and approved. */
const approvedOf = ({ advertisedRoutes = [], approvedRoutes = [] }: SimulatedNode): readonly string[] =>
  approvedRoutes.filter((route) => advertisedRoutes.includes(route));

const EMPTY_MACHINE = {
  Created: NEVER,
  LastWrite: NEVER,
  LastSeen: NEVER,
  LastHandshake: NEVER,
  ExitNode: false,
  ExitNodeOption: false,
  PeerAPIURL: null,
  TaildropTarget: 0,
  NoFileSharingReason: '',
} as const;

function selfStatus({ node, backendState, controlLinked, startedAt }: SimulatedWorld): object {
  const joined = knowsMap(backendState);
  const expiry = node.keyExpiry === undefined || !joined ? {} : { KeyExpiry: node.keyExpiry };
  return {
    ID: joined ? node.id : '',
    NodeID: joined ? nodeNumberOf(node.id) : 0,
    PublicKey: joined ? nodeKeyOf(node.id) : nodeKeyOf(''),
    HostName: node.hostname,
    DNSName: joined ? `${node.hostname}.${node.tailnetDomain}.` : '',
    OS: 'linux',
    UserID: joined ? 1000 : 0,
    TailscaleIPs: joined ? orNull(node.ips) : null,
    ...(joined ? { AllowedIPs: [...node.ips.map(prefixOf), ...approvedOf(node)] } : {}),
    ...(node.tags && joined ? { Tags: node.tags } : {}),
    ...(joined && approvedOf(node).length > 0 ? { PrimaryRoutes: approvedOf(node) } : {}),
    Addrs: [],
    CurAddr: '',
    Relay: joined ? DERP : '',
    PeerRelay: '',
    RxBytes: 0,
    TxBytes: 0,
    ...EMPTY_MACHINE,
    ...(joined ? { Created: startedAt } : {}),
    Online: backendState === 'Running' && controlLinked,
    Active: false,
    InNetworkMap: joined,
    InMagicSock: false,
    InEngine: false,
    ...expiry,
  };
}

function peerStatus(world: SimulatedWorld, peer: SimulatedPeer): object {
  const path = pathIn(world, peer);
  const { rxBytes, txBytes } = world.traffic.get(peer.id) ?? { rxBytes: 0, txBytes: 0 };
  const used = rxBytes + txBytes > 0;
  return {
    ID: peer.id,
    NodeID: nodeNumberOf(peer.id),
    PublicKey: nodeKeyOf(peer.id),
    HostName: peer.hostname,
    DNSName: `${peer.hostname}.${world.node.tailnetDomain}.`,
    OS: 'linux',
    UserID: userOf(peer).ID,
    TailscaleIPs: orNull(peer.ips),
    AllowedIPs: [...peer.ips.map(prefixOf), ...(peer.routes ?? [])],
    ...(peer.tags ? { Tags: peer.tags } : {}),
    ...(peer.routes && peer.routes.length > 0 ? { PrimaryRoutes: peer.routes } : {}),
    Addrs: null,
    CurAddr: path === 'direct' ? endpointOf(peer) : '',
    Relay: world.link === 'cut' ? '' : DERP,
    PeerRelay: path === 'peer-relay' ? `${endpointOf(peer)}:vni:1` : '',
    RxBytes: rxBytes,
    TxBytes: txBytes,
    ...EMPTY_MACHINE,
    Created: world.startedAt,
    LastHandshake: world.handshakes.get(peer.id) ?? NEVER,
    Online: peer.online ?? true,
    Active: peer.active ?? true,
    InNetworkMap: true,
    InMagicSock: true,
    InEngine: used,
  };
}

/** The answer of `status`. */
export function statusJson(world: SimulatedWorld, { withPeers }: { readonly withPeers: boolean }): object {
  const { node, backendState } = world;
  const joined = knowsMap(backendState);
  const peers = joined && withPeers ? Object.fromEntries(world.peers.map((peer) => [nodeKeyOf(peer.id), peerStatus(world, peer)])) : null;
  const tailnet = { Name: node.tailnetDomain, MagicDNSSuffix: node.tailnetDomain, MagicDNSEnabled: false };
  return {
    Version: world.version,
    TUN: true,
    BackendState: backendState,
    ...(joined ? { HaveNodeKey: true } : {}),
    AuthURL: '',
    TailscaleIPs: joined ? orNull(node.ips) : null,
    Self: selfStatus(world),
    Health: warningsOf(world).map(({ code }) => textOf(code)),
    MagicDNSSuffix: joined ? node.tailnetDomain : '',
    CurrentTailnet: joined ? tailnet : null,
    CertDomains: null,
    ExtraRecords: null,
    Peer: peers,
    User: joined ? usersOf(withPeers ? [node, ...world.peers] : [node]) : null, // its own is there even without peers
    ClientVersion: null,
  };
}

const STOPPED: SimulatedWarning = { code: 'wantrunning-false', severity: 'low' };
const textOf = (code: string): string => (code === STOPPED.code ? 'Tailscale is stopped.' : `Simulated trouble: ${code}.`);
/** What the daemon warns of, in the order of codes: what the test decided, and that it is to be down. */
export const warningsOf = ({ backendState, health }: SimulatedWorld): readonly SimulatedWarning[] =>
  backendState === 'Stopped' ? [...health, STOPPED].sort((a, b) => (a.code < b.code ? -1 : 1)) : health;

/** The `Health` member of bus messages. */
export function healthJson(world: SimulatedWorld): object {
  const warnings = warningsOf(world);
  const warning = ({ code, severity = 'medium', impactsConnectivity = false }: SimulatedWarning) => ({
    WarnableCode: code,
    Severity: severity,
    Title: code,
    Text: textOf(code),
    BrokenSince: world.startedAt,
    ...(impactsConnectivity ? { ImpactsConnectivity: true } : {}),
  });
  return { Warnings: warnings.length > 0 ? Object.fromEntries(warnings.map((each) => [each.code, warning(each)])) : null };
}

const TAGGED = 'tagged-devices';
/** The owner of a machine, as `whois` and the status show it. */
export function userOf(machine: SimulatedNode | SimulatedPeer): { readonly ID: number; readonly LoginName: string; readonly DisplayName: string } {
  const login = 'user' in machine ? machine.user : undefined;
  if (login === undefined) return { ID: 1000, LoginName: TAGGED, DisplayName: 'Tagged Devices' };
  return { ID: 2000 + (nodeNumberOf(login) % 1_000_000), LoginName: login, DisplayName: login };
}

const usersOf = (machines: readonly (SimulatedNode | SimulatedPeer)[]): object =>
  Object.fromEntries(machines.map((machine) => [userOf(machine).ID, userOf(machine)]));

/** A machine of the network map, as `whois` and the bus show it. */
export function nodeJson(world: SimulatedWorld, machine: SimulatedNode | SimulatedPeer): object {
  const routes = 'tailnetDomain' in machine ? approvedOf(machine) : (machine.routes ?? []);
  return {
    ID: nodeNumberOf(machine.id),
    StableID: machine.id,
    Name: `${machine.hostname}.${world.node.tailnetDomain}.`,
    User: userOf(machine).ID,
    Key: nodeKeyOf(machine.id),
    Addresses: machine.ips.map(prefixOf),
    AllowedIPs: [...machine.ips.map(prefixOf), ...routes],
    HomeDERP: 1,
    ...('keyExpiry' in machine && machine.keyExpiry !== undefined ? { KeyExpiry: machine.keyExpiry } : {}),
    Created: world.startedAt,
    ...(machine.tags ? { Tags: machine.tags } : {}),
    ...(routes.length > 0 ? { PrimaryRoutes: routes } : {}),
    Online: 'online' in machine ? (machine.online ?? true) : true,
    MachineAuthorized: true,
    ComputedName: machine.hostname,
    ComputedNameWithHost: machine.hostname,
  };
}

/** The answer of `ping`; undefined when no answer would ever come. */
export function pingJson(world: SimulatedWorld, ip: string, sizeBytes: number): object | undefined {
  const nothing = { IP: ip, NodeIP: '', NodeName: '', Err: '', LatencySeconds: 0, Endpoint: '', PeerRelay: '', DERPRegionID: 0, DERPRegionCode: '' };
  if (world.node.ips.includes(ip)) return { ...nothing, NodeIP: ip, Err: `${ip} is local Tailscale IP`, IsLocalIP: true };
  const peer = world.peers.find(({ ips }) => ips.includes(ip));
  if (!peer) return { ...nothing, Err: 'no matching peer' };
  if (world.backendState === 'Stopped') return { ...nothing, Err: 'local tailscaled stopped' };
  const path = pathIn(world, peer);
  if (path === 'none' || (path === 'direct' && sizeBytes > (peer.maxPacketBytes ?? Number.POSITIVE_INFINITY))) return undefined;
  return {
    ...nothing,
    NodeIP: peer.ips[0] ?? ip,
    NodeName: peer.hostname,
    LatencySeconds: (peer.latencyMs ?? 5) / 1000,
    ...(path === 'direct' ? { Endpoint: endpointOf(peer) } : {}),
    ...(path === 'peer-relay' ? { PeerRelay: `${endpointOf(peer)}:vni:1` } : {}),
    ...(path === 'derp' ? { DERPRegionID: 1, DERPRegionCode: DERP } : {}),
  };
}
