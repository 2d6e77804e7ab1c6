import { orNull, pathIn, type SimulatedWorld, warningsOf } from './tailscaled-simulator-json.ts';

/** The answer of `prefs`. */
export function prefsJson({ node, backendState, controlUrl }: SimulatedWorld): object {
  return {
    ControlURL: controlUrl,
    RouteAll: true,
    ExitNodeID: '',
    ExitNodeIP: '',
    InternalExitNodePrior: '',
    ExitNodeAllowLANAccess: false,
    CorpDNS: true,
    RunSSH: false,
    RunWebClient: false,
    WantRunning: backendState !== 'Stopped',
    LoggedOut: backendState === 'NeedsLogin',
    ShieldsUp: false,
    AdvertiseTags: orNull(node.tags ?? []),
    Hostname: node.hostname,
    NotepadURLs: false,
    AdvertiseRoutes: orNull(node.advertisedRoutes ?? []),
    AdvertiseServices: null,
    Sync: null,
    NoSNAT: false,
    NoStatefulFiltering: true,
    NetfilterMode: 2,
    AutoUpdate: { Check: true, Apply: null },
    AppConnector: { Advertise: false },
    PostureChecking: false,
    NetfilterKind: '',
    RemoteConfig: false,
    DriveShares: null,
    Config: null,
  };
}

type Series = readonly (readonly [labels: string, value: number])[];

function family(name: string, about: readonly [type: 'counter' | 'gauge', help: string], series: Series): string {
  const [type, help] = about;
  return `# TYPE ${name} ${type}\n# HELP ${name} ${help}\n${series.map(([labels, value]) => `${name}${labels} ${value}\n`).join('')}`;
}

const PATHS = ['derp', 'direct_ipv4', 'direct_ipv6', 'peer_relay_ipv4', 'peer_relay_ipv6'] as const;
const PATH_OF = { derp: 'derp', direct: 'direct_ipv4', 'peer-relay': 'peer_relay_ipv4', none: undefined } as const;

function traffic(world: SimulatedWorld, member: 'rxBytes' | 'txBytes'): Series {
  const sums = new Map<string, number>(PATHS.map((path) => [path, 0]));
  for (const peer of world.peers) {
    const path = PATH_OF[pathIn(world, peer)] ?? 'direct_ipv4';
    sums.set(path, (sums.get(path) ?? 0) + (world.traffic.get(peer.id)?.[member] ?? 0));
  }
  return PATHS.map((path) => [`{path="${path}"}`, sums.get(path) ?? 0]);
}

/** The daemon shows a reason from its first packet on; of what it sends, errors from the start. */
function drops(count: number, { fromStart }: { readonly fromStart: boolean }): Series {
  return fromStart || count > 0 ? [['{reason="error"}', count]] : [];
}

/** The answer of `usermetrics`. */
export function userMetrics(world: SimulatedWorld): string {
  const { advertisedRoutes = [], approvedRoutes = [] } = world.node;
  const approved = approvedRoutes.filter((route) => advertisedRoutes.includes(route));
  return [
    family('tailscaled_advertised_routes', ['gauge', 'Routes offered.'], [['', advertisedRoutes.length]]),
    family('tailscaled_approved_routes', ['gauge', 'Routes offered and approved.'], [['', approved.length]]),
    family('tailscaled_health_messages', ['gauge', 'Health messages by type.'], [['{type="warning"}', warningsOf(world).length]]),
    family('tailscaled_home_derp_region_id', ['gauge', 'Home relay region.'], [['', 1]]),
    family('tailscaled_inbound_bytes_total', ['counter', 'Bytes received.'], traffic(world, 'rxBytes')),
    family(
      'tailscaled_inbound_dropped_packets_total',
      ['counter', 'Packets dropped when received.'],
      drops(world.drops.inbound, { fromStart: false }),
    ),
    family('tailscaled_outbound_bytes_total', ['counter', 'Bytes sent.'], traffic(world, 'txBytes')),
    family('tailscaled_outbound_dropped_packets_total', ['counter', 'Packets dropped when sent.'], drops(world.drops.outbound, { fromStart: true })),
  ].join('');
}
