import type { DaemonPeer, DaemonStatus } from '../../src/domain/daemon.ts';
import type { Extras, View } from '../../src/domain/judge.ts';
import { PathHistory } from '../../src/domain/paths.ts';

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
  ownRoutes: [],
  homeDerp: 'sim',
  keyExpiresAtMs: undefined,
  controlLinked: true,
  peers: [],
  ...part,
});

export const extras = (part: Partial<Extras> = {}): Extras => ({
  paths: new PathHistory(),
  identityOf: () => ({}),
  losesLarge: () => false,
  advertisedRoutes: undefined,
  signs: [],
  ...part,
});

/** What a test says about a view: warnings may be given by their codes alone. */
export type ViewPart = Partial<View> & { readonly health?: readonly string[] };

export const view = ({ health = [], ...part }: ViewPart = {}): View => ({
  reachable: true,
  status: status(),
  warnings: health.map((code) => ({ code, severity: 'medium' })),
  pings: new Map(),
  acceptRoutes: true,
  wasUsable: false,
  nowMs: 1_800_000_000_000,
  extras: extras(),
  ...part,
});
