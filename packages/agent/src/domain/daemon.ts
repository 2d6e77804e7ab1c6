import { type PathClass, REPORT_LIMITS } from '@bifrost/types/core';
import { countOf, isObject, NAME, textOf, textsOf, timeOf, WORD } from './raw.ts';

/** One peer as the daemon sees it. */
export interface DaemonPeer {
  readonly id: string;
  readonly name: string;
  /** The address to ping. */
  readonly ip: string | undefined;
  /** What control says. */
  readonly online: boolean;
  /** Packets were sent to it within the last two minutes. */
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
  /** Ranges beyond our own addresses that the tailnet sends to us: what was advertised and approved. */
  readonly ownRoutes: readonly string[];
  readonly homeDerp: string | undefined;
  readonly keyExpiresAtMs: number | undefined;
  /** Whether the daemon is connected to its control plane now; its health warning about that comes nine minutes later (seen with 1.102.5). */
  readonly controlLinked: boolean;
  readonly peers: readonly DaemonPeer[];
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

const isExit = (range: string): boolean => range.endsWith('/0');

function routesOf(raw: RawPeer, { withExit }: { readonly withExit: boolean }): readonly string[] {
  const ips = textsOf(raw.TailscaleIPs);
  return textsOf(raw.AllowedIPs)
    .filter((range) => !ips.includes(range.slice(0, range.lastIndexOf('/'))) && (withExit || !isExit(range)))
    .slice(0, REPORT_LIMITS.maxRoutesPerPeer);
}

function peerOf(raw: RawPeer): DaemonPeer | undefined {
  const id = textOf(raw.ID, WORD);
  if (id === undefined) return undefined;
  return {
    id,
    name: textOf(raw.DNSName, NAME)?.replace(/\.$/, '') ?? textOf(raw.HostName, NAME) ?? id,
    ip: textsOf(raw.TailscaleIPs)[0],
    online: raw.Online === true,
    active: raw.Active === true,
    proven: raw.CurAddr ? 'direct' : raw.PeerRelay ? 'peer-relay' : undefined,
    relayed: typeof raw.Relay === 'string' && raw.Relay !== '',
    rxBytes: countOf(raw.RxBytes),
    txBytes: countOf(raw.TxBytes),
    lastHandshakeAtMs: timeOf(raw.LastHandshake),
    routes: routesOf(raw, { withExit: raw.ExitNode === true }),
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
    ownRoutes: routesOf(self, { withExit: true }),
    homeDerp: textOf(self.Relay, WORD),
    keyExpiresAtMs: timeOf(self.KeyExpiry),
    controlLinked: self.Online !== false,
    peers: peers.filter(isObject).flatMap((peer) => peerOf(peer) ?? []),
  };
}
