/** Time and chance, so that tests hold both. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Milliseconds that never jump: what intervals are measured by. */
  monotonicMs(): number;
  /** In [0, 1): jitter only. */
  random(): number;
  /** A new uuid. */
  newId(): string;
}
