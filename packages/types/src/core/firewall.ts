/** What a line of a firewall is for. `control`: the control plane. `relay`: DERP. `stun`: a router's outside address. `direct`: links without a relay. */
export type FirewallPurpose = 'control' | 'relay' | 'stun' | 'direct';
/** All values of {@link FirewallPurpose}. */
export const FIREWALL_PURPOSES = ['control', 'relay', 'stun', 'direct'] as const satisfies readonly FirewallPurpose[];

/** What a customer's firewall must let through for their routers. Replies to it are meant too. */
export interface FirewallRequirement {
  readonly purpose: FirewallPurpose;
  readonly direction: 'outbound' | 'inbound';
  readonly protocol: 'tcp' | 'udp';
  /** A host, an address, `any`, or `the router`. */
  readonly destination: string;
  /** One port, or `any`. */
  readonly destinationPort: string;
  readonly sourcePort: string;
  /** `required`: nothing works without it. `recommended`: without it packets take relays, slower and with less throughput. */
  readonly need: 'required' | 'recommended';
  /** Of a relay, as the control plane shows it. */
  readonly region?: string;
  readonly why: string;
}

/** `unknown`: nothing that was heard says either. */
export type FirewallStatus = 'open' | 'blocked' | 'unknown';
/** All values of {@link FirewallStatus}. */
export const FIREWALL_STATUSES = ['open', 'blocked', 'unknown'] as const satisfies readonly FirewallStatus[];

/** What one router has told of one line. */
export interface FirewallEvidence {
  /** The router's name in its tailnet. */
  readonly router: string;
  readonly status: FirewallStatus;
  readonly message: string;
  /** When it was so: the moment of asking, the last report of an agent, or when the router was last seen. */
  readonly at: Date;
}

/** A requirement, and whether it is met now. */
export interface FirewallRow extends FirewallRequirement {
  /** `blocked` where a router says so, else `open` where one does. */
  readonly status: FirewallStatus;
  /** What it is judged by, what decides first; at most {@link MAX_FIREWALL_EVIDENCE}. */
  readonly evidence: readonly FirewallEvidence[];
}

/** Evidence that one row has at most. */
export const MAX_FIREWALL_EVIDENCE = 3;

/** What the firewall in front of a customer's routers must let through, and which of it is blocked now. */
export interface FirewallReport {
  readonly tailnetName: string;
  readonly rows: readonly FirewallRow[];
  /** Routers of the tailnet. None: every row is `unknown`. */
  readonly routers: number;
  /** Of those: connected to the control plane now. */
  readonly connectedRouters: number;
}
