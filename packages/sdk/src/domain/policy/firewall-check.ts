import {
  type FirewallEvidence,
  type FirewallRequirement,
  type FirewallRow,
  type FirewallStatus,
  MAX_FIREWALL_EVIDENCE,
  type PathClass,
} from '@bifrost/types/core';

/** What a machine has found out about its own way to the Internet, as it told its control plane. What it has not looked at is undefined. */
export interface DeviceConnectivity {
  /** Regions whose STUN answered it lately. That one is missing says nothing: not all are asked each time. */
  readonly regions: readonly { readonly name: string; readonly latencyMs: number; readonly isHome: boolean }[];
  /** Whether any STUN answer came. */
  readonly udp: boolean | undefined;
  readonly ipv6: boolean | undefined;
  /** Its firewall gives each destination another outside port. */
  readonly mappingVaries: boolean | undefined;
}

/** How one book's agent reaches a router, by its last report. */
export interface RouterLink {
  readonly path: PathClass;
  /** The book's own relay works: that nothing reaches the router is not the book's fault. */
  readonly relayWorks: boolean;
  readonly heardAtMs: number;
  /** Since when its reports have said so. */
  readonly sinceMs: number;
}

/** One router: what the control plane and the agents know of it. */
export interface FirewallRouter {
  readonly name: string;
  readonly connected: boolean;
  /** Undefined while connected, or never seen. */
  readonly lastSeenAtMs: number | undefined;
  readonly connectivity: DeviceConnectivity | undefined;
  readonly links: readonly RouterLink[];
}

/** What is looked at. */
export interface FirewallLook {
  readonly routers: readonly FirewallRouter[];
  readonly nowMs: number;
}

/** A router that restarts is away for less. */
const AWAY_MS = 120_000;
/** A link that loses its direct way is on the relay sooner: until then a book's pings are not answered. */
const UNREACHED_MS = 30_000;

interface Told {
  readonly status: FirewallStatus;
  readonly message: string;
  readonly atMs?: number;
}

type Judge = (router: FirewallRouter, row: FirewallRequirement, nowMs: number) => Told;

const unknown = (message: string): Told => ({ status: 'unknown', message });
const newest = (links: readonly RouterLink[]): number => Math.max(...links.map(({ heardAtMs }) => heardAtMs));
const linksBy = ({ links }: FirewallRouter, ...paths: readonly PathClass[]): readonly RouterLink[] =>
  links.filter(({ path }) => paths.includes(path));
const isIpv6 = (destination: string): boolean => destination.includes(':');

const JUDGES: Readonly<Record<FirewallRequirement['purpose'], Judge>> = {
  control: (router, _row, nowMs) => {
    const { connected, lastSeenAtMs } = router;
    if (connected) return { status: 'open', message: 'is connected to the control plane' };
    const alive = linksBy(router, 'direct', 'peer-relay', 'derp');
    const isAway = lastSeenAtMs !== undefined && nowMs - lastSeenAtMs > AWAY_MS;
    if (isAway && alive.length > 0)
      return { status: 'blocked', message: 'books reach it, and it has not come to the control plane since', atMs: lastSeenAtMs };
    return unknown('is not connected: it may be off');
  },
  relay: (router, { region }, nowMs) => {
    const { connected, connectivity } = router;
    const home = connectivity?.regions.find(({ isHome }) => isHome)?.name;
    const relayed = linksBy(router, 'derp');
    if (relayed.length > 0 && home !== undefined && home === region)
      return { status: 'open', message: 'books reach it by this region’s relays', atMs: newest(relayed) };
    if (relayed.length > 0) return unknown(home === undefined ? 'books reach it by a relay, which is not known' : `its relays are those of ${home}`);
    const unreached = router.links.filter(({ path, relayWorks, sinceMs }) => path === 'none' && relayWorks && nowMs - sinceMs >= UNREACHED_MS);
    // Any relay that it reached would be its home, and found by the books' pings.
    if (connected && connectivity?.udp === false && home === undefined && unreached.length > 0 && unreached.length === router.links.length)
      return {
        status: 'blocked',
        message: 'is connected to the control plane, and no book has reached it by any relay since',
        atMs: Math.max(...unreached.map(({ sinceMs }) => sinceMs)),
      };
    return unknown('nothing says which relays it reaches');
  },
  stun: ({ connected, connectivity }, { region, destination }) => {
    if (!connected) return unknown('is not connected: what it found last may be old');
    if (connectivity?.udp === undefined) return unknown('has not told whether UDP works');
    if (isIpv6(destination) && connectivity.ipv6 !== true) return unknown('has no IPv6');
    if (!connectivity.udp) return { status: 'blocked', message: 'no STUN answer comes back, from no relay' };
    if (connectivity.regions.some(({ name }) => name === region)) return { status: 'open', message: 'STUN of this region answers' };
    return unknown('has not asked this region lately');
  },
  direct: (router, { direction }) => {
    const { connected, connectivity } = router;
    const direct = linksBy(router, 'direct');
    if (direct.length > 0) return { status: 'open', message: 'has a direct link with a book', atMs: newest(direct) };
    if (!connected) return unknown('is not connected: it may be off');
    if (direction === 'outbound' && connectivity?.udp === false) return { status: 'blocked', message: 'no UDP comes back, and no link is direct' };
    if (router.links.length > 0 && connectivity?.mappingVaries === true)
      return unknown('no link is direct: its firewall gives each destination another outside port');
    return unknown(router.links.length > 0 ? 'no link is direct; its own UDP works or is not known' : 'no book has a link with it now');
  },
};

const RANK: Readonly<Record<FirewallStatus, number>> = { blocked: 0, open: 1, unknown: 2 };

/**
 * Which of the requirements are met now, by what each router and the books' agents have told. Nothing is tried from here: a firewall in front of somebody
 * else's machine shows only in what that machine sees. `blocked` needs a router that says so; silence is `unknown`.
 */
export function firewallCheck(requirements: readonly FirewallRequirement[], { routers, nowMs }: FirewallLook): readonly FirewallRow[] {
  return requirements.map((row) => {
    const evidence = routers
      .map((router): FirewallEvidence => {
        const { status, message, atMs } = JUDGES[row.purpose](router, row, nowMs);
        const at = new Date(atMs ?? (router.connected ? nowMs : (router.lastSeenAtMs ?? nowMs)));
        return { router: router.name, status, message, at };
      })
      .sort((a, b) => RANK[a.status] - RANK[b.status]);
    return { ...row, status: evidence[0]?.status ?? 'unknown', evidence: evidence.slice(0, MAX_FIREWALL_EVIDENCE) };
  });
}
