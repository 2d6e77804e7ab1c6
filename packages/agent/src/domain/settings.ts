import type { Issue } from '@bifrost/types/core';

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
}
export type ParsedSettings = { readonly ok: true; readonly settings: AgentSettings } | { readonly ok: false; readonly issues: readonly Issue[] };

export const HEARTBEAT_BOUNDS_MS = { min: 100, max: 300_000 } as const;
const DEFAULTS: Readonly<Record<string, string>> = {
  BIFROST_TAILSCALED_SOCKET: '/var/run/tailscale/tailscaled.sock',
  BIFROST_LISTEN: '127.0.0.1:9003',
  BIFROST_HEARTBEAT_MS: '10000',
  BIFROST_ACCEPT_ROUTES: 'false',
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
  const heartbeatMs = read('BIFROST_HEARTBEAT_MS', heartbeatOf, 'must be a whole number from 100 to 300000');
  const acceptRoutes = read('BIFROST_ACCEPT_ROUTES', booleanOf, 'must be "true" or "false"');
  if (
    issues.length > 0 ||
    sidecarId === undefined ||
    podUid === undefined ||
    ingestUrl === undefined ||
    tokenFile === undefined ||
    socketPath === undefined ||
    listen === undefined ||
    heartbeatMs === undefined ||
    acceptRoutes === undefined
  )
    return { ok: false, issues };
  const settings = { sidecarId, podUid, ingestUrl, tokenFile, socketPath, listen, heartbeatMs, acceptRoutes, ...(caFile ? { caFile } : {}) };
  return { ok: true, settings };
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

function heartbeatOf(text: string): number | undefined {
  const milliseconds = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  return milliseconds >= HEARTBEAT_BOUNDS_MS.min && milliseconds <= HEARTBEAT_BOUNDS_MS.max ? milliseconds : undefined;
}

function booleanOf(text: string): boolean | undefined {
  return text === 'true' ? true : text === 'false' ? false : undefined;
}
