import { type PathClass, REPORT_LIMITS } from '@bifrost/types/core';

/** One peer as the daemon sees it. */
export interface DaemonPeer {
  readonly id: string;
  readonly name: string;
  /** The address to ping. */
  readonly ip: string | undefined;
  /** What control says. */
  readonly online: boolean;
  readonly active: boolean;
  /** A path that the daemon has proven within its last seconds, not by a relay of the control plane's. */
  readonly proven: Extract<PathClass, 'direct' | 'peer-relay'> | undefined;
  /** The daemon knows a DERP region for it. */
  readonly relayed: boolean;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly lastHandshakeAtMs: number | undefined;
  /** Ranges beyond its own addresses. */
  readonly routes: readonly string[];
}

/** The daemon's status, without the rest of its JSON. */
export interface DaemonStatus {
  readonly backendState: string;
  readonly daemonVersion: string | undefined;
  readonly deviceId: string | undefined;
  readonly ips: readonly string[];
  readonly homeDerp: string | undefined;
  readonly keyExpiresAtMs: number | undefined;
  /** Whether the daemon is connected to its control plane now; its health warning about that comes minutes later (seen with 1.102.5). */
  readonly controlLinked: boolean;
  readonly peers: readonly DaemonPeer[];
}

/** Something changed; `health` is there when the message carried the warnings. */
export interface BusHint {
  readonly health?: readonly string[];
}

interface RawPeer {
  readonly ID?: unknown;
  readonly HostName?: unknown;
  readonly DNSName?: unknown;
  readonly TailscaleIPs?: unknown;
  readonly AllowedIPs?: unknown;
  readonly CurAddr?: unknown;
  readonly PeerRelay?: unknown;
  readonly Relay?: unknown;
  readonly RxBytes?: unknown;
  readonly TxBytes?: unknown;
  readonly LastHandshake?: unknown;
  readonly KeyExpiry?: unknown;
  readonly Online?: unknown;
  readonly Active?: unknown;
  readonly ExitNode?: unknown;
}
interface RawStatus {
  readonly Version?: unknown;
  readonly BackendState?: unknown;
  readonly TailscaleIPs?: unknown;
  readonly Self?: RawPeer | null;
  readonly Peer?: Readonly<Record<string, RawPeer>> | null;
}
interface RawNotify {
  readonly Health?: { readonly Warnings?: Readonly<Record<string, unknown>> | null } | null;
  readonly [member: string]: unknown;
}

const WORD = 64;
const NAME = 255;
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);
/** Bounded as the report's schema wants it, without control characters; undefined when nothing is left. */
function textOf(value: unknown, limit: number): string | undefined {
  if (typeof value !== 'string') return undefined;
  return value.replace(/\p{Cc}/gu, '').slice(0, limit) || undefined;
}
/** Go writes an empty list as null. */
const textsOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []);
const countOf = (value: unknown): number => (Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0);
/** Go's zero time lies before the Unix epoch and means "never". */
function timeOf(value: unknown): number | undefined {
  const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return atMs > 0 ? atMs : undefined;
}

function routesOf(raw: RawPeer, ips: readonly string[]): readonly string[] {
  const isExit = (range: string) => range.endsWith('/0');
  return textsOf(raw.AllowedIPs)
    .filter((range) => !ips.includes(range.slice(0, range.lastIndexOf('/'))) && (raw.ExitNode === true || !isExit(range)))
    .slice(0, REPORT_LIMITS.maxRoutesPerPeer);
}

function peerOf(raw: RawPeer): DaemonPeer | undefined {
  const id = textOf(raw.ID, WORD);
  if (id === undefined) return undefined;
  const ips = textsOf(raw.TailscaleIPs);
  return {
    id,
    name: textOf(raw.DNSName, NAME)?.replace(/\.$/, '') ?? textOf(raw.HostName, NAME) ?? id,
    ip: ips[0],
    online: raw.Online === true,
    active: raw.Active === true,
    proven: raw.CurAddr ? 'direct' : raw.PeerRelay ? 'peer-relay' : undefined,
    relayed: typeof raw.Relay === 'string' && raw.Relay !== '',
    rxBytes: countOf(raw.RxBytes),
    txBytes: countOf(raw.TxBytes),
    lastHandshakeAtMs: timeOf(raw.LastHandshake),
    routes: routesOf(raw, ips),
  };
}

/** Reads the daemon's status, naming only what we use; undefined when it is something else. */
export function readStatus(json: unknown): DaemonStatus | undefined {
  if (!isObject(json)) return undefined;
  const raw: RawStatus = json;
  const backendState = textOf(raw.BackendState, WORD);
  if (backendState === undefined) return undefined;
  const self = raw.Self ?? {};
  const peers = isObject(raw.Peer) ? Object.values(raw.Peer) : [];
  return {
    backendState,
    daemonVersion: textOf(raw.Version, WORD),
    deviceId: textOf(self.ID, WORD),
    ips: textsOf(raw.TailscaleIPs).slice(0, REPORT_LIMITS.maxIps),
    homeDerp: textOf(self.Relay, WORD),
    keyExpiresAtMs: timeOf(self.KeyExpiry),
    controlLinked: self.Online !== false,
    peers: peers.filter(isObject).flatMap((peer) => peerOf(peer) ?? []),
  };
}

/** What a bus message carries that can change the picture. `Engine` and empty messages do not: reading the status may itself cause them. */
const TELLING = [
  'State',
  'Health',
  'Prefs',
  'SelfChange',
  'InitialStatus',
  'NetMap',
  'PeerChangedPatch',
  'PeersChanged',
  'PeersRemoved',
  'ErrMessage',
];

/** Reads one bus message; undefined when it changes nothing for us. */
export function readNotify(json: unknown): BusHint | undefined {
  if (!isObject(json)) return undefined;
  const raw = json as RawNotify;
  if (!TELLING.some((member) => raw[member] !== undefined && raw[member] !== null)) return undefined;
  return isObject(raw.Health) ? { health: healthCodes(raw.Health.Warnings ?? {}) } : {};
}

function healthCodes(warnings: Readonly<Record<string, unknown>>): readonly string[] {
  const codes = Object.keys(warnings).flatMap((code) => textOf(code, WORD) ?? []);
  return codes.sort().slice(0, REPORT_LIMITS.maxHealth);
}

// InitialState 2, InitialHealthState 128, HealthActions 512 always. Not InitialPrefs, not InitialStatus: we read the status ourselves.
const BASE_BITS = 2 | 128 | 512;
const RATE_LIMIT = 256; // old daemons push whole network maps; refused together with the newer bits
const DELTA_BITS = 4096 | 8192 | 32_768; // PeerChanges, NoNetMap, PeerPatches: since 1.100

/** The bus mask for a daemon of that version. */
export function busMask(daemonVersion: string | undefined): number {
  const [, major = 0, minor = 0] = /^(\d+)\.(\d+)/.exec(daemonVersion ?? '')?.map(Number) ?? [];
  return BASE_BITS | (major > 1 || (major === 1 && minor >= 100) ? DELTA_BITS : RATE_LIMIT);
}
