/** Why and since when a sidecar is kept out of its tailnet. */
export interface Quarantine {
  readonly since: Date;
  /** The caller's own words. */
  readonly reason?: string;
}

/** What `quarantineSidecar` takes. */
export interface QuarantineSidecarRequest {
  readonly sidecarId: string;
  /** For whoever reads it later: at most 256 characters, no control characters, never a secret. */
  readonly reason?: string;
}
