import type { DaemonPeer, DaemonStatus } from '../../src/domain/daemon.ts';
import type { View } from '../../src/domain/judge.ts';

export const peer = (part: Partial<DaemonPeer> = {}): DaemonPeer => ({
  id: 'n1',
  name: 'peer',
  ip: '100.64.0.2',
  online: true,
  active: false,
  proven: undefined,
  relayed: true,
  rxBytes: 0,
  txBytes: 0,
  lastHandshakeAtMs: undefined,
  routes: [],
  ...part,
});

export const status = (part: Partial<DaemonStatus> = {}): DaemonStatus => ({
  backendState: 'Running',
  daemonVersion: '1.102.5',
  deviceId: 'nBOOK',
  ips: ['100.64.0.1'],
  homeDerp: 'sim',
  keyExpiresAtMs: undefined,
  controlLinked: true,
  peers: [],
  ...part,
});

export const view = (part: Partial<View> = {}): View => ({
  reachable: true,
  status: status(),
  health: [],
  pings: new Map(),
  acceptRoutes: true,
  wasUsable: false,
  nowMs: 1_800_000_000_000,
  ...part,
});
