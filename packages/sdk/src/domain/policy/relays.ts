import { parseAddress } from '@bifrost/types/core';

/** A relay of the control plane (DERP, and STUN beside it), as its map names it. */
export interface Relay {
  /** Short, such as `fra`. Several relays may share one region. */
  readonly region: string;
  /** As the control plane shows it to people, such as `Frankfurt`. */
  readonly regionName: string;
  /** The region's number, by which a tailnet's own policy may change or leave it out. */
  readonly regionId?: number;
  readonly host: string;
  /** IPv4 and IPv6; none: what `host` resolves to. */
  readonly addresses: readonly string[];
  /** TCP; undefined where it only answers STUN. */
  readonly port: number | undefined;
  /** UDP; undefined where it answers no STUN. */
  readonly stunPort: number | undefined;
}

/** The part of a relay that is its region's. */
export type RelayRegion = Pick<Relay, 'region' | 'regionName' | 'regionId'>;

/** `tailcfg.DERPNode`, as far as it is used here. */
export interface RelayNode {
  readonly HostName: string;
  readonly IPv4?: string | null | undefined;
  readonly IPv6?: string | null | undefined;
  readonly STUNPort?: number | null | undefined;
  readonly STUNOnly?: boolean | null | undefined;
  readonly DERPPort?: number | null | undefined;
}

const DERP_PORT = 443;
const STUN_PORT = 3478;

/** What is left out, or 0, is the usual port; below 0 there is none. */
export function relayOf(region: RelayRegion, node: RelayNode): Relay {
  return {
    ...region,
    host: node.HostName,
    // What is no address says that there is none: `none`.
    addresses: [node.IPv4, node.IPv6].flatMap((text) => (text && text !== node.HostName && parseAddress(text) !== undefined ? [text] : [])),
    port: node.STUNOnly === true ? undefined : node.DERPPort || DERP_PORT,
    stunPort: (node.STUNPort ?? 0) < 0 ? undefined : node.STUNPort || STUN_PORT,
  };
}
