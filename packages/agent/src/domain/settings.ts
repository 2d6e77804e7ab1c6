import type { Issue } from '@bifrost/types/core';
import type { WedgeLimits } from './wedge.ts';

/** What one agent is told. */
export interface AgentSettings {
  readonly sidecarId: string;
  readonly podUid: string;
  readonly ingestUrl: URL;
  readonly tokenFile: string;
  /** Certificates to trust for ingest; the system's own when absent. */
  readonly caFile?: string;
  readonly socketPath: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** Until the manager wishes for another interval, milliseconds. */
  readonly heartbeatMs: number;
  readonly acceptRoutes: boolean;
  /** A daemon that answered before and is silent for so long is wedged. Milliseconds. */
  readonly wedgedAfterMs: number;
  /** Where orders for the guard are put, and where it says what it holds; absent where it takes none. */
  readonly guardFiles?: { readonly order: string; readonly holds: string };
}
export type ParsedSettings = { readonly ok: true; readonly settings: AgentSettings } | { readonly ok: false; readonly issues: readonly Issue[] };

export const HEARTBEAT_BOUNDS_MS = { min: 100, max: 300_000 } as const;
const WEDGED_BOUNDS_MS = { min: 1_000, max: 3_600_000 } as const;
const DEFAULTS: Readonly<Record<string, string>> = {
  BIFROST_TAILSCALED_SOCKET: '/var/run/tailscale/tailscaled.sock',
  BIFROST_LISTEN: '127.0.0.1:9003',
  BIFROST_HEARTBEAT_MS: '10000',
  BIFROST_ACCEPT_ROUTES: 'false',
  BIFROST_WEDGED_AFTER_MS: '60000',
};
const ID = /^[A-Za-z0-9._-]{1,64}$/;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
/** The host may be an IPv6 address without brackets too: a pod's address comes that way. */
const LISTEN = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s[\]]+)):(\d{1,5})$/;

/** Reads the environment; all that is wrong in one answer, by the variable's name and never with its value. */
export function parseEnvironment(environment: Readonly<Record<string, string | undefined>>): ParsedSettings {
  const issues: Issue[] = [];
  function read<T>(path: string, convert: (text: string) => T | undefined, rule: string): T | undefined {
    const text = environment[path] || DEFAULTS[path];
    const value = text === undefined ? undefined : convert(text);
    if (value === undefined) issues.push({ path, message: text === undefined ? 'is missing' : rule });
    return value;
  }
  const id = (text: string) => (ID.test(text) ? text : undefined);
  const file = (text: string) => (text.startsWith('/') ? text : undefined);
  const sidecarId = read('BIFROST_SIDECAR_ID', id, 'must be an id of 1 to 64 letters, digits, dots, hyphens');
  const podUid = read('BIFROST_POD_UID', id, 'must be an id of 1 to 64 letters, digits, dots, hyphens');
  const ingestUrl = read('BIFROST_INGEST_URL', ingestUrlOf, 'must be an https URL without user or password; http only on loopback');
  const tokenFile = read('BIFROST_TOKEN_FILE', file, 'must be an absolute path');
  const caFile = environment['BIFROST_CA_FILE'] ? read('BIFROST_CA_FILE', file, 'must be an absolute path') : undefined;
  const socketPath = read('BIFROST_TAILSCALED_SOCKET', file, 'must be an absolute path');
  const listen = read('BIFROST_LISTEN', listenOf, 'must be host:port, IPv6 in brackets');
  const heartbeatMs = read('BIFROST_HEARTBEAT_MS', within(HEARTBEAT_BOUNDS_MS), 'must be a whole number from 100 to 300000');
  const acceptRoutes = read('BIFROST_ACCEPT_ROUTES', booleanOf, 'must be "true" or "false"');
  const hasGuard = Boolean(environment['BIFROST_GUARD_ORDER_FILE'] || environment['BIFROST_GUARD_HOLDS_FILE']);
  const order = hasGuard ? read('BIFROST_GUARD_ORDER_FILE', file, 'must be an absolute path') : undefined;
  const holds = hasGuard ? read('BIFROST_GUARD_HOLDS_FILE', file, 'must be an absolute path') : undefined;
  const wedgedAfterMs = read('BIFROST_WEDGED_AFTER_MS', within(WEDGED_BOUNDS_MS), 'must be a whole number from 1000 to 3600000');
  if (
    issues.length > 0 ||
    sidecarId === undefined ||
    podUid === undefined ||
    ingestUrl === undefined ||
    tokenFile === undefined ||
    socketPath === undefined ||
    listen === undefined ||
    heartbeatMs === undefined ||
    acceptRoutes === undefined ||
    wedgedAfterMs === undefined
  )
    return { ok: false, issues };
  const settings = { sidecarId, podUid, ingestUrl, tokenFile, socketPath, listen, heartbeatMs, acceptRoutes, wedgedAfterMs };
  const guardFiles = order === undefined || holds === undefined ? {} : { guardFiles: { order, holds } };
  return { ok: true, settings: { ...settings, ...(caFile ? { caFile } : {}), ...guardFiles } };
}

/** A daemon without a state may wait for much before one should think that it hangs. */
export function wedgeLimits(silenceMs: number): WedgeLimits {
  return { silenceMs, noStateMs: 3 * silenceMs, episodesPerHour: 3 };
}

function ingestUrlOf(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || url.username || url.password) return undefined;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname)) ? url : undefined;
}

function listenOf(text: string): AgentSettings['listen'] | undefined {
  const [, bracketed, bare, digits] = LISTEN.exec(text) ?? [];
  const [host, port] = [bracketed ?? bare, Number(digits)];
  return host !== undefined && port <= 65_535 ? { host, port } : undefined;
}

const within =
  ({ min, max }: { readonly min: number; readonly max: number }) =>
  (text: string): number | undefined => {
    const milliseconds = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
    return milliseconds >= min && milliseconds <= max ? milliseconds : undefined;
  };

function booleanOf(text: string): boolean | undefined {
  return text === 'true' ? true : text === 'false' ? false : undefined;
}
