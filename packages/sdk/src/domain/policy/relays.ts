/** A relay of the control plane (DERP, and STUN beside it), as its map names it. */
export interface Relay {
  /** Short, such as `fra`. Several relays may share one region. */
  readonly region: string;
  /** As the control plane shows it to people, such as `Frankfurt`. */
  readonly regionName: string;
  readonly host: string;
  /** IPv4 and IPv6; none: what `host` resolves to. */
  readonly addresses: readonly string[];
  /** TCP; undefined where it only answers STUN. */
  readonly port: number | undefined;
  /** UDP; undefined where it answers no STUN. */
  readonly stunPort: number | undefined;
}
